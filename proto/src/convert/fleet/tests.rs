use proptest::prelude::*;
use prost::bytes::Bytes;
use tollgate_policy::{
    provider::{Auth, Quirk},
    snapshot::{AuditMode, Dialect},
};

use super::*;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

fn id(noun: &str) -> String {
    format!("{noun}-{ULID}")
}

fn key_item() -> v1::KeyItem {
    v1::KeyItem {
        name: "payments-dev".into(),
        hash: Bytes::from(vec![7; 32]),
        team: id("team"),
        user: id("user"),
        revoked: false,
        expires_ms: 1_000,
        models: vec!["claude-*".into(), "!*opus*".into()],
        providers: vec![id("provider")],
        credentials: vec![id("credential")],
        quota: None,
        audit: String::new(),
        regions: vec!["eu-*".into()],
        tools: vec![],
        tool_rules: vec![],
    }
}

fn team_item() -> v1::TeamItem {
    v1::TeamItem {
        name: "platform".into(),
        customer: id("customer"),
        disabled: false,
        quota: None,
        providers: vec![id("provider")],
        regions: vec!["eu-*".into(), "!eu-south-*".into()],
    }
}

fn quota_item() -> v1::QuotaItem {
    let budget = v1::BudgetItem {
        id: id("budget"),
        limit: 500_000_000_000,
        window: "1M".into(),
        models: vec!["claude-*".into()],
        provider: id("provider"),
        enforcement: "hard".into(),
        holding: "auto".into(),
        grace: 5_000_000_000,
        grace_ms: 600_000,
        contact: "#llm-budgets".into(),
    };
    let limit = v1::RateLimitItem { measure: "requests".into(), amount: 600, span_ms: 60_000, models: vec![] };
    let parallel = v1::RateLimitItem { measure: "parallel".into(), amount: 10, span_ms: 0, models: vec![] };
    let session = v1::SessionLimitItem { dollars: 1, requests: 0, repeats: 20, pause_seconds: 60 };
    v1::QuotaItem { budgets: vec![budget], limits: vec![limit, parallel], session_limit: Some(session) }
}

#[test]
fn a_quota_is_read_whole_or_refused() {
    let read = |quota: v1::QuotaItem| {
        let body = v1::KeyItem { quota: Some(quota), ..key_item() };
        match Object::try_from(&item(v1::ItemKind::Key, id("key"), &body)) {
            Ok(Object::Key(key)) => Ok(key.quota.unwrap()),
            Ok(other) => panic!("{other:?}"),
            Err(invalid) => Err(invalid.field()),
        }
    };
    let quota = read(quota_item()).unwrap();
    let budget = &quota.budgets[0];
    assert_eq!((budget.limit, budget.period.to_string()), (NanoUsd::new(500_000_000_000), "1M".to_owned()));
    assert_eq!(budget.grace.map(|grace| grace.duration_ms), Some(600_000));
    assert_eq!((quota.limits.len(), quota.session.as_ref().unwrap().repeats), (2, Some(20)));
    type Row<'a> = (&'a str, &'a dyn Fn(&mut v1::QuotaItem));
    let bad: [Row<'_>; 12] = [
        ("quota.budgets.id", &|quota| quota.budgets[0].id = id("team")),
        ("quota.budgets.limit", &|quota| quota.budgets[0].limit = 0),
        ("quota.budgets.window", &|quota| quota.budgets[0].window = "1m".into()),
        ("quota.budgets.models", &|quota| quota.budgets[0].models = vec![String::new()]),
        ("quota.budgets.provider", &|quota| quota.budgets[0].provider = "anthropic".into()),
        ("quota.budgets.enforcement", &|quota| quota.budgets[0].enforcement = "firm".into()),
        ("quota.budgets.holding", &|quota| quota.budgets[0].holding = String::new()),
        ("quota.budgets.grace_ms", &|quota| quota.budgets[0].grace_ms = 0),
        ("quota.budgets.contact", &|quota| quota.budgets[0].contact = "a\nb".into()),
        ("quota.limits.measure", &|quota| quota.limits[0].measure = "bytes".into()),
        ("quota.limits.span_ms", &|quota| quota.limits[1].span_ms = 1),
        ("quota", &|quota| quota.limits = vec![quota.limits[0].clone(); 17]),
    ];
    for (field, change) in bad {
        let mut quota = quota_item();
        change(&mut quota);
        assert_eq!(read(quota).unwrap_err(), field);
    }
}

