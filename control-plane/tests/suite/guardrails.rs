//! Guardrails: kept, compiled before they are kept, published, and what they found told from the log.

use serde_json::json;
use tollgate_audit::{Entry, Facts, Outcome, seal::CHAIN_START};
use tollgate_control_plane::audit::retention::{Retention, Settings};
use tollgate_policy::{
    guardrail::{Action, RuleSource},
    snapshot::Object,
};
use tollgate_proto::{admin::v1, audit::v1 as audit_v1, usage::v1::Record};
use tonic::{Code, Response, Status};

use crate::{
    audit::{chained_as, visits},
    fleet::Member,
    usage::{replica, report},
    world::{Place, World, code, mask, over_both, violations},
};

over_both! {
    a_guardrail_is_kept_as_it_was_written_and_changed_by_its_mask
    another_kind_takes_what_only_the_old_one_has_with_it
    every_wrong_field_of_a_guardrail_is_named
    rules_that_do_not_compile_are_refused_and_what_has_less_effect_is_remarked
    what_a_guardrail_names_is_not_deleted
    guardrails_are_listed_in_pages_and_filtered
    guardrails_are_published_and_withdrawn
    what_would_be_found_is_told_and_not_what_it_is
    findings_are_told_from_the_log_by_whatever_they_are_of
    findings_go_with_their_entries
}

const OWN: &str = "[[rules]]\nid = \"employee\"\nregex = '''emp-[0-9]{4}'''\ntags = [\"internal\"]\n";

