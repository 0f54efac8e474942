//! What routes and the providers behind them are made of, as people type it.

use std::{str::FromStr, time::Duration};

use tollgate_policy::{
    name::{NAME_LENGTH_MAX, Name},
    provider::{Auth, Dialect, Quirk},
    route::{
        Balance, Condition, Conditions, DEADLINE_MAX, DEADLINE_MIN, FIRST_BYTE_TIMEOUT_MAX, FIRST_BYTE_TIMEOUT_MIN,
        HEDGE_AFTER_MAX, HEDGE_AFTER_MIN,
    },
    rule::Rule,
};
use tollgate_proto::admin::v1;

use super::{WEIGHT_MAX, duration, quota::shown_seconds, reference};

/// In how many letters what stands behind an `@` may differ from a condition and still be one that was mistyped.
const EDITS_MAX: usize = 2;
/// The longest name of a region, in bytes.
const REGION_BYTES_MAX: usize = 64;
/// The longest name of a model, in bytes.
const MODEL_BYTES_MAX: usize = 200;

/// A target, `provider[/model][=weight]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TargetArgument {
    pub(crate) provider: String,
    /// Empty: as the client names it.
    pub(crate) model: String,
    pub(crate) weight: i32,
}

/// A target of its own tier, `provider[/model][@condition,condition]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct FallbackArgument {
    pub(crate) target: TargetArgument,
    pub(crate) on: Conditions,
}

/// A header that a client is supposed to send, `name=value`; the name in lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HeaderArgument {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// The value of a placeholder, `name=value`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Setting {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl TargetArgument {
    /// As the wire has it.
    pub(crate) fn into_wire(self) -> v1::RouteTarget {
        let Self { provider, model, weight } = self;
        v1::RouteTarget { provider, model, weight }
    }

    fn bare(text: &str) -> Result<Self, String> {
        let (provider, model) = text.split_once('/').map_or((text, ""), |(provider, model)| (provider, model));
        let shape = |_| "must be provider or provider/model, such as openai/gpt-5-mini".to_owned();
        let provider = reference(provider).map_err(shape)?;
        if text.ends_with('/') {
            return Err(shape(String::new()));
        }
        Ok(Self { provider, model: if model.is_empty() { String::new() } else { target_model(model)? }, weight: 1 })
    }
}

impl FromStr for TargetArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((target, weight)) = text.rsplit_once('=') else { return Self::bare(text) };
        Ok(Self { weight: target_weight(weight)?, ..Self::bare(target)? })
    }
}

impl FromStr for FallbackArgument {
    type Err = String;

    // Names of models have an `@` in them at some vendors, so that only what reads like conditions is taken for some.
    fn from_str(text: &str) -> Result<Self, String> {
        let usual = |text: &str| Ok(Self { target: TargetArgument::bare(text)?, on: Conditions::default() });
        let Some((target, words)) = text.rsplit_once('@') else { return usual(text) };
        let read: Result<Vec<Condition>, String> = words.split(',').map(condition).collect();
        match read {
            Ok(on) => Ok(Self { target: TargetArgument::bare(target)?, on: on.into_iter().collect() }),
            Err(reason) if words.contains(',') || !target.contains('/') || is_mistyped(words) => Err(reason),
            Err(_) => usual(text),
        }
    }
}

impl FromStr for HeaderArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = || "must be name=value, such as x-team=payments".to_owned();
        let (name, value) = text.split_once('=').ok_or_else(shape)?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(shape());
        }
        Ok(Self { name: name.to_ascii_lowercase(), value: value.to_owned() })
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("must be name=value, such as region=eu-west-1".to_owned()),
        }
    }
}

fn is_mistyped(word: &str) -> bool {
    let likeness = |condition: Condition| strsim::damerau_levenshtein(condition.word(), word);
    Condition::ALL.into_iter().any(|condition| likeness(condition) <= EDITS_MAX)
}

/// Parses the weight of a target.
pub(crate) fn target_weight(text: &str) -> Result<i32, String> {
    let weight = text.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    weight.ok_or_else(|| format!("a weight must be a number from 1 to {WEIGHT_MAX}"))
}