fn provider_item() -> v1::ProviderItem {
    let credential = v1::CredentialItem {
        id: id("credential"),
        name: "primary".into(),
        weight: 1,
        disabled: false,
        reference: "env://ANTHROPIC_API_KEY".into(),
    };
    v1::ProviderItem {
        name: "anthropic".into(),
        dialect: "anthropic".into(),
        base_url: "https://api.anthropic.com".into(),
        allow_private: false,
        models: vec!["claude-*".into()],
        vendor: "anthropic".into(),
        disabled: false,
        priority: -3,
        credentials: vec![credential],
        auth: "header:api-key".into(),
        region: "us-east-1".into(),
        quirks: vec!["max_tokens".into(), "no_effort".into()],
    }
}

fn model_item() -> v1::ModelItem {
    v1::ModelItem {
        vendor: "meta".into(),
        model: "llama/large".into(),
        aliases: vec!["llama-*".into()],
        context_window: 128_000,
        max_output: 8_000,
        price: Some(v1::PriceItem {
            input: 1,
            output: 2,
            cache_read: 3,
            cache_write_5m: 4,
            cache_write_1h: 5,
            web_search: 6,
            long_context: Some(v1::LongContextItem { threshold: 7, input: 8, ..v1::LongContextItem::default() }),
        }),
        display_name: String::new(),
    }
}

#[test]
fn each_kind_of_item_becomes_its_object() {
    let Ok(Object::Key(key)) = Object::try_from(&item(v1::ItemKind::Key, id("key"), &key_item())) else {
        panic!("key")
    };
    assert_eq!((key.name.as_ref(), key.expires, key.revoked), ("payments-dev", Some(UnixMillis::new(1_000)), false));
    assert_eq!(key.user.unwrap().as_str(), id("user"));
    assert!(key.models.admit("claude-x") && !key.models.admit("claude-opus"));
    assert!(key.regions.admit("eu-west-1") && !key.regions.admit("us-east-1"));

    let Ok(Object::Team(team)) = Object::try_from(&item(v1::ItemKind::Team, id("team"), &team_item())) else {
        panic!("team")
    };
    assert_eq!(*team.providers, [ProviderId::parse(&id("provider")).unwrap()]);
    assert!(team.regions.admit("eu-west-1") && !team.regions.admit("eu-south-1") && !team.regions.admit("us-east-1"));

    let provider = Object::try_from(&item(v1::ItemKind::Provider, id("provider"), &provider_item()));
    let Ok(Object::Provider(provider)) = provider else { panic!("provider") };
    assert_eq!((provider.priority, provider.dialect), (-3, Dialect::Anthropic));
    assert_eq!((provider.auth, &*provider.region), (Auth::Header("api-key".into()), "us-east-1"));
    assert_eq!(*provider.quirks, [Quirk::MaxTokens, Quirk::NoEffort]);
    assert_eq!(provider.credentials[0].reference.as_deref(), Some("env://ANTHROPIC_API_KEY"));

    let model = Object::try_from(&item(v1::ItemKind::Model, "meta/llama/large".into(), &model_item()));
    let Ok(Object::Model(model)) = model else { panic!("model") };
    assert_eq!(
        (model.vendor.as_ref(), model.name.as_ref(), model.display_name.as_ref()),
        ("meta", "llama/large", "llama/large")
    );
    assert_eq!(model.price.unwrap().long_context.unwrap().0, 7);
}