fn secrets(name: &str) -> v1::Guardrail {
    v1::Guardrail { name: name.into(), kind: "secrets".into(), action: "block".into(), ..Default::default() }
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn allowed(fingerprint: &str, reason: &str) -> v1::AllowedFinding {
    v1::AllowedFinding { fingerprint: fingerprint.into(), until: None, reason: reason.into() }
}

async fn create(world: &World, guardrail: v1::Guardrail) -> Result<v1::CreateGuardrailResponse, Status> {
    let request = v1::CreateGuardrailRequest { guardrail: Some(guardrail) };
    world.guardrails().create_guardrail(request).await.map(Response::into_inner)
}

async fn made(world: &World, guardrail: v1::Guardrail) -> v1::Guardrail {
    create(world, guardrail).await.unwrap().guardrail.unwrap()
}

async fn update(world: &World, guardrail: v1::Guardrail, paths: &[&str]) -> Result<v1::Guardrail, Status> {
    let request = v1::UpdateGuardrailRequest { guardrail: Some(guardrail), update_mask: mask(paths) };
    world.guardrails().update_guardrail(request).await.map(|answer| answer.into_inner().guardrail.unwrap())
}

async fn get(world: &World, named: &str) -> Result<v1::Guardrail, Status> {
    let request = v1::GetGuardrailRequest { guardrail: named.into() };
    world.guardrails().get_guardrail(request).await.map(Response::into_inner)
}

async fn delete(world: &World, named: &str, etag: &str) -> Result<(), Status> {
    let request = v1::DeleteGuardrailRequest { guardrail: named.into(), etag: etag.into() };
    world.guardrails().delete_guardrail(request).await.map(Response::into_inner)
}

async fn a_guardrail_is_kept_as_it_was_written_and_changed_by_its_mask(place: Place) {
    let world = World::start(&place).await;
    let key = world.any_key("k").await.key.unwrap();
    let until = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let one = v1::AllowedFinding { until, ..allowed(&"0b".repeat(16), "a sample") };
    let wanted = v1::Guardrail {
        rule_file: OWN.into(),
        rules: texts(&["aws-*", "tag:internal", "!tag:chat"]),
        on: texts(&["response"]),
        shadow: true,
        customers: texts(&["k-customer", "k-customer"]),
        teams: vec![key.team.clone()],
        keys: texts(&["*"]),
        models: texts(&["claude-*", "!*-old"]),
        allowed: vec![one.clone(), allowed(&"0A".repeat(16), "documentation")],
        ..secrets("leaks")
    };
    let made = made(&world, wanted).await;
    assert!(made.id.starts_with("guardrail-") && made.customers[0].starts_with("customer-"), "{made:?}");
    assert_eq!((made.customers.len(), made.teams.as_slice()), (1, [key.team].as_slice()));
    assert_eq!((made.builtin, made.rule_file.as_str(), made.shadow), (Some(true), OWN, true));
    // In the order in which replicas look them up.
    assert_eq!(made.allowed, [allowed(&"0a".repeat(16), "documentation"), one]);
    assert_eq!(get(&world, "leaks").await.unwrap(), made);
    assert_eq!(get(&world, &made.id).await.unwrap(), made);
    assert_eq!(code(get(&world, "nothing").await), Code::NotFound);
    assert_eq!(code(create(&world, secrets("leaks")).await), Code::AlreadyExists);
    let usual = self::made(&world, secrets("usual")).await;
    assert_eq!((usual.builtin, usual.on), (Some(true), texts(&["request", "response"])));

    // What was read can be written back: nothing changes.
    let revision = world.store.revision().await.unwrap();
    let all = ["disabled", "kind", "builtin", "rule_file", "rules", "on", "action", "shadow", "customers", "teams"];
    assert_eq!(update(&world, made.clone(), &all).await.unwrap(), made);
    let rest = ["keys", "models", "allowed", "expressions", "words"];
    assert_eq!(update(&world, made.clone(), &rest).await.unwrap(), made);
    assert_eq!(world.store.revision().await.unwrap(), revision);
    let change =
        v1::Guardrail { id: made.id.clone(), name: "quiet".into(), action: "detect".into(), ..Default::default() };
    let changed = update(&world, change, &["name", "action", "rule_file", "rules"]).await.unwrap();
    let expect = v1::Guardrail {
        name: "quiet".into(),
        action: "detect".into(),
        rule_file: String::new(),
        rules: vec![],
        etag: changed.etag.clone(),
        update_time: changed.update_time,
        ..made.clone()
    };
    assert_eq!(changed, expect);
    let stale = v1::Guardrail { id: made.id.clone(), etag: made.etag.clone(), ..Default::default() };
    assert_eq!(code(update(&world, stale, &["shadow"]).await), Code::Aborted);
    let entry = world.log("action=guardrail.write").await.pop().unwrap();
    assert_eq!(entry.target, format!("guardrail/{}", made.id));
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(OWN));
    let changed = json!({
        "name": {"before": "leaks", "after": "quiet"},
        "action": {"before": "block", "after": "detect"},
        "rules": {"before": ["aws-*", "tag:internal", "!tag:chat"], "after": []},
        "rule_file": {"before": format!("sha256:{hash}"), "after": null},
    });
    assert_eq!(detail["changed"], changed);
    assert_eq!(code(delete(&world, "quiet", &made.etag).await), Code::Aborted);
    delete(&world, "quiet", "").await.unwrap();
    assert_eq!(code(get(&world, &made.id).await), Code::NotFound);
    world.stop().await;
}

async fn another_kind_takes_what_only_the_old_one_has_with_it(place: Place) {
    let world = World::start(&place).await;
    let held = made(&world, v1::Guardrail { rule_file: OWN.into(), ..secrets("g") }).await;
    let words =
        v1::Guardrail { id: held.id.clone(), kind: "words".into(), words: texts(&["blue"]), ..Default::default() };
    assert_eq!(violations(update(&world, words.clone(), &["words"]).await), ["words"]);
    let changed = update(&world, words, &["kind", "words"]).await.unwrap();
    assert_eq!((changed.builtin, changed.rule_file.as_str(), changed.words), (None, "", texts(&["blue"])));
    let back = v1::Guardrail { id: held.id, kind: "secrets".into(), ..Default::default() };
    let back = update(&world, back, &["kind"]).await.unwrap();
    assert_eq!((back.builtin, back.words), (Some(true), vec![]));
    world.stop().await;
}

