use super::*;
use proptest::prelude::*;

fn sonnet() -> Price {
    let rates = |input: i64, output: i64| Rates {
        input: NanoUsd::new(input),
        output: NanoUsd::new(output),
        cache_read: NanoUsd::new(input / 10),
        cache_write_5m: NanoUsd::new(input / 4 * 5),
        cache_write_1h: NanoUsd::new(input * 2),
    };
    Price {
        rates: rates(3_000_000_000, 15_000_000_000),
        long_context: Some((200_000, rates(6_000_000_000, 22_500_000_000))),
        web_search: NanoUsd::new(10_000_000),
    }
}

fn opus() -> Price {
    Price { long_context: None, ..sonnet() }
}

/// A text of 1,000 bytes to a model with a window of a million, answered in 100 tokens, without a cache.
fn plain() -> Extent {
    Extent {
        body_bytes: 1_000,
        context_window: 1_000_000,
        output_tokens_max: 100,
        cache_write_5m: false,
        cache_write_1h: false,
        ..Extent::default()
    }
}

#[test]
fn each_counter_has_its_own_price() {
    for (tokens, dollars) in [
        (Tokens { input: 1_000, output: 100, ..Tokens::default() }, "0.0045"),
        (Tokens { cache_read: 10_000, ..Tokens::default() }, "0.003"),
        (Tokens { cache_write_5m: 1_000, ..Tokens::default() }, "0.00375"),
        (Tokens { cache_write_1h: 1_000, ..Tokens::default() }, "0.006"),
        (Tokens { web_searches: 3, ..Tokens::default() }, "0.03"),
        (Tokens { input: 100_000, cache_read: 100_001, ..Tokens::default() }, "0.6600006"),
    ] {
        assert_eq!(sonnet().cost(&tokens).to_string(), dollars, "{tokens:?}");
    }
}

#[test]
fn the_bound_takes_the_dearest_of_what_may_apply() {
    let unknown = Extent { context_window: 0, ..plain() };
    for (rule, price, extent, dollars) in [
        ("input and output", sonnet(), plain(), "0.004500003"),
        ("five-minute cache", sonnet(), Extent { cache_write_5m: true, ..plain() }, "0.005250003"),
        ("one-hour cache", sonnet(), Extent { cache_write_1h: true, ..plain() }, "0.007500003"),
        ("hidden tokens", sonnet(), Extent { hidden_tokens: 5_000, ..plain() }, "0.019500003"),
        ("long context", sonnet(), Extent { body_bytes: 200_001, ..plain() }, "1.202256003"),
        ("capped by the window", opus(), Extent { body_bytes: 9_000_000, ..plain() }, "3.001500003"),
        ("unresolvable", opus(), Extent { is_unresolvable: true, ..plain() }, "3.001500003"),
        ("unresolvable in an unknown window", opus(), Extent { is_unresolvable: true, ..unknown }, "6.001500003"),
        (
            "unresolvable and larger",
            opus(),
            Extent { is_unresolvable: true, body_bytes: 3_000_000, ..unknown },
            "9.001500003",
        ),
        ("text in an unknown window", opus(), unknown, "0.004500003"),
        ("output of any length", opus(), Extent { output_tokens_max: 0, ..plain() }, "15.003000003"),
        (
            "output of any length in an unknown window",
            opus(),
            Extent { output_tokens_max: 0, ..unknown },
            "30.003000003",
        ),
        ("output capped by the window", opus(), Extent { output_tokens_max: u64::MAX, ..plain() }, "15.003000003"),
        ("a second run reads what the first wrote", opus(), Extent { samples: 2, ..plain() }, "0.009600003"),
        (
            "ten searches",
            opus(),
            Extent { samples: 11, is_unresolvable: true, web_searches: 10, ..plain() },
            "33.116500003",
        ),
        (
            "a window below the tier is not the largest",
            sonnet(),
            Extent { body_bytes: 300_000, context_window: 200_000, ..plain() },
            "1.802250003",
        ),
        ("free of charge", Price::default(), plain(), "0"),
    ] {
        assert_eq!(price.bound(&extent).to_string(), dollars, "{rule}");
    }
}