#[test]
fn an_invalid_field_names_the_item_and_itself() {
    let key = |field: &str, change: fn(&mut v1::KeyItem)| {
        let mut body = key_item();
        change(&mut body);
        refused(&item(v1::ItemKind::Key, id("key"), &body), "key", field);
    };
    key("name", |key| key.name.clear());
    key("name", |key| key.name = "n".repeat(TEXT_BYTES_MAX + 1));
    key("name", |key| key.name = "a\nb".into());
    key("hash", |key| key.hash = Bytes::from(vec![7; 31]));
    key("hash", |key| key.hash = Bytes::new());
    key("team", |key| key.team.clear());
    key("team", |key| key.team = id("user"));
    key("user", |key| key.user = "someone".into());
    key("expires_ms", |key| key.expires_ms = -1);
    key("models", |key| key.models = vec![String::new()]);
    key("models", |key| key.models = vec!["a".into(); 201]);
    key("providers", |key| key.providers = vec![id("team")]);
    key("providers", |key| key.providers = vec![id("provider"); LIST_MAX + 1]);
    key("credentials", |key| key.credentials = vec![String::new()]);
    key("regions", |key| key.regions = vec!["eu west".into()]);
    key("regions", |key| key.regions = vec!["a".into(); 201]);
    for (tools, when) in [("Bash", "true"), ("!github.*", "true"), ("github.*", "repo == 'a'"), ("github.*", "")] {
        let rule = v1::ToolRuleItem { tools: tools.into(), when: when.into() };
        let body = v1::KeyItem { tool_rules: vec![rule], ..key_item() };
        refused(&item(v1::ItemKind::Key, id("key"), &body), "key", "tool_rules");
    }
    key("tool_rules", |key| {
        key.tool_rules = vec![v1::ToolRuleItem { tools: "*".into(), when: "true".into() }; TOOL_RULES_MAX + 1];
    });

    let team = |field: &str, change: fn(&mut v1::TeamItem)| {
        let mut body = team_item();
        change(&mut body);
        refused(&item(v1::ItemKind::Team, id("team"), &body), "team", field);
    };
    team("customer", |team| team.customer = id("team"));
    team("providers", |team| team.providers = vec!["anthropic".into()]);
    team("providers", |team| team.providers = vec![id("provider"); LIST_MAX + 1]);
    team("regions", |team| team.regions = vec![String::new()]);
    for word in ["none", "best-effort"] {
        let body = v1::KeyItem { audit: word.into(), ..key_item() };
        refused(&item(v1::ItemKind::Key, id("key"), &body), "key", "audit");
    }
    // The usual mode has one encoding, and it is the one that was there before.
    key("audit", |key| key.audit = "required".into());

    let provider = |field: &str, change: fn(&mut v1::ProviderItem)| {
        let mut body = provider_item();
        change(&mut body);
        refused(&item(v1::ItemKind::Provider, id("provider"), &body), "provider", field);
    };
    provider("auth", |provider| provider.auth = "cookie".into());
    provider("region", |provider| provider.region = "r".repeat(TEXT_BYTES_MAX + 1));
    provider("quirks", |provider| provider.quirks = vec!["odd".into()]);
    provider("quirks", |provider| provider.quirks.reverse());
    provider("dialect", |provider| provider.dialect = "klingon".into());
    for bad in
        ["", "api.anthropic.com", "ftp://x", "https://", "https://a/", "https://u:p@a", "https://a?b", "https://a#b"]
    {
        let body = v1::ProviderItem { base_url: bad.into(), ..provider_item() };
        refused(&item(v1::ItemKind::Provider, id("provider"), &body), "provider", "base_url");
    }
    provider("vendor", |provider| provider.vendor.clear());
    provider("credentials", |provider| provider.credentials = vec![provider.credentials[0].clone(); 2]);
    provider("credentials.id", |provider| provider.credentials[0].id = id("key"));
    provider("credentials.name", |provider| provider.credentials[0].name.clear());
    provider("credentials.weight", |provider| provider.credentials[0].weight = 0);
    provider("credentials.weight", |provider| provider.credentials[0].weight = -1);
    provider("credentials.reference", |provider| provider.credentials[0].reference = "file:///a\0b".into());

    let model = |field: &str, change: fn(&mut v1::ModelItem)| {
        let mut body = model_item();
        change(&mut body);
        refused(&item(v1::ItemKind::Model, "meta/llama/large".into(), &body), "model", field);
    };
    model("vendor", |model| model.vendor = "me/ta".into());
    model("id", |model| model.model = "other".into());
    model("aliases", |model| model.aliases = vec![String::new()]);
    model("context_window", |model| model.context_window = -1);
    model("max_output", |model| model.max_output = -1);
    model("price", |model| model.price.as_mut().unwrap().input = -1);
    model("price.long_context.threshold", |model| {
        model.price.as_mut().unwrap().long_context.as_mut().unwrap().threshold = -1;
    });
}