async fn every_wrong_field_of_a_guardrail_is_named(place: Place) {
    let world = World::start(&place).await;
    let revision = world.store.revision().await.unwrap();
    assert_eq!(violations(create(&world, v1::Guardrail::default()).await), ["action", "kind", "name"]);
    let bad = v1::Guardrail {
        id: "guardrail-x".into(),
        words: texts(&["blue"]),
        rules: texts(&["a b"]),
        on: texts(&["request", "up"]),
        customers: texts(&["nobody"]),
        teams: texts(&["nobody"]),
        keys: texts(&[""]),
        models: texts(&[""]),
        allowed: vec![
            allowed("00", "r"),
            allowed(&"00".repeat(16), " "),
            v1::AllowedFinding { until: Some(prost_types::Timestamp::default()), ..allowed(&"01".repeat(16), "r") },
        ],
        action: "shout".into(),
        ..secrets("No")
    };
    let expect = [
        "action",
        "allowed[0].fingerprint",
        "allowed[1].fingerprint",
        "allowed[1].reason",
        "allowed[2].until",
        "customers[0]",
        "id",
        "keys[0]",
        "models[0]",
        "name",
        "on[1]",
        "rules[0]",
        "teams[0]",
        "words",
    ];
    assert_eq!(violations(create(&world, bad).await), expect);
    let own = |list: &[(&str, &str)]| v1::Guardrail {
        kind: "expressions".into(),
        expressions: list
            .iter()
            .map(|(id, regex)| v1::Expression { id: (*id).into(), regex: (*regex).into() })
            .collect(),
        ..secrets("g")
    };
    let long = "x".repeat(2_049);
    for (guardrail, fields) in [
        (v1::Guardrail { builtin: Some(false), ..secrets("g") }, &["rule_file"][..]),
        (v1::Guardrail { rule_file: "#".repeat(512 * 1_024), ..secrets("g") }, &["rule_file"]),
        (own(&[]), &["expressions"]),
        (
            own(&[("a b", "x"), ("a", &long), ("b", "x+"), ("b", "y")]),
            &["expressions[0].id", "expressions[1].regex", "expressions[3].id"],
        ),
        (v1::Guardrail { builtin: Some(true), ..own(&[("a", "x+")]) }, &["builtin"]),
        (v1::Guardrail { kind: "words".into(), words: texts(&["blue", "blue"]), ..secrets("g") }, &["words[1]"]),
        (v1::Guardrail { kind: "words".into(), ..secrets("g") }, &["words"]),
    ] {
        assert_eq!(violations(create(&world, guardrail.clone()).await), fields, "{guardrail:?}");
    }
    assert_eq!(world.store.revision().await.unwrap(), revision);
    world.stop().await;
}

async fn rules_that_do_not_compile_are_refused_and_what_has_less_effect_is_remarked(place: Place) {
    let world = World::start(&place).await;
    let with = |more: &str| v1::Guardrail { rule_file: format!("{OWN}{more}"), ..secrets("g") };
    let refused = create(&world, with("[[rules]]\nid = \"bad\"\nregex = '''('''\n")).await;
    let said = refused.as_ref().unwrap_err().message().to_owned();
    assert!(said.contains("rule_file bad: regex refused: it does not parse"), "{said}");
    assert_eq!(violations(refused), ["rule_file"]);
    let many: String = (0..100).map(|at| format!("[[rules]]\nid = \"bad{at}\"\nregex = '''('''\n")).collect();
    assert_eq!(violations(create(&world, with(&many)).await).len(), 20, "they are bounded");
    let nothing = v1::Guardrail { rules: texts(&["tag:internal", "mistyped-*"]), ..with("") };
    assert_eq!(violations(create(&world, nothing).await), ["rules[1]"]);
    let answer = create(&world, with("colour = \"red\"\n")).await.unwrap();
    assert!(
        answer.remarks.len() == 1 && answer.remarks[0].contains("employee: colour ignored"),
        "{:?}",
        answer.remarks
    );
    // A change is held to the same.
    let held = answer.guardrail.unwrap();
    let bad = v1::Guardrail { id: held.id.clone(), rules: texts(&["mistyped-*"]), ..Default::default() };
    assert_eq!(violations(update(&world, bad, &["rules"]).await), ["rules[0]"]);
    let less = v1::Guardrail { id: held.id.clone(), ..Default::default() };
    let taken = v1::Guardrail { rules: texts(&["employee"]), ..less.clone() };
    update(&world, taken, &["rules"]).await.unwrap();
    assert_eq!(violations(update(&world, less, &["rule_file"]).await), ["rules[0]"], "its rule would go");
    world.stop().await;
}