/// Parses the name of a model, as a provider knows it.
pub(crate) fn target_model(text: &str) -> Result<String, String> {
    let is_shaped = (1..=MODEL_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_shaped && !text.contains('*') {
        return Ok(text.to_owned());
    }
    Err("must be the name of one model, as the provider knows it, without '*'".to_owned())
}

/// Parses a condition under which a request goes on to the next tier.
pub(crate) fn condition(text: &str) -> Result<Condition, String> {
    let words = || Condition::ALL.map(Condition::word).join(", ");
    Condition::of_word(text).ok_or_else(|| format!("must be one of {}", words()))
}

/// Parses a dialect.
pub(crate) fn dialect(text: &str) -> Result<String, String> {
    let words = || Dialect::ALL.map(Dialect::word).join(", ");
    Dialect::of_word(text).map(|_| text.to_owned()).ok_or_else(|| format!("must be one of {}", words()))
}

/// Parses how a credential is shown, into its one spelling; empty for what is usual in the dialect.
pub(crate) fn auth(text: &str) -> Result<String, String> {
    Auth::parse(text).map(|auth| auth.text()).map_err(|error| error.to_string())
}

/// Parses a quirk.
pub(crate) fn quirk(text: &str) -> Result<String, String> {
    let words = || Quirk::ALL.map(Quirk::word).join(", ");
    Quirk::of_word(text).map(|_| text.to_owned()).ok_or_else(|| format!("must be one of {}", words()))
}

/// Parses the region of a provider; empty for none.
pub(crate) fn region(text: &str) -> Result<String, String> {
    if text.len() <= REGION_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err(format!("must be at most {REGION_BYTES_MAX} visible characters, such as us-east-1"))
}

/// Parses where a route decides, and says what is wrong with it.
pub(crate) fn rule(text: &str) -> Result<String, String> {
    Rule::parse(text).map(|rule| rule.text().to_owned()).map_err(|invalid| invalid.to_string())
}

/// Parses how a target is chosen within a tier.
pub(crate) fn balance(text: &str) -> Result<String, String> {
    let words = || Balance::ALL.map(Balance::word).join(" or ");
    Balance::of_word(text).map(|_| text.to_owned()).ok_or_else(|| format!("must be {}", words()))
}

/// Parses how long an attempt may take until its answer begins.
pub(crate) fn first_byte_timeout(text: &str) -> Result<prost_types::Duration, String> {
    wait(text, FIRST_BYTE_TIMEOUT_MIN, FIRST_BYTE_TIMEOUT_MAX)
        .ok_or_else(|| "must be 100ms to 1h, such as 30s".to_owned())
}

/// Parses after how long another target is asked beside the first.
pub(crate) fn hedge_after(text: &str) -> Result<prost_types::Duration, String> {
    wait(text, HEDGE_AFTER_MIN, HEDGE_AFTER_MAX).ok_or_else(|| "must be 100ms to 10m, such as 2s".to_owned())
}

/// Parses how long a whole request may take.
pub(crate) fn deadline(text: &str) -> Result<prost_types::Duration, String> {
    wait(text, DEADLINE_MIN, DEADLINE_MAX).ok_or_else(|| "must be 1s to 24h, such as 10m".to_owned())
}

/// Parses a wait within bounds, in whole milliseconds.
pub(super) fn wait(text: &str, least: Duration, most: Duration) -> Option<prost_types::Duration> {
    let wait = Duration::try_from(duration(text).ok()?).ok()?;
    let is_good = (least..=most).contains(&wait) && wait.subsec_nanos() % 1_000_000 == 0;
    prost_types::Duration::try_from(wait).ok().filter(|_| is_good)
}

/// A duration of a route as it is typed: `30s`, `1500ms`.
pub(crate) fn shown_wait(wait: &prost_types::Duration) -> String {
    match wait.nanos / 1_000_000 {
        0 => shown_seconds(wait.seconds),
        millis => format!("{}ms", wait.seconds.saturating_mul(1_000).saturating_add(millis.into())),
    }
}

/// Parses which part of a budget is used.
pub(crate) fn used(text: &str) -> Result<f64, String> {
    let used = text.parse().ok().filter(|used| (0.0..=1.0).contains(used));
    used.ok_or_else(|| "must be a number from 0 to 1, such as 0.9".to_owned())
}

/// The name of a route that has none: its first pattern, in the letters of a name.
pub(crate) fn route_name(patterns: &[String]) -> Option<String> {
    let pattern = patterns.first()?;
    let mut text = String::new();
    for letter in pattern.to_ascii_lowercase().chars() {
        let letter = if letter.is_ascii_alphanumeric() || "._".contains(letter) { letter } else { '-' };
        if letter != '-' || !text.ends_with('-') {
            text.push(letter);
        }
    }
    let trimmed = text.trim_start_matches(['-', '.', '_']).trim_end_matches('-');
    let named = if trimmed.is_empty() { "all" } else { trimmed };
    let cut = named.get(..NAME_LENGTH_MAX).unwrap_or(named);
    Name::parse(cut).ok().map(|name| name.as_str().to_owned())
}

/// The conditions of a tier of the wire. None said are the usual ones; a word that this version does not know is left out.
pub(crate) fn conditions(words: &[String]) -> Conditions {
    if words.is_empty() {
        return Conditions::default();
    }
    words.iter().filter_map(|word| Condition::of_word(word)).collect()
}

/// The conditions for the wire, all of them also where they are the usual ones.
pub(crate) fn words(on: Conditions) -> Vec<String> {
    on.iter().map(|condition| condition.word().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_provider_a_model_and_a_weight() {
        for (text, provider, model, weight) in [
            ("openai", "openai", "", 1),
            ("openai/gpt-5-mini", "openai", "gpt-5-mini", 1),
            ("openai/gpt-5-mini=3", "openai", "gpt-5-mini", 3),
            ("openai=2", "openai", "", 2),
            ("fireworks/accounts/fireworks/models/x", "fireworks", "accounts/fireworks/models/x", 1),
        ] {
            let target = TargetArgument { provider: provider.into(), model: model.into(), weight };
            assert_eq!(text.parse(), Ok(target), "{text}");
        }
        for bad in ["", "/x", "openai/", "openai=0", "openai=1001", "openai=", "openai/a b", "openai/gpt-*", "a b"] {
            assert!(bad.parse::<TargetArgument>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_stands_behind_an_at_is_conditions_or_part_of_the_model() {
        let read = |text: &str| text.parse::<FallbackArgument>();
        let check = |text: &str, model: &str, on: Option<&[Condition]>| {
            let fallback = read(text).unwrap();
            let on = on.map_or_else(Conditions::default, |on| on.iter().copied().collect());
            assert_eq!((fallback.target.model.as_str(), fallback.on), (model, on), "{text}");
        };
        check("a", "", None);
        check("a@timeout,not_found", "", Some(&[Condition::Timeout, Condition::NotFound]));
        check("vertex/claude-opus-4-5@20251101", "claude-opus-4-5@20251101", None);
        check("vertex/claude-opus-5@default", "claude-opus-5@default", None);
        check("vertex/claude-opus-5@default@timeout", "claude-opus-5@default", Some(&[Condition::Timeout]));
        for bad in ["a/m@timout", "a@20251101", "a/m@timeout,x", "@timeout"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("a/m@timout").unwrap_err().contains("timeout"));
    }

    #[test]
    fn waits_have_bounds_and_one_spelling() {
        for (text, shown) in
            [("30s", "30s"), ("100ms", "100ms"), ("1500ms", "1500ms"), ("90m", ""), ("60m", "1h"), ("99ms", "")]
        {
            let read = first_byte_timeout(text).map(|wait| shown_wait(&wait));
            assert_eq!(read.unwrap_or_default(), shown, "{text}");
        }
        for (text, shown) in
            [("10m", "10m"), ("24h", "1d"), ("1d", "1d"), ("25h", ""), ("999ms", ""), ("1000100us", "")]
        {
            let read = deadline(text).map(|wait| shown_wait(&wait));
            assert_eq!(read.unwrap_or_default(), shown, "{text}");
        }
        for (text, shown) in [("2s", "2s"), ("100ms", "100ms"), ("600s", "10m"), ("99ms", ""), ("11m", "")] {
            assert_eq!(hedge_after(text).map(|wait| shown_wait(&wait)).unwrap_or_default(), shown, "{text}");
        }
        for bad in ["", "10", "-1s", "soon"] {
            let read = [deadline(bad), first_byte_timeout(bad), hedge_after(bad)];
            assert!(read.iter().all(Result::is_err), "{bad}");
        }
    }

    #[test]
    fn rules_headers_and_parts_of_budgets_are_read_or_told_what_to_be() {
        assert_eq!(rule(" budget.used > 0.9 ").unwrap(), "budget.used > 0.9");
        assert!(rule("modell == 'a'").unwrap_err().contains("a rule is about request, caller"));
        assert!(balance("latency").is_ok() && balance("speed").unwrap_err() == "must be weight or latency");
        let header = |name: &str, value: &str| Ok(HeaderArgument { name: name.into(), value: value.into() });
        assert_eq!("X-Team=a=b".parse(), header("x-team", "a=b"));
        assert_eq!("x-team=".parse(), header("x-team", ""));
        for bad in ["x-team", "=a", "x team=a"] {
            assert!(bad.parse::<HeaderArgument>().is_err(), "{bad}");
        }
        assert_eq!((used("0.9"), used("1").is_ok()), (Ok(0.9), true));
        for bad in ["", "-0.1", "1.1", "90%", "NaN"] {
            assert!(used(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_route_is_named_after_its_first_pattern() {
        for (pattern, name) in [
            ("claude-haiku-*", "claude-haiku"),
            ("*", "all"),
            ("!*opus*", "opus"),
            ("GPT-5.1", "gpt-5.1"),
            ("a/b:c", "a-b-c"),
            ("*-mini", "mini"),
        ] {
            assert_eq!(route_name(&[pattern.to_owned()]).as_deref(), Some(name), "{pattern}");
        }
        assert_eq!(route_name(&["x".repeat(200)]).map(|name| name.len()), Some(63));
        assert_eq!(route_name(&[]), None);
    }

    #[test]
    fn words_have_one_spelling_and_the_error_lists_them() {
        assert!(dialect("openai").unwrap_err().contains("openai_chat, openai_responses"));
        assert_eq!(auth("header:API-Key").unwrap(), "header:api-key");
        assert!(quirk("top_k").is_ok() && quirk("topk").unwrap_err().contains("top_k"));
        assert!(region("us-east-1").is_ok() && region("").is_ok() && region("a b").is_err());
        assert_eq!(conditions(&[]), Conditions::default());
        assert_eq!(words(conditions(&["not_found".into(), "timeout".into()])), ["timeout", "not_found"]);
    }
}