#[test]
fn an_item_that_is_not_one_is_refused() {
    let body = Bytes::from(key_item().encode_to_vec());
    let good = v1::Item { kind: v1::ItemKind::Key.into(), id: id("key"), body: body.clone() };
    assert!(Object::try_from(&good).is_ok());
    let unknown_field = [&body[..], &[0xa0, 0x06, 0x01]].concat();
    let twice_a_field = [&body[..], b"\x0a\x01x"].concat();
    let default_written_out = [&body[..], &[0x28, 0x00]].concat();
    for (change, field) in [
        (v1::Item { kind: 0, ..good.clone() }, "kind"),
        (v1::Item { kind: 99, ..good.clone() }, "kind"),
        (v1::Item { kind: -1, ..good.clone() }, "kind"),
        (v1::Item { id: String::new(), ..good.clone() }, "id"),
        (v1::Item { id: id("team"), ..good.clone() }, "id"),
        (v1::Item { body: Bytes::from_static(&[0xff; 40]), ..good.clone() }, "body"),
        (v1::Item { body: body.slice(..body.len() - 1), ..good.clone() }, "body"),
        (v1::Item { body: unknown_field.into(), ..good.clone() }, "body"),
        (v1::Item { body: twice_a_field.into(), ..good.clone() }, "body"),
        (v1::Item { body: default_written_out.into(), ..good.clone() }, "body"),
        (v1::Item { body: vec![0; push::ITEM_BYTES_MAX + 1].into(), ..good.clone() }, "body"),
    ] {
        let error = Object::try_from(&change).expect_err(field);
        assert_eq!(error.field(), field, "{error}");
        assert!(error.to_string().len() < 400, "{error}");
    }
}

#[test]
fn keys_of_credentials_and_ended_sessions_come_back_as_they_were() {
    let key = TokenKey::new("0123456789abcdef", [7; 32]).unwrap();
    let ended = EndedSession { id: SessionId::parse(&id("session")).unwrap(), until: UnixMillis::new(9) };
    let key_item = item(v1::ItemKind::TokenKey, key.id().to_owned(), &v1::TokenKeyItem::from(&key));
    let ended_item = item(v1::ItemKind::EndedSession, ended.id.to_string(), &v1::EndedSessionItem::from(&ended));
    assert_eq!(Object::try_from(&key_item), Ok(Object::TokenKey(key)));
    assert_eq!(Object::try_from(&ended_item), Ok(Object::EndedSession(ended)));
    for (item, field) in [
        (item(v1::ItemKind::TokenKey, "UPPER".into(), &v1::TokenKeyItem { public_key: vec![7; 32].into() }), "id"),
        (item(v1::ItemKind::TokenKey, "a".into(), &v1::TokenKeyItem { public_key: vec![7; 31].into() }), "public_key"),
        (item(v1::ItemKind::EndedSession, id("user"), &v1::EndedSessionItem { until_ms: 9 }), "id"),
        (item(v1::ItemKind::EndedSession, id("session"), &v1::EndedSessionItem { until_ms: -9 }), "until_ms"),
    ] {
        assert_eq!(Object::try_from(&item).expect_err(field).field(), field);
    }
}