async fn what_a_guardrail_names_is_not_deleted(place: Place) {
    let world = World::start(&place).await;
    let customer = world.customer("acme").await;
    let team = world.team("t", "acme").await;
    let other = world.customer("other").await;
    let named = v1::Guardrail { customers: texts(&["other"]), teams: texts(&["t"]), ..secrets("g") };
    made(&world, named).await;
    let refused =
        world.teams().delete_team(v1::DeleteTeamRequest { team: team.id.clone(), ..Default::default() }).await;
    let status = refused.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("team 't' is named by the guardrail 'g'"), "{}", status.message());
    let request = |id: &str| v1::DeleteCustomerRequest { customer: id.into(), ..Default::default() };
    assert_eq!(code(world.customers().delete_customer(request(&other.id)).await), Code::FailedPrecondition);
    let free = v1::Guardrail { name: "g".into(), customers: texts(&["acme"]), ..Default::default() };
    update(&world, free, &["customers", "teams"]).await.unwrap();
    world.customers().delete_customer(request(&other.id)).await.unwrap();
    world.teams().delete_team(v1::DeleteTeamRequest { team: team.id, ..Default::default() }).await.unwrap();
    assert_eq!(code(world.customers().delete_customer(request(&customer.id)).await), Code::FailedPrecondition);
    delete(&world, "g", "").await.unwrap();
    world.customers().delete_customer(request(&customer.id)).await.unwrap();
    world.stop().await;
}

async fn guardrails_are_listed_in_pages_and_filtered(place: Place) {
    let world = World::start(&place).await;
    let list = async |filter: &str, page_size: i32, page_token: String| {
        let request = v1::ListGuardrailsRequest { page_size, page_token, filter: filter.into() };
        world.guardrails().list_guardrails(request).await.map(|page| {
            let v1::ListGuardrailsResponse { guardrails, next_page_token } = page.into_inner();
            (guardrails.into_iter().map(|each| each.name).collect::<Vec<_>>(), next_page_token)
        })
    };
    for name in ["a", "b"] {
        made(&world, v1::Guardrail { disabled: name == "b", ..secrets(name) }).await;
    }
    let words = v1::Guardrail { kind: "words".into(), words: texts(&["blue"]), ..secrets("words") };
    made(&world, words).await;
    let (first, token) = list("", 2, String::new()).await.unwrap();
    assert_eq!(first, ["a", "b"]);
    assert_eq!(list("", 2, token).await.unwrap(), (texts(&["words"]), String::new()));
    for (filter, expect) in [("kind=words", &["words"][..]), ("disabled=true", &["b"]), ("name=a", &["a"])] {
        assert_eq!(list(filter, 0, String::new()).await.unwrap().0, expect, "{filter}");
    }
    assert_eq!(violations(list("kind=magic", 0, String::new()).await), ["filter"]);
    world.stop().await;
}

async fn guardrails_are_published_and_withdrawn(place: Place) {
    let world = World::start(&place).await;
    let wanted = v1::Guardrail {
        rule_file: OWN.into(),
        allowed: vec![allowed(&"02".repeat(16), "why nobody else is told"), allowed(&"01".repeat(16), "r")],
        ..secrets("leaks")
    };
    let made = made(&world, wanted).await;
    let expression = v1::Expression { id: "own".into(), regex: "emp-[0-9]+".into() };
    let own = v1::Guardrail { kind: "expressions".into(), expressions: vec![expression], ..secrets("own") };
    self::made(&world, own).await;
    let words =
        v1::Guardrail { kind: "words".into(), words: texts(&["blue"]), action: "redact".into(), ..secrets("words") };
    self::made(&world, words).await;
    let member = Member::join(&world, "reader").await;
    let mut follower = member.follow().await;
    let told = follower.objects(world.store.revision().await.unwrap()).await;
    let guardrail = |object| if let Object::Guardrail(guardrail) = object { Some(guardrail) } else { None };
    let mut told: Vec<_> = told.into_iter().filter_map(guardrail).collect();
    told.sort_by(|one, next| one.name.cmp(&next.name));
    assert_eq!(told.iter().map(|each| &*each.name).collect::<Vec<_>>(), ["leaks", "own", "words"]);
    assert_eq!((told[0].id.as_str(), told[0].allowed.len()), (made.id.as_str(), 2));
    assert!(told[0].lets_pass(&[1; 16], tollgate_policy::time::UnixMillis::new(0)));
    assert_eq!(told[0].source, RuleSource::Secrets { builtin: true, file: Some(OWN.into()) });
    assert_eq!(told[2].action, Action::Redact);
    delete(&world, "leaks", "").await.unwrap();
    let told = crate::fleet::told(&world).await;
    let left = told.iter().filter(|object| matches!(object, Object::Guardrail(_))).count();
    assert_eq!(left, 2);
    world.stop().await;
}