#[test]
fn no_extent_is_too_large_to_be_bounded() {
    let most =
        Extent { body_bytes: u64::MAX, hidden_tokens: u64::MAX, samples: u64::MAX, web_searches: u64::MAX, ..plain() };
    assert_eq!(sonnet().bound(&most), NanoUsd::new(i64::MAX));
}

#[test]
fn a_percentage_scales_tokens_and_no_fees_and_is_rounded_up() {
    let odd = Price { rates: Rates { input: NanoUsd::new(1), ..Rates::default() }, ..Price::default() };
    assert_eq!(odd.at_percent(110).rates.input, NanoUsd::new(2));
    assert_eq!(sonnet().at_percent(100), sonnet());
    let tokens = Tokens { input: 1_000, output: 100, web_searches: 1, ..Tokens::default() };
    for (percent, dollars) in [(100, "0.0145"), (110, "0.01495"), (200, "0.019"), (220, "0.0199"), (600, "0.037")] {
        assert_eq!(sonnet().at_percent(percent).cost(&tokens).to_string(), dollars, "{percent} %");
    }
}

#[test]
fn slices_of_output_cost_no_less_than_the_whole() {
    assert_eq!(sonnet().output(2_048).to_string(), "0.04608");
    let whole = sonnet().bound(&Extent { output_tokens_max: 5_000, ..plain() });
    let sliced = [2_048, 2_048, 904].into_iter().map(|tokens| sonnet().output(tokens)).sum();
    assert!(sonnet().bound_input(&plain()).plus(sliced) >= whole);
}

fn rate() -> impl Strategy<Value = NanoUsd> {
    prop_oneof![Just(0), 1..50_i64, 1..200_000_000_000_i64].prop_map(NanoUsd::new)
}

fn rates() -> impl Strategy<Value = Rates> {
    (rate(), rate(), rate(), rate(), rate()).prop_map(|(input, output, cache_read, cache_write_5m, cache_write_1h)| {
        Rates { input, output, cache_read, cache_write_5m, cache_write_1h }
    })
}

fn price() -> impl Strategy<Value = Price> {
    let tier = proptest::option::of((1_000..2_000_000_u64, rates()));
    (rates(), tier, rate()).prop_map(|(rates, long_context, web_search)| Price { rates, long_context, web_search })
}

fn extent() -> impl Strategy<Value = Extent> {
    let sizes = (0..4_000_000_u64, 0..50_000_u64, any::<bool>(), 1..12_u64, 0..20_u64);
    let limits = (any::<bool>(), any::<bool>(), prop_oneof![Just(0), 1..2_000_000_u64], 0..300_000_u64);
    (sizes, limits).prop_map(|(sizes, (cache_write_5m, cache_write_1h, context_window, output_tokens_max))| {
        let (body_bytes, hidden_tokens, is_unresolvable, samples, web_searches) = sizes;
        Extent {
            body_bytes,
            hidden_tokens,
            is_unresolvable,
            samples,
            web_searches,
            cache_write_5m,
            cache_write_1h,
            context_window,
            output_tokens_max,
        }
    })
}

proptest! {
    #[test]
    fn no_split_of_the_counters_costs_more_than_the_bound(
        price in price(),
        extent in extent(),
        percent in 100..700_u64,
        shares in proptest::array::uniform5(0..=1_000_u64),
        whole in any::<bool>(),
    ) {
        let price = price.at_percent(percent);
        let window = price.window(&extent);
        let all = extent.input_tokens(window);
        let input = if whole { all } else { all / 1_000 * shares[4] };
        let parts = shares[0] + shares[1] + shares[2] + shares[3] + 1;
        let part = |share: u64, may: bool| if may { input / parts * share } else { 0 };
        let cache_read = part(shares[1], true);
        let cache_write_5m = part(shares[2], extent.cache_write_5m);
        let cache_write_1h = part(shares[3], extent.cache_write_1h);
        let tokens = Tokens {
            input: input - cache_read - cache_write_5m - cache_write_1h,
            output: extent.output_tokens(window),
            cache_read,
            cache_write_5m,
            cache_write_1h,
            web_searches: extent.web_searches,
        };
        prop_assert!(price.cost(&tokens) <= price.bound(&extent));
        let output = price.output(tokens.output);
        prop_assert!(price.bound(&extent) <= price.bound_input(&extent).plus(output));
    }
}
