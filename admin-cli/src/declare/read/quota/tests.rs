//! What a file may say of budgets and limits.

use crate::{
    declare::{document::quota::Session, read::read, tree::Mistake},
    quota::Budget,
};

fn mistakes(text: &str) -> Vec<String> {
    let found = read(text).map(|_| Vec::new()).unwrap_or_else(|mistakes| mistakes);
    found.into_iter().map(|Mistake { place, text }| format!("{}:{}: {text}", place.line, place.column)).collect()
}

const WHOLE: &str = r#"
customers:
  - { name: acme, budgets: [{ limit: 5000 USD, window: 1M }] }
teams:
  - name: platform
    customer: acme
    budgets: [{ limit: 1000 USD, window: 1M, align: calendar, time_zone: Europe/Berlin }]
    limits: [{ requests: 600, per: 1m }, { tokens: 2000000, per: 1h }, { parallel: 10, models: ["gpt-*"] }]
users:
  - { name: ada, session_limit: { dollars: 5 USD, requests: 500, repeats: 20, pause: 10m } }
keys:
  - name: payments-dev
    team: platform
    budgets:
      - { limit: 500 USD, window: 1M }
      - limit: 100.50 USD
        window: 1d
        models: ["claude-*"]
        provider: anthropic
        enforcement: soft
        holding: strict
        thresholds: [90, 100]
        grace: 5 USD/10m
        contact: "ask #llm, or Ada"
    limits: []
    session_limit: none
"#;

#[test]
fn budgets_and_limits_are_read() {
    let document = read(WHOLE).unwrap();
    let budgets =
        |quota: &Option<Vec<Budget>>| quota.as_ref().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(budgets(&document.customers[0].quota.budgets), ["5000 USD/1M"]);
    let team = &document.teams[0].quota;
    assert_eq!(budgets(&team.budgets), ["1000 USD/1M@Europe/Berlin"]);
    let limits: Vec<_> = team.limits.as_ref().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(limits, ["600 requests/1m", "2000000 tokens/1h", "10 parallel,model=gpt-*"]);
    let Some(Session::Limited(session)) = document.users[0].quota.session_limit else { panic!() };
    assert_eq!(session.to_string(), "5 USD,500 requests,20 repeats,pause=10m");
    let key = &document.keys[0].quota;
    let full = "100.5 USD/1d,model=claude-*,provider=anthropic,soft,strict,thresholds=90+100,grace=5 USD/10m,contact=ask #llm, or Ada";
    assert_eq!(budgets(&key.budgets), ["500 USD/1M", full]);
    assert_eq!((key.limits.as_deref(), key.session_limit), (Some(&[][..]), Some(Session::None)));
    assert_eq!((&team.session_limit, &document.customers[0].quota.limits), (&None, &None));
}

#[test]
fn each_field_says_what_it_must_be() {
    let check = |field: &str, expect: &str| {
        let found = mistakes(&format!("customers: [{{ name: acme, {field} }}]"));
        assert!(found.len() == 1 && found[0].contains(expect), "{field}: {found:?}");
    };
    check("budgets: 500 USD", "budgets: must be a list");
    check("budgets: [500 USD/1M]", "customers[0].budgets[0]: must be a table");
    check(
        "budgets: [{ limit: 500, window: 1M }]",
        "budgets[0].limit: must be an amount of dollars above 0, such as '500 USD'",
    );
    check("budgets: [{ limit: 0 USD, window: 1M }]", "above 0");
    check("budgets: [{ window: 1M }]", "budgets[0].limit: is required");
    check("budgets: [{ limit: 5 USD }]", "budgets[0].window: is required");
    check("budgets: [{ limit: 5 USD, window: 30 }]", "or the word total");
    check("budgets: [{ limit: 5 USD, window: 1M, align: monday }]", "rolling or calendar");
    check("budgets: [{ limit: 5 USD, window: 1M, time_zone: UTC }]", "is for a budget with align: calendar");
    check("budgets: [{ limit: 5 USD, window: 1M, align: calendar, time_zone: Berlin }]", "IANA");
    check("budgets: [{ limit: 5 USD, window: total, align: calendar }]", "total does not");
    check("budgets: [{ limit: 5 USD, window: 1M, enforcement: firm }]", "hard or soft");
    check("budgets: [{ limit: 5 USD, window: 1M, holding: hard }]", "auto, strict or incremental");
    check("budgets: [{ limit: 5 USD, window: 1M, thresholds: [] }]", "must not be empty");
    check(
        "budgets: [{ limit: 5 USD, window: 1M, thresholds: [50, 101] }]",
        "thresholds[1]: thresholds must be percentages",
    );
    check("budgets: [{ limit: 5 USD, window: 1M, grace: 5 USD }]", "5 USD/10m");
    check("budgets: [{ limit: 5 USD, window: 1M, windwo: 1d }]", "did you mean window?");
    check("budgets: [{ limit: 5 USD, window: 1M, enforcment: soft }]", "did you mean enforcement?");
    check(
        "budgets: [{ limit: 5 USD, window: 1M }, { limit: 6 USD, window: 1M }]",
        "budgets[1]: '6 USD/1M' covers the same",
    );
    check("budget: [{ limit: 5 USD, window: 1M }]", "did you mean budgets?");
    check("limits: [{ per: 1m }]", "limits[0]: must have one of requests, tokens and parallel");
    check("limits: [{ requests: 1, tokens: 2, per: 1m }]", "must have one of");
    check("limits: [{ requests: 600 }]", "limits[0].per: is required");
    check("limits: [{ requests: 600, per: 2d }]", "at most a day");
    check("limits: [{ requests: 0, per: 1m }]", "of at least 1");
    check("limits: [{ parallel: 10, per: 1m }]", "has no time");
    check("session_limit: { pause: 10m }", "session_limit: must have at least one of");
    check("session_limit: off", "must be a table");
    check("session_limit: { dollars: 5 }", "500 USD");
    check("session_limit: { repeat: 5, requests: 1 }", "did you mean repeats?");
}