async fn what_would_be_found_is_told_and_not_what_it_is(place: Place) {
    use v1::test_guardrail_request::Subject;
    let world = World::start(&place).await;
    let held = v1::Guardrail { rule_file: OWN.into(), rules: texts(&["employee"]), ..secrets("g") };
    made(&world, held.clone()).await;
    let test = async |subject: Option<Subject>, text: &str| {
        let request = v1::TestGuardrailRequest { text: text.into(), subject };
        world.guardrails().test_guardrail(request).await.map(Response::into_inner)
    };
    let answer = test(Some(Subject::Guardrail("g".into())), "of emp-1234 and emp-9").await.unwrap();
    let finding = v1::TestFinding { rule: "employee".into(), offset: 3, length: 8, action: "block".into() };
    assert_eq!((answer.findings.as_slice(), answer.rules), ([finding].as_slice(), 1));
    assert!(answer.memory_bytes > 0 && !format!("{answer:?}").contains("1234"), "{answer:?}");
    // One that is not stored; its name and whom it is for do not matter.
    let unsaved = v1::Guardrail { name: String::new(), teams: texts(&["nobody"]), rules: vec![], ..held.clone() };
    let answer = test(Some(Subject::Unsaved(unsaved.into())), "emp-1234").await.unwrap();
    assert!(answer.findings.len() == 1 && answer.rules > 50, "{answer:?}");
    let wrong = v1::Guardrail { rules: texts(&["mistyped"]), ..held };
    assert_eq!(violations(test(Some(Subject::Unsaved(wrong.into())), "").await), ["unsaved.rules[0]"]);
    assert_eq!(violations(test(None, "").await), ["guardrail"]);
    assert_eq!(violations(test(Some(Subject::Guardrail("g".into())), &"x".repeat((1 << 20) + 1)).await), ["text"]);
    assert_eq!(code(test(Some(Subject::Guardrail("nothing".into())), "").await), Code::NotFound);
    world.stop().await;
}

// An entry as a replica writes it of a visit in which something was found.
fn told(record: &Record) -> Entry {
    let finding = |rule: &str, direction: &str| {
        json!({
            "action": "redact", "count": 2, "direction": direction, "fingerprint": format!("{:032x}", record.sequence),
            "guardrail": "leaks", "offset": 7, "place": "messages[0]", "rule": rule,
        })
    };
    let findings = match record.sequence % 3 {
        0 => json!([]),
        1 => json!([finding("aws", "request")]),
        _ => json!([finding("aws", "response"), finding("employee", "request")]),
    };
    let serde_json::Value::Object(detail) =
        json!({ "team": record.team, "customer": record.customer, "findings": findings })
    else {
        unreachable!()
    };
    let (initiator, target) = (format!("key/{}", record.key), format!("model/{}", record.model));
    let facts = Facts {
        initiator: &initiator,
        target: &target,
        request_id: &record.request_id,
        session: &record.session,
        detail,
        ..Facts::default()
    };
    Entry::new(record.arrived_ms, "request.admit", Outcome::Allowed, facts)
}

