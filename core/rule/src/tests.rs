//! Rules over made up requests.

use super::*;
use crate::facts::Sample;

fn sample() -> Sample {
    let [full, _] = facts::samples();
    full
}

fn decided(rule: &str, sample: &Sample) -> Result<bool, Undecided> {
    Rule::parse(rule).unwrap_or_else(|invalid| panic!("{rule}: {invalid}")).holds(sample)
}

#[test]
fn each_fact_decides() {
    for (rule, expect) in [
        ("true", true),
        ("request.model == 'claude-sonnet-5-5'", true),
        ("request.model.startsWith('claude-haiku')", false),
        ("request.model.matches('^claude-(sonnet|opus)-')", true),
        ("request.dialect == 'anthropic' && request.operation == 'messages'", true),
        ("request.stream", true),
        ("request.max_tokens > 32000", false),
        ("request.bytes >= 400000 && request.images == 1", true),
        ("caller.team in ['platform', 'data']", true),
        ("caller.key == 'dev' && caller.customer == 'acme' && caller.user == 'ada'", true),
        ("caller.session == '' || caller.agent != 'main'", false),
        ("'user-agent' in headers && headers['user-agent'].contains('claude')", true),
        ("has(headers.user) && headers.user == 'x'", false),
        ("'x-tier' in headers && headers['x-tier'] == 'low'", false),
        ("headers.exists(name, name.startsWith('x-'))", false),
        ("budget.used > 0.4 && budget.used <= 0.5", true),
        ("region.startsWith('eu-')", true),
        // The first of January 2026, a Thursday, at midnight in UTC.
        ("now.getHours('Europe/Berlin') == 1 && now.getDayOfWeek() == 4", true),
        ("now > timestamp('2026-06-01T00:00:00Z')", false),
        ("request.stream ? region == 'eu-west' : false", true),
    ] {
        assert_eq!(decided(rule, &sample()), Ok(expect), "{rule}");
    }
}

#[test]
fn a_bad_rule_is_refused_with_what_to_write() {
    for (rule, expect) in [
        ("", "is empty"),
        (&"true || ".repeat(200), "at most 1024 bytes"),
        ("request.model ==", "line 1, column"),
        ("request.model == 'a", "line 1, column"),
        ("model == 'a'", "knows nothing of \"model\""),
        ("true || colour == 'a'", "knows nothing of \"colour\""),
        ("request.modell == 'a'", "asks for request.modell, which there is not: there are model, dialect"),
        ("true || region.name == 'a'", "asks for region.name, which there is not: there are none"),
        ("request == caller", "takes request whole: name one of its fields"),
        ("true || request.model.shout() == 'A'", "calls \"shout\""),
        ("headers['x-team'] == 'a'", "asks for the header \"x-team\" without asking"),
        ("true || headers.team == 'a'", "asks for the header \"team\" without asking"),
        ("'X-Team' in headers", "in lower case"),
        ("headers[region] == 'a'", "in lower case"),
        ("request.model", "neither true nor false"),
        ("request.max_tokens + 1", "neither true nor false"),
        ("request.model > 3", "types that do not go together"),
        ("1 / request.images > 0", "cannot be computed"),
        ("request.model.matches('(')", "cannot be"),
        ("headers.exists(a, headers.exists(b, a == b))", "a loop"),
        (&"(".repeat(500), "no expression"),
    ] {
        let said = Rule::parse(rule).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(expect), "{rule}: {said}");
    }
}

#[test]
fn what_a_request_does_not_have_is_told_without_its_values() {
    // Either is asked about, and neither protects the other.
    let rule = "'x-one' in headers || headers['x-one'] == 'a'";
    let said = Rule::parse(rule).unwrap_err();
    assert_eq!(said, InvalidRule::Undecided(Undecided::Absent));
    let rule = "request.bytes < 10 || 'x-two' in headers && headers['x-two'] == 'a' && 10 / (request.bytes - 77) > 0";
    let odd = Sample {
        request: Request { bytes: 77, ..Request::default() },
        headers: vec![("x-two".into(), "a".into())],
        ..sample()
    };
    assert_eq!(decided(rule, &odd), Err(Undecided::Computation));
}

#[test]
fn rules_are_equal_by_their_text() {
    let rule = |text| Rule::parse(text).unwrap();
    assert_eq!(rule(" region == 'a' "), rule("region == 'a'"));
    assert_ne!(rule("region == 'a'"), rule("region == 'b'"));
    assert_eq!(format!("{:?}", rule("true")), "Rule(\"true\")");
}
