//! What can be typed of budgets and limits, how it is printed again, and what is said of the rest.

use super::*;

fn printed<T: FromStr<Err = String> + ToString>(rows: &[(&str, &str)]) {
    for (text, expect) in rows {
        let parsed: T = text.parse().unwrap_or_else(|reason| panic!("{text}: {reason}"));
        assert_eq!(parsed.to_string(), *expect, "{text}");
        let again: T = parsed.to_string().parse().unwrap_or_else(|reason| panic!("{expect}: {reason}"));
        assert_eq!(again.to_string(), *expect);
    }
}

fn refused<T: FromStr<Err = String>>(rows: &[(&str, &str)]) {
    for (text, says) in rows {
        let Err(reason) = text.parse::<T>() else { panic!("{text} was accepted") };
        assert!(reason.contains(says), "{text}: {reason}");
    }
}

#[test]
fn a_budget_is_an_amount_a_window_and_options() {
    printed::<Budget>(&[
        ("500 USD/1M", "500 USD/1M"),
        ("100USD/1d", "100 USD/1d"),
        ("20 USD", "20 USD"),
        ("20 USD/total", "20 USD"),
        ("0.000000001 USD/3M", "0.000000001 USD/3M"),
        ("1000 USD/1M@Europe/Berlin", "1000 USD/1M@Europe/Berlin"),
        ("1 USD/1d@UTC,hard,auto,thresholds=100+50+80", "1 USD/1d@UTC"),
        ("5 USD/1h,soft", "5 USD/1h,soft"),
        ("5 USD/1h, model=claude-*, model=!*opus*,strict", "5 USD/1h,model=!*opus*,model=claude-*,strict"),
        (
            "5 USD/1h,provider=anthropic,incremental,thresholds=90,grace=5 USD/600s,contact=ask #llm (Ada)",
            "5 USD/1h,provider=anthropic,incremental,thresholds=90,grace=5 USD/10m,contact=ask #llm (Ada)",
        ),
    ]);
    let budget: Budget = "1000.5 USD/1M@Europe/Berlin,grace=5 USD/1d".parse().unwrap();
    let v1::Budget { limit_nano_usd, grace_nano_usd, grace_seconds, alignment, .. } = budget.into_wire();
    assert_eq!((limit_nano_usd, grace_nano_usd, grace_seconds), (1_000_500_000_000, 5_000_000_000, 86_400));
    assert_eq!(alignment, i32::from(v1::BudgetAlignment::Calendar));
}

#[test]
fn what_is_no_budget_is_told_what_to_type() {
    refused::<Budget>(&[
        ("", "500 USD/1M"),
        ("500", "500 USD/1M"),
        ("500/1M", "500 USD/1M"),
        ("$500/1M", "500 USD/1M"),
        ("500 EUR/1M", "500 USD/1M"),
        ("0 USD/1M", "above 0"),
        ("-5 USD/1M", "above 0"),
        ("1e3 USD/1M", "above 0"),
        ("0.1234567891 USD/1M", "above 0"),
        ("5 USD/1m", "M (month)"),
        ("5 USD/", "the window \"\""),
        ("5 USD/1001d", "from 1 to 1000"),
        ("5 USD/1d@Mars/Olympus", "time zone"),
        ("5 USD/total@UTC", "no time zone"),
        ("5 USD@UTC", "500 USD/1M"),
        ("5 USD/1d,firm", "there are soft"),
        ("5 USD/1d,colour=red", "there are soft"),
        ("5 USD/1d,", "there are soft"),
        ("5 USD/1d,soft,hard", "enforcement twice"),
        ("5 USD/1d,provider=a,provider=b", "provider twice"),
        ("5 USD/1d,model=a b", "visible characters"),
        ("5 USD/1d,thresholds=50,80", "there are soft"),
        ("5 USD/1d,thresholds=0", "from 1 to 100"),
        ("5 USD/1d,grace=5 USD", "5 USD/10m"),
        ("5 USD/1d,grace=5 USD/25h", "at most a day"),
        ("5 USD/1d,contact=", "1 to 120"),
    ]);
}

#[test]
fn a_rate_limit_counts_requests_tokens_or_what_is_open() {
    printed::<RateLimit>(&[
        ("600 requests/1m", "600 requests/1m"),
        ("2_000_000 tokens/60m", "2000000 tokens/1h"),
        ("1 requests/90s", "1 requests/90s"),
        ("10 parallel", "10 parallel"),
        ("5 tokens/1d,model=gpt-*,model=!gpt-4*", "5 tokens/1d,model=!gpt-4*,model=gpt-*"),
    ]);
    refused::<RateLimit>(&[
        ("600", "600 requests/1m"),
        ("600 requests", "600 requests/1m"),
        ("10 parallel/1m", "10 parallel"),
        ("0 requests/1m", "600 requests/1m"),
        ("+5 requests/1m", "600 requests/1m"),
        ("1.5 requests/1m", "600 requests/1m"),
        ("600 calls/1m", "600 requests/1m"),
        ("600 requests/25h", "at most a day"),
        ("600 requests/500ms", "whole seconds"),
        ("600 requests/1M", "at most a day"),
        ("600 requests/1m,soft", "model=PATTERN"),
    ]);
}

#[test]
fn a_session_limit_is_put_together_from_its_parts() {
    let check = |parts: &[&str], expect: Result<&str, &str>| {
        let terms: Vec<SessionTerm> = parts.iter().map(|part| part.parse().unwrap()).collect();
        match (SessionLimit::of(&terms), expect) {
            (Ok(limit), Ok(text)) => assert_eq!(limit.to_string(), text),
            (Err(reason), Err(says)) => assert!(reason.contains(says), "{parts:?}: {reason}"),
            (found, _) => panic!("{parts:?}: {found:?}"),
        }
    };
    check(&["5 USD"], Ok("5 USD"));
    check(&["pause=10m", "20 repeats", "500 requests", "5.50 USD"], Ok("5.5 USD,500 requests,20 repeats,pause=10m"));
    check(&["pause=10m"], Err("pauses at no limit"));
    check(&["5 requests", "6 requests"], Err("twice"));
    for bad in
        ["5", "USD", "0 USD", "5 dollars", "0 requests", "-1 repeats", "3000000000 repeats", "pause=1.5s", "pause=1mo"]
    {
        assert!(bad.parse::<SessionTerm>().is_err(), "{bad}");
    }
}

#[test]
fn a_correction_has_a_sign() {
    for (text, nano) in [("-12.50", -12_500_000_000), ("12.5 USD", 12_500_000_000), ("-0.000000001USD", -1)] {
        assert_eq!(correction(text).unwrap().get(), nano, "{text}");
    }
    for bad in ["", "0", "-0", "--1", "+1", "1e3", "-", "1 EUR"] {
        assert!(correction(bad).is_err(), "{bad}");
    }
}
