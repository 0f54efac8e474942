//! What becomes of budgets and limits.

use super::*;

/// acme has a budget and a limit as the control plane returns them, and one for a provider alone.
fn held() -> Lists {
    let mut lists = lists();
    let budget = |id: &str, window: &str, limit: i64| v1::Budget {
        id: id.to_owned(),
        limit_nano_usd: limit * 1_000_000_000,
        window: window.to_owned(),
        alignment: v1::BudgetAlignment::Rolling.into(),
        enforcement: v1::BudgetEnforcement::Hard.into(),
        holding: v1::BudgetHolding::Auto.into(),
        thresholds: vec![50, 80, 100],
        ..v1::Budget::default()
    };
    let only = v1::Budget { provider: "provider-1".to_owned(), ..budget("budget-2", "1d", 100) };
    lists.customers[0].budgets = vec![budget("budget-1", "1M", 500), only];
    lists.customers[0].limits = vec![v1::RateLimit {
        measure: v1::RateMeasure::Requests.into(),
        amount: 600,
        per_seconds: 60,
        models: Vec::new(),
    }];
    lists.customers[0].session_limit =
        Some(v1::SessionLimit { repeats: 20, pause_seconds: 600, ..v1::SessionLimit::default() });
    lists
}

fn planned(text: &str) -> Plan {
    let document = read(text).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"));
    plan(&State::new(held()), &document, false).unwrap_or_else(|mistakes| panic!("{text}: {mistakes:?}"))
}

#[test]
fn what_is_as_declared_is_left_alone_whatever_is_usual_is_said() {
    for fields in [
        "",
        "budgets: [{ limit: 100 USD, window: 1d, provider: anthropic }, { limit: 500 USD, window: 1M }]",
        "budgets: [{ limit: 500.00 USD, window: 01M, align: rolling, enforcement: hard, holding: auto, thresholds: [100, 80, 50] },
            { limit: 100 USD, window: 1d, provider: provider-1 }]",
        "limits: [{ requests: 600, per: 60s }]",
        "session_limit: { repeats: 20, pause: 600s }",
    ] {
        let plan = planned(&format!("customers: [{{ name: acme, {fields} }}]"));
        assert!(plan.steps.is_empty(), "{fields}: {:?}", plan.steps);
    }
}

#[test]
fn what_differs_replaces_the_whole_list() {
    let check = |fields: &str, expect: &str| {
        let text = show::text(&planned(&format!("customers: [{{ name: acme, {fields} }}]")));
        assert_eq!(text.lines().nth(1).map(str::trim), Some(expect), "{fields}");
    };
    check(
        "budgets: [{ limit: 600 USD, window: 1M }]",
        r#"budgets: [{"limit":"500 USD","window":"1M"},{"limit":"100 USD","provider":"anthropic","window":"1d"}] -> [{"limit":"600 USD","window":"1M"}]"#,
    );
    check("limits: []", r#"limits: [{"per":"1m","requests":600}] -> []"#);
    check("session_limit: none", r#"session_limit: {"pause":"10m","repeats":20} -> "none""#);
}

#[test]
fn an_update_carries_budgets_without_ids_and_masks_what_changes() {
    let text =
        "customers: [{ name: acme, budgets: [{ limit: 5 USD, window: 1d, align: calendar }], session_limit: none }]";
    let plan = planned(text);
    let Call::Customer(Write::Update(customer, mask)) = &plan.steps[0].call else { panic!() };
    assert_eq!(mask, &["budgets", "session_limit"]);
    let v1::Budget { id, limit_nano_usd, time_zone, .. } = &customer.budgets[0];
    assert_eq!((id.as_str(), *limit_nano_usd, time_zone.as_str()), ("", 5_000_000_000, "UTC"));
    assert_eq!((customer.limits.len(), customer.session_limit), (0, None));
}

#[test]
fn a_budget_may_cover_a_provider_that_the_file_brings() {
    let text = "
customers: [{ name: new, budgets: [{ limit: 5 USD, window: 1d, provider: local }] }]
providers: [{ name: local, dialect: anthropic, base_url: 'https://x' }]
";
    let order: Vec<_> = planned(text).steps.iter().map(|step| step.kind).collect();
    assert_eq!(order, [Kind::Provider, Kind::Customer]);
    let found = refused("keys: [{ name: dev, budgets: [{ limit: 5 USD, window: 1d, provider: nowhere }] }]", false);
    assert_eq!(
        found,
        ["1: the key \"dev\" names the provider \"nowhere\", which is neither in the file nor there already"]
    );
}

#[test]
fn an_export_leaves_out_what_is_usual_and_what_does_not_hold_back() {
    let text = yaml(&State::new(held()).export()).unwrap();
    for present in ["limit: 500 USD", "window: 1M", "provider: anthropic", "requests: 600", "per: 1m", "pause: 10m"] {
        assert!(text.contains(present), "{present}: {text}");
    }
    for absent in ["align", "thresholds", "hard", "budget-1", "budgets: []", "session_limit: none"] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
}