async fn list(world: &World, filter: &str, page_size: i32) -> Result<Vec<v1::GuardrailFinding>, Status> {
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListFindingsRequest { page_size, page_token, filter: filter.into() };
        let page = world.guardrails().list_findings(request).await?.into_inner();
        all.extend(page.findings);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

async fn findings_are_told_from_the_log_by_whatever_they_are_of(place: Place) {
    let world = World::start(&place).await;
    let (records, _) = chained_as(visits(1, 1..=30), CHAIN_START, told);
    let second = records[1].clone();
    report(&world.store, &replica(1), 1, records.clone()).await.unwrap();
    // What is reported again is not found again.
    report(&world.store, &replica(1), 1, records.clone()).await.unwrap();
    let all = list(&world, "", 0).await.unwrap();
    assert_eq!(all.len(), 30);
    assert_eq!(list(&world, "", 7).await.unwrap(), all, "page by page");
    assert!(all.is_sorted_by(|one, next| one.time.unwrap().seconds >= next.time.unwrap().seconds));
    let entries = world.log(&format!("request_id={}", second.request_id)).await;
    let told: Vec<_> = all.iter().filter(|finding| finding.request_id == second.request_id).collect();
    let expect = v1::GuardrailFinding {
        index: entries[0].index,
        time: entries[0].time,
        guardrail: "leaks".into(),
        rule: "employee".into(),
        direction: "request".into(),
        action: "redact".into(),
        shadow: false,
        fingerprint: format!("{:032x}", 2),
        place: "messages[0]".into(),
        offset: 7,
        count: 2,
        key: second.key.clone(),
        team: second.team.clone(),
        customer: second.customer.clone(),
        session: second.session.clone(),
        request_id: second.request_id.clone(),
        model: second.model.clone(),
    };
    assert_eq!((told.len(), told[0]), (2, &expect));
    let instant = |millis: i64| jiff::Timestamp::from_millisecond(millis).unwrap();
    type Is<'a> = &'a dyn Fn(&v1::GuardrailFinding) -> bool;
    let seconds = second.arrived_ms / 1_000;
    let cases: [(String, Is<'_>); 11] = [
        ("guardrail=leaks".into(), &|_| true),
        ("guardrail=other".into(), &|_| false),
        ("rule=employee".into(), &|finding| finding.rule == "employee"),
        ("direction=response".into(), &|finding| finding.direction == "response"),
        (format!("fingerprint={:032X}", 11), &|finding| finding.fingerprint == format!("{:032x}", 11)),
        (format!("key={}", second.key), &|finding| finding.key == second.key),
        (format!("team={} AND rule=aws", second.team), &|finding| finding.team == second.team && finding.rule == "aws"),
        (format!("customer={}", second.customer), &|_| true),
        (format!("session={}", second.session), &|finding| finding.session == second.session),
        (format!("since={}", instant(second.arrived_ms)), &|finding| finding.time.unwrap().seconds >= seconds),
        (format!("until={}", instant(second.arrived_ms)), &|finding| finding.time.unwrap().seconds < seconds),
    ];
    for (filter, is) in cases {
        let expect: Vec<_> = all.iter().filter(|finding| is(finding)).cloned().collect();
        assert_eq!(list(&world, &filter, 4).await.unwrap(), expect, "{filter}");
    }
    for bad in ["direction=up", "since=yesterday", "colour=red"] {
        assert_eq!(violations(list(&world, bad, 0).await), ["filter"], "{bad}");
    }
    world.stop().await;
}

async fn findings_go_with_their_entries(place: Place) {
    let world = World::start(&place).await;
    let (records, _) = chained_as(visits(1, 1..=9), CHAIN_START, told);
    let key = records[1].key.clone();
    report(&world.store, &replica(1), 1, records).await.unwrap();
    let before = list(&world, "", 0).await.unwrap();
    let request = audit_v1::EraseEntriesRequest { filter: format!("key={key}"), reason: "asked for".into() };
    world.audit().erase_entries(request).await.unwrap();
    let left = list(&world, "", 0).await.unwrap();
    let expect: Vec<_> = before.into_iter().filter(|finding| finding.key != key).collect();
    assert!(!expect.is_empty() && expect == left, "{left:?}");
    world.audit().sign_checkpoint(audit_v1::SignCheckpointRequest {}).await.unwrap();
    let keep = std::time::Duration::from_secs(3_600);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap() + 2 * keep;
    let retention = Retention::new(world.store.clone(), Settings { keep, archive_dir: None });
    assert!(retention.prune(i64::try_from(now.as_millis()).unwrap()).await.unwrap().is_some());
    assert_eq!(list(&world, "", 0).await.unwrap(), []);
    world.stop().await;
}
