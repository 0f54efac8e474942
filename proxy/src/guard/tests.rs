use tollgate_dialect::hub::{Begin, Delta, Event, Stop, Usage};
use tollgate_policy::{
    guardrail::{Action, Directions, Expression, Scope},
    id::{CustomerId, GuardrailId, TeamId},
    pattern::Patterns,
};
use tollgate_scan::Vault;

use super::*;

const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";
// In two pieces, so that it is not taken for one here.
const SECRET: &str = concat!("AK", "IAQYLPMN5HHHFPZAM2");

fn guardrail(name: &str, source: RuleSource, action: Action) -> Guardrail {
    Guardrail {
        id: GuardrailId::from_ulid(ULID).unwrap(),
        name: name.into(),
        disabled: false,
        source,
        rules: Patterns::default(),
        directions: Directions { request: true, response: true },
        action,
        shadow: false,
        scope: Scope::default(),
        allowed: Arc::default(),
    }
}

fn secrets(action: Action) -> Guardrail {
    guardrail("secrets", RuleSource::Secrets { builtin: true, file: None }, action)
}

fn guards(list: Vec<Guardrail>) -> Guards {
    Guards::default().next(&Arc::new(list.into_iter().map(Arc::new).collect())).unwrap()
}

fn keys() -> Arc<GuardKeys> {
    Arc::new(GuardKeys::new(&Pepper::new(vec![7; 32]).unwrap()).unwrap())
}

fn watch(guards: &Guards, keys: &Arc<GuardKeys>, direction: Direction) -> Watch {
    let (customer, team) = (CustomerId::from_ulid(ULID).unwrap(), TeamId::from_ulid(ULID).unwrap());
    guards.watch(keys, direction, Asker { customer: &customer, team: &team, key: "k", model: "m" }).unwrap()
}

fn vault(keys: &GuardKeys) -> Vault {
    Vault::new(keys.session(&KeyId::from_ulid(ULID).unwrap(), "session"))
}

// What a client gets of a block that arrives in pieces, and whether the answer ended there.
fn passed(filter: &mut Filter, begin: Begin<'_>, pieces: &[&str]) -> (String, bool) {
    let (mut out, mut blocked) = (String::new(), false);
    let delta = |piece: &&str| match begin {
        Begin::Text => Delta::Text((*piece).to_owned().into()),
        Begin::Thinking => Delta::Thinking((*piece).to_owned().into()),
        _ => Delta::Input((*piece).to_owned().into()),
    };
    let events = pieces.iter().map(|piece| Event::Delta(delta(piece))).collect::<Vec<_>>();
    let stop = Event::Stop { stop: Stop::EndTurn, usage: Usage::default() };
    for event in [Event::Begin(begin.clone())].iter().chain(&events).chain(&[Event::End, stop]) {
        let mut sink = |event: &Event<'_>| {
            if let Event::Delta(Delta::Text(text) | Delta::Input(text) | Delta::Thinking(text)) = event {
                out.push_str(text);
            }
        };
        if filter.push(event, &mut sink) != Passed::On {
            blocked = true;
            break;
        }
    }
    (out, blocked)
}

fn tool() -> Begin<'static> {
    Begin::ToolUse { id: "t".into(), name: "w".into(), signature: None }
}