#[test]
fn a_reference_names_one_object_of_a_known_kind() {
    for (kind, id, good) in [
        (v1::ItemKind::Customer, id("customer"), true),
        (v1::ItemKind::Team, id("team"), true),
        (v1::ItemKind::User, id("user"), true),
        (v1::ItemKind::Key, id("key"), true),
        (v1::ItemKind::Provider, id("provider"), true),
        (v1::ItemKind::Model, "meta/llama/large".into(), true),
        (v1::ItemKind::Model, "meta".into(), false),
        (v1::ItemKind::Model, "/x".into(), false),
        (v1::ItemKind::TokenKey, "0123456789abcdef".into(), true),
        (v1::ItemKind::TokenKey, String::new(), false),
        (v1::ItemKind::EndedSession, id("session"), true),
        (v1::ItemKind::EndedSession, id("user"), false),
        (v1::ItemKind::Key, id("team"), false),
        (v1::ItemKind::Unspecified, id("key"), false),
    ] {
        let gone = v1::ItemRef { kind: kind.into(), id: id.clone() };
        assert_eq!(ObjectRef::try_from(&gone).is_ok(), good, "{kind:?} {id}");
    }
    assert!(ObjectRef::try_from(&v1::ItemRef { kind: 9, id: id("key") }).is_err());
    let model = ObjectRef::try_from(&v1::ItemRef { kind: 6, id: "meta/llama/large".into() }).unwrap();
    assert_eq!(model, ObjectRef::Model("meta".into(), "llama/large".into()));
}

#[test]
fn what_items_have_in_common_is_kept_once() {
    let mut decoder = Decoder::default();
    let mut decoded = || match decoder.object(&item(v1::ItemKind::Key, id("key"), &key_item())) {
        Ok(Object::Key(key)) => key,
        other => panic!("{other:?}"),
    };
    let (one, other) = (decoded(), decoded());
    assert!(Arc::ptr_eq(&one.providers, &other.providers) && Arc::ptr_eq(&one.credentials, &other.credentials));
    assert_eq!(one.regions, other.regions);
    assert_eq!(one.team.as_str().as_ptr(), other.team.as_str().as_ptr());
}

#[test]
fn secrets_do_not_print() {
    let secret = v1::CredentialSecret { credential: id("credential"), secret: Bytes::from_static(b"canary") };
    let welcome = v1::Welcome { replica: "r".into(), pepper: Bytes::from_static(b"canary"), signing_keys: vec![] };
    let join = v1::JoinRequest { token: "canary".into(), name: "n".into(), ..v1::JoinRequest::default() };
    let response = v1::FollowResponse { message: Some(v1::follow_response::Message::Welcome(welcome)) };
    for printed in [format!("{secret:?}"), format!("{response:?}"), format!("{join:?}")] {
        assert!(!printed.contains("canary") && !printed.contains("99, 97"), "{printed}");
    }
}

fn refused(item: &v1::Item, kind: &str, field: &str) {
    let error = Object::try_from(item).expect_err(field);
    assert_eq!(error.field(), field, "{error}");
    assert!(error.to_string().starts_with(&format!("{kind} \"")), "{error}");
}

fn ulid() -> impl Strategy<Value = String> {
    "[0-9a-z]{26}"
}

