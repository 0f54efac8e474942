//! What the options of an owner become.

use super::*;

fn arguments(budgets: &[&str], limits: &[&str], session: &[&str]) -> QuotaArguments {
    QuotaArguments {
        budgets: budgets.iter().map(|text| text.parse().unwrap()).collect(),
        limits: limits.iter().map(|text| text.parse().unwrap()).collect(),
        session_limit: session.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

#[test]
fn what_is_given_or_cleared_is_masked_and_nothing_else() {
    use QuotaField::{Budgets, Limits, SessionLimit};
    for (given, clear, paths) in [
        (arguments(&["5 USD/1d"], &[], &[]), &[][..], &["budgets"][..]),
        (arguments(&[], &["10 parallel"], &["20 repeats"]), &[Budgets], &["budgets", "limits", "session_limit"]),
        (arguments(&[], &[], &[]), &[Budgets, Limits, SessionLimit], &["budgets", "limits", "session_limit"]),
        (arguments(&[], &[], &["5 USD"]), &[], &["session_limit"]),
    ] {
        let mut changed = Changed::default();
        given.changed(clear, &mut changed).unwrap();
        assert_eq!(changed.mask().unwrap().paths, paths);
    }
    assert!(
        arguments(&[], &[], &[]).changed(&[SessionLimit], &mut Changed::default()).unwrap().session_limit.is_none()
    );
}

#[test]
fn what_says_two_things_at_once_is_refused() {
    let refused = |given: QuotaArguments, clear: &[QuotaField], says: &str| {
        let failure = given.changed(clear, &mut Changed::default()).unwrap_err();
        assert!(failure.code == "usage" && failure.message.contains(says), "{}", failure.message);
    };
    refused(arguments(&["5 USD/1d"], &[], &[]), &[QuotaField::Budgets], "set and cleared");
    refused(arguments(&["5 USD/1d", "6 USD/1d,soft"], &[], &[]), &[], "covers the same");
    refused(arguments(&[], &[], &["pause=10m"]), &[], "pauses at no limit");
    let apart =
        arguments(&["5 USD/1d", "5 USD/1d@UTC", "5 USD/1d,model=x", "5 USD/1d,provider=p", "5 USD/2d"], &[], &[]);
    assert_eq!(apart.new_quota().unwrap().budgets.len(), 5);
}