#[test]
fn wherever_a_stream_is_cut_nothing_of_a_secret_passes() {
    let keys = keys();
    let (block, redact) = (guards(vec![secrets(Action::Block)]), guards(vec![secrets(Action::Redact)]));
    let text = format!("é before {SECRET} behind ü");
    let json = format!("{{\"a\":\"before {SECRET} behind\"}}");
    let filter =
        |guards| Filter::new(Some(watch(guards, &keys, Direction::Response)), Arc::new(vault(&keys)), None).unwrap();
    let bounds = |text: &str| (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect::<Vec<_>>();
    for cut in bounds(&text) {
        let (one, two) = text.split_at(cut);
        let told = passed(&mut filter(&redact), Begin::Text, &[one, two]);
        assert_eq!(told, ("é before [REDACTED:aws-access-key-id] behind ü".to_owned(), false), "{cut}");
        assert_eq!(passed(&mut filter(&block), Begin::Text, &[one, two]), ("é before ".to_owned(), true), "{cut}");
    }
    for cut in bounds(&json) {
        let (one, two) = json.split_at(cut);
        let told = passed(&mut filter(&redact), tool(), &[one, two]);
        assert_eq!(told, (json.replace(SECRET, "[REDACTED:aws-access-key-id]"), false), "{cut}");
        assert_eq!(passed(&mut filter(&block), tool(), &[one, two]), (String::new(), true), "{cut}");
    }
    let letters: Vec<String> = text.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    assert_eq!(passed(&mut filter(&block), Begin::Text, &letters), ("é before ".to_owned(), true));
    // Thinking is sealed: it is not changed, but it can end the answer.
    assert_eq!(passed(&mut filter(&redact), Begin::Thinking, &letters), (text.clone(), false));
    assert_eq!(passed(&mut filter(&block), Begin::Thinking, &letters), ("é before ".to_owned(), true));
    assert_eq!(passed(&mut filter(&block), Begin::Thinking, &[&text]), ("é before ".to_owned(), true));
}

#[test]
fn a_secret_that_is_longer_than_a_match_is_replaced_to_its_end() {
    let own = Expression { id: "own".into(), regex: "begin[a-z]+".into() };
    let guardrail = guardrail("own", RuleSource::Expressions([own].into()), Action::Redact);
    let (guards, keys) = (guards(vec![guardrail]), keys());
    let mut filter =
        Filter::new(Some(watch(&guards, &keys, Direction::Response)), Arc::new(vault(&keys)), None).unwrap();
    let pieces: Vec<String> =
        ["a begin"].iter().map(|it| (*it).to_owned()).chain((0..900).map(|_| "secretword".to_owned())).collect();
    let pieces: Vec<&str> = pieces.iter().map(String::as_str).chain([" b"]).collect();
    let (told, blocked) = passed(&mut filter, Begin::Text, &pieces);
    assert!(blocked || !told.contains("word"), "{told}");
    assert!(!told.contains("secretword"), "{told}");
}

#[test]
fn placeholders_are_taken_back_wherever_a_stream_is_cut() {
    let keys = keys();
    let mut vault = vault(&keys);
    let token = vault.tokenize("line \"1\"\nü".as_bytes()).unwrap().text();
    let vault = Arc::new(vault);
    let text = format!("é {token} ü");
    for cut in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
        let mut filter = Filter::new(None, Arc::clone(&vault), None).unwrap();
        let (one, two) = text.split_at(cut);
        assert_eq!(passed(&mut filter, Begin::Text, &[one, two]).0, "é line \"1\"\nü ü", "{cut}");
        assert_eq!(passed(&mut filter, tool(), &[one, two]).0, "é line \\\"1\\\"\\nü ü", "{cut}");
    }
    assert!(Filter::new(None, Arc::new(self::vault(&keys)), None).is_none(), "there is nothing to do");
    let nested = format!(r#"{{"arguments":"{{\"a\":\"{token}\"}}","other":"{token}"}}"#);
    let back = String::from_utf8(restored(nested.as_bytes(), &vault, &["arguments"]).unwrap()).unwrap();
    assert_eq!(back, r#"{"arguments":"{\"a\":\"line \\\"1\\\"\\nü\"}","other":"line \"1\"\nü"}"#);
}

#[test]
fn a_conversation_is_changed_alike_in_each_turn_on_every_replica() {
    let guards = guards(vec![secrets(Action::Tokenize)]);
    let replicas = [keys(), keys(), keys()];
    let mut said: Vec<String> = Vec::new();
    let mut before: Vec<String> = Vec::new();
    for turn in 0..50 {
        said.push(format!(r#"{{"role":"user","content":"turn {turn}: {SECRET} and AKIA{}"}}"#, "Q7ZW3XN5HHHFPZB2"));
        let document = format!(r#"{{"model":"m","messages":[{}]}}"#, said.join(","));
        let changed: Vec<String> = replicas
            .iter()
            .map(|keys| {
                let mut vault = vault(keys);
                let screened = screen(&watch(&guards, keys, Direction::Request), document.as_bytes(), Some(&mut vault));
                let changed = screened.changed.unwrap();
                assert_eq!(restored(&changed, &vault, &[]).unwrap(), document.as_bytes());
                String::from_utf8(changed).unwrap()
            })
            .collect();
        assert!(changed.iter().all(|one| *one == changed[0] && !one.contains(SECRET)));
        if let Some(last) = before.last() {
            let prefix = last.strip_suffix("]}").unwrap();
            assert!(changed[0].starts_with(prefix), "turn {turn}");
        }
        before.push(changed[0].clone());
    }
}

#[test]
fn rules_that_do_not_compile_are_refused_by_the_name_of_their_guardrail() {
    let own = |regex: &str| {
        let expression = Expression { id: "own".into(), regex: regex.into() };
        guardrail("mine", RuleSource::Expressions([expression].into()), Action::Block)
    };
    let next = |guardrail| Guards::default().next(&Arc::new(vec![Arc::new(guardrail)]));
    assert!(next(own("emp-[0-9]{4}")).is_ok());
    for bad in [own("("), own("a*"), guardrail("mine", RuleSource::Words(["x".into()].into()), Action::Block)] {
        let error = next(bad).unwrap_err().to_string();
        assert!(error.starts_with("the guardrail \"mine\" cannot be enforced: "), "{error}");
    }
    // What is compiled is taken over.
    let one = guards(vec![secrets(Action::Block)]);
    let two = one.next(&Arc::new(vec![Arc::new(secrets(Action::Redact))])).unwrap();
    assert!(Arc::ptr_eq(&one.groups[0].engine, &two.groups[0].engine));
}

#[test]
fn pictures_are_left_alone_and_a_large_one_is_no_reason_to_refuse() {
    let (guards, keys) = (guards(vec![secrets(Action::Block)]), keys());
    let picture: String =
        "iVBORw0KGgo".chars().chain("AKIAQYLPMN5HHHFPZAM2abc+/".chars().cycle().take(3_000_000)).collect();
    let document = format!(r#"{{"messages":[{{"content":[{{"source":{{"data":"{picture}"}}}}]}}]}}"#);
    let screened = screen(&watch(&guards, &keys, Direction::Request), document.as_bytes(), None);
    assert_eq!((screened.blocked, screened.changed), (None, None));
    // Large texts of other kinds are looked at to their end.
    let words: String = (0..300_000).map(|number| format!("word{number} = value_{number};\\n")).collect();
    let document = format!(r#"{{"messages":[{{"content":"{words}"}}]}}"#);
    let screened = screen(&watch(&guards, &keys, Direction::Request), document.as_bytes(), None);
    assert_eq!(screened.blocked, None);
}