proptest! {
    #[test]
    fn a_key_survives_the_wire(
        ulids in prop::collection::vec(ulid(), 5),
        name in "[a-z0-9][a-z0-9._-]{0,62}",
        hash in any::<[u8; 32]>(),
        has_user in any::<bool>(),
        revoked in any::<bool>(),
        expires in prop::option::of(1..i64::MAX),
        models in prop::collection::vec("!?[a-z0-9*.-]{1,40}", 0..6),
        best_effort in any::<bool>(),
        regions in prop::collection::vec("!?[a-z0-9*-]{1,20}", 0..4),
    ) {
        let named = |noun: &str, at: usize| format!("{noun}-{}", ulids[at]);
        let expect = Key {
            id: KeyId::parse(&named("key", 0)).unwrap(),
            name: name.as_str().into(),
            hash: KeyHash::new(hash),
            team: TeamId::parse(&named("team", 1)).unwrap(),
            user: has_user.then(|| UserId::parse(&named("user", 2)).unwrap()),
            revoked,
            expires: expires.map(UnixMillis::new),
            models: Patterns::parse(&models).unwrap(),
            providers: Arc::new([ProviderId::parse(&named("provider", 3)).unwrap()]),
            credentials: Arc::new([CredentialId::parse(&named("credential", 4)).unwrap()]),
            quota: None,
            audit: if best_effort { AuditMode::BestEffort } else { AuditMode::Required },
            regions: Patterns::parse(&regions).unwrap(),
            tools: Access::parse(&["github.*", "!resource:github.x"]).unwrap(),
            tool_rules: Arc::new([ToolRule {
                tools: rule_pattern("github.*").unwrap(),
                when: CallRule::parse("arguments.repo == 'a'").unwrap(),
            }]),
        };
        let body = v1::KeyItem {
            name,
            hash: hash.to_vec().into(),
            team: named("team", 1),
            user: if has_user { named("user", 2) } else { String::new() },
            revoked,
            expires_ms: expires.unwrap_or_default(),
            models,
            providers: vec![named("provider", 3)],
            credentials: vec![named("credential", 4)],
            quota: None,
            audit: if best_effort { "best_effort".into() } else { String::new() },
            regions,
            tools: vec!["github.*".into(), "!resource:github.x".into()],
            tool_rules: vec![v1::ToolRuleItem { tools: "github.*".into(), when: "arguments.repo == 'a'".into() }],
        };
        let item = item(v1::ItemKind::Key, named("key", 0), &body);
        prop_assert_eq!(v1::Item::decode(item.encode_to_vec().as_slice()).unwrap(), item.clone());
        prop_assert_eq!(Object::try_from(&item), Ok(Object::Key(expect)));
    }

    #[test]
    fn a_model_survives_the_wire(
        name in "[a-z0-9./-]{1,40}",
        aliases in prop::collection::vec("[a-z0-9*.-]{1,40}", 0..4),
        window in 0..i64::MAX,
        amounts in prop::option::of(prop::array::uniform6(0..i64::MAX)),
        threshold in prop::option::of(1..i64::MAX),
    ) {
        let [a, b, c, d, e, web_search] = amounts.unwrap_or_default();
        let rates = rates([a, b, c, d, e]).ok().unwrap();
        let long_context = threshold.map(|threshold| (u64::try_from(threshold).unwrap(), rates));
        let price = Price { rates, long_context, web_search: NanoUsd::new(web_search) };
        let model = Model {
            vendor: "vendor".into(),
            name: name.as_str().into(),
            display_name: "A model".into(),
            aliases: aliases.iter().map(|alias| Pattern::parse(alias).unwrap()).collect(),
            context_window: u64::try_from(window).unwrap(),
            output_max: 0,
            price: amounts.map(|_| price),
        };
        let item = item(v1::ItemKind::Model, push::model_id("vendor", &name), &v1::ModelItem::from(&model));
        prop_assert_eq!(Object::try_from(&item), Ok(Object::Model(model)));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        kind in -1..9i32,
        id in ".{0,60}",
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Object::try_from(&v1::Item { kind, id: id.clone(), body: body.into() });
        let _ = ObjectRef::try_from(&v1::ItemRef { kind, id });
    }

    #[test]
    fn a_changed_byte_is_refused_or_decodes_to_another_object(at in 0..400usize, bit in 0..8u8) {
        let original = item(v1::ItemKind::Provider, super::tests::id("provider"), &provider_item());
        let mut body = original.body.to_vec();
        let at = at % body.len();
        body[at] ^= 1 << bit;
        let changed = v1::Item { body: body.into(), ..original.clone() };
        prop_assert_ne!(Object::try_from(&changed).ok(), Object::try_from(&original).ok());
    }
}
