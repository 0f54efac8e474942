//! Budgets and limits as people type them: `500 USD/1M`, `600 requests/1m`, `20 repeats`.

use std::{collections::BTreeSet, fmt, str::FromStr};

use tollgate_policy::{
    budget::CONTACT_CHARS_MAX,
    limit::SPAN_MS_MAX,
    money::NanoUsd,
    window::{Period, Zone},
};
use tollgate_proto::admin::v1;

use super::{duration, pattern, reference};
use crate::quota::{Budget, RateLimit, SessionLimit, alignment_word, enforcement_word, holding_word, measure_word};

/// The longest span of a rate limit, and the longest grace, in seconds.
const SECONDS_MAX: i64 = (SPAN_MS_MAX / 1_000) as i64;
/// What is said of an amount that is none.
const MONEY: &str = "must be an amount of dollars above 0, such as '500 USD' or '12.50 USD'";
/// What is said of a rate limit that is none.
const RATE: &str = "must be such as '600 requests/1m', '2000000 tokens/1h' or '10 parallel'";
/// What is said of a part of a session limit that is none.
const SESSION: &str = "must be '5 USD', '500 requests', '20 repeats' or 'pause=10m', joined by commas";
/// The options behind a budget.
const OPTIONS: &str = "soft, hard, strict, incremental, auto, model=PATTERN, provider=NAME, thresholds=50+80+100, grace=5 USD/10m, contact=TEXT";

/// One part of a session limit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SessionTerm {
    Dollars(NanoUsd),
    Requests(i64),
    Repeats(i32),
    Pause(i32),
}

// === budgets ===

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let mut budget = sum(parts.next().unwrap_or_default())?;
        let mut given = BTreeSet::new();
        for part in parts {
            let what = option(&mut budget, part)?;
            if !given.insert(what) && what != "model" {
                return Err(format!("says its {what} twice"));
            }
        }
        Ok(Self::new(budget))
    }
}

// `AMOUNT USD[/WINDOW[@ZONE]]`; the zone may have slashes of its own.
fn sum(text: &str) -> Result<v1::Budget, String> {
    let (amount, rest) = text.split_once('/').unwrap_or((text, "total"));
    let limit = money(amount).map_err(|reason| format!("{reason}, with a window behind it: '500 USD/1M'"))?;
    let (period, zone) = rest.split_once('@').map_or((rest, None), |(period, zone)| (period, Some(zone)));
    let window = window(period)?;
    let mut budget = v1::Budget { limit_nano_usd: limit.get(), window, ..v1::Budget::default() };
    if let Some(zone) = zone {
        if budget.window == "total" {
            return Err("never begins anew when it has no window, so no time zone can be said".to_owned());
        }
        budget.set_alignment(v1::BudgetAlignment::Calendar);
        budget.time_zone = time_zone(zone)?;
    }
    Ok(budget)
}

fn option(budget: &mut v1::Budget, text: &str) -> Result<&'static str, String> {
    if let Some(given) = enforcement(text) {
        budget.set_enforcement(given);
        return Ok("enforcement");
    }
    if let Some(given) = holding(text) {
        budget.set_holding(given);
        return Ok("holding");
    }
    let unknown = || format!("has no option {text:?}; there are {OPTIONS}");
    let (name, value) = text.split_once('=').ok_or_else(unknown)?;
    match name {
        "model" => {
            budget.models.push(pattern(value)?);
            Ok("model")
        }
        "provider" => {
            budget.provider = reference(value)?;
            Ok("provider")
        }
        "thresholds" => {
            let given = value.split('+').map(threshold).collect::<Result<_, _>>();
            budget.thresholds = given?;
            Ok("thresholds")
        }
        "grace" => {
            (budget.grace_nano_usd, budget.grace_seconds) = grace(value)?;
            Ok("grace")
        }
        "contact" => {
            budget.contact = contact(value)?;
            Ok("contact")
        }
        _ => Err(unknown()),
    }
}

/// Prints it as it can be typed, but for what is usual.
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let budget = self.wire();
        write!(f, "{} USD", NanoUsd::new(budget.limit_nano_usd))?;
        if budget.window != "total" {
            write!(f, "/{}", budget.window)?;
        }
        if alignment_word(budget) != "rolling" {
            write!(f, "@{}", budget.time_zone)?;
        }
        for model in &budget.models {
            write!(f, ",model={model}")?;
        }
        if !budget.provider.is_empty() {
            write!(f, ",provider={}", budget.provider)?;
        }
        for word in [enforcement_word(budget), holding_word(budget)] {
            if !matches!(word, "hard" | "auto") {
                write!(f, ",{word}")?;
            }
        }
        if !self.alerts_as_usual() {
            let thresholds: Vec<_> = budget.thresholds.iter().map(ToString::to_string).collect();
            write!(f, ",thresholds={}", thresholds.join("+"))?;
        }
        if let Some(grace) = shown_grace(budget) {
            write!(f, ",grace={grace}")?;
        }
        if budget.contact.is_empty() { Ok(()) } else { write!(f, ",contact={}", budget.contact) }
    }
}

/// Parses an amount of dollars, more than nothing: `500 USD`.
pub(crate) fn money(text: &str) -> Result<NanoUsd, String> {
    let digits = text.trim().strip_suffix("USD").map(str::trim_end);
    let amount = digits.and_then(|digits| NanoUsd::parse_dollars(digits).ok());
    amount.filter(|amount| *amount > NanoUsd::ZERO).ok_or_else(|| MONEY.to_owned())
}

/// Parses a correction of what was spent, other than nothing: `-12.50`, with or without `USD` behind it.
pub(crate) fn correction(text: &str) -> Result<NanoUsd, String> {
    let bare = text.trim();
    let bare = bare.strip_suffix("USD").map_or(bare, str::trim_end);
    let (digits, sign) = bare.strip_prefix('-').map_or((bare, 1), |digits| (digits, -1));
    let amount = NanoUsd::parse_dollars(digits).ok().filter(|amount| *amount != NanoUsd::ZERO);
    let amount =
        amount.ok_or("must be a decimal number of dollars other than 0: -12.50 for a refund, 12.50 to charge more")?;
    Ok(NanoUsd::new(amount.get().saturating_mul(sign)))
}

/// Parses the length of a window.
pub(crate) fn window(text: &str) -> Result<String, String> {
    text.parse::<Period>().map(|period| period.to_string()).map_err(|error| format!("the window {text:?} {error}"))
}

/// Parses the name of a time zone.
pub(crate) fn time_zone(text: &str) -> Result<String, String> {
    // By the name in the database, so that another spelling is no difference.
    Zone::parse(text).map(|zone| zone.name().to_owned()).map_err(|error| format!("the time zone {text:?} {error}"))
}

/// What happens at the limit.
pub(crate) fn enforcement(word: &str) -> Option<v1::BudgetEnforcement> {
    match word {
        "hard" => Some(v1::BudgetEnforcement::Hard),
        "soft" => Some(v1::BudgetEnforcement::Soft),
        _ => None,
    }
}

/// How much is held for a stream.
pub(crate) fn holding(word: &str) -> Option<v1::BudgetHolding> {
    match word {
        "auto" => Some(v1::BudgetHolding::Auto),
        "strict" => Some(v1::BudgetHolding::Strict),
        "incremental" => Some(v1::BudgetHolding::Incremental),
        _ => None,
    }
}

/// Parses a percentage at which a budget alerts.
pub(crate) fn threshold(text: &str) -> Result<i32, String> {
    let percent = text.parse().ok().filter(|percent| (1..=100).contains(percent));
    percent.ok_or_else(|| "thresholds must be percentages from 1 to 100, such as 50+80+100".to_owned())
}

/// Parses a grace, `5 USD/10m`: nano-dollars, and for how many seconds.
pub(crate) fn grace(text: &str) -> Result<(i64, i64), String> {
    let shape = || "the grace must be an amount and for how long, at most a day, such as '5 USD/10m'".to_owned();
    let (amount, span) = text.split_once('/').ok_or_else(shape)?;
    Ok((money(amount).map_err(|_| shape())?.get(), seconds(span, SECONDS_MAX).map_err(|_| shape())?))
}

/// A grace as it can be typed, if there is one.
pub(crate) fn shown_grace(budget: &v1::Budget) -> Option<String> {
    let v1::Budget { grace_nano_usd, grace_seconds, .. } = budget;
    (*grace_nano_usd != 0).then(|| format!("{} USD/{}", NanoUsd::new(*grace_nano_usd), shown_seconds(*grace_seconds)))
}

/// Parses whom to ask for more.
pub(crate) fn contact(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().count() > CONTACT_CHARS_MAX || text.chars().any(char::is_control) {
        return Err(format!("the contact must be 1 to {CONTACT_CHARS_MAX} characters on one line"));
    }
    Ok(text.to_owned())
}

// === rate limits ===

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim);
        let mut limit = rate(parts.next().unwrap_or_default())?;
        for part in parts {
            let named = part.strip_prefix("model=");
            let named = named.ok_or_else(|| format!("has no option {part:?}; there is model=PATTERN"))?;
            limit.models.push(pattern(named)?);
        }
        Ok(Self::new(limit))
    }
}

fn rate(text: &str) -> Result<v1::RateLimit, String> {
    let (number, rest) = text.split_once(' ').ok_or(RATE)?;
    let amount = count(number).ok_or(RATE)?;
    let (word, span) = rest.split_once('/').map_or((rest, None), |(word, span)| (word, Some(span)));
    let (measure, per_seconds) = match (word.trim(), span) {
        ("requests", Some(span)) => (v1::RateMeasure::Requests, per(span)?),
        ("tokens", Some(span)) => (v1::RateMeasure::Tokens, per(span)?),
        ("parallel", None) => (v1::RateMeasure::Parallel, 0),
        _ => return Err(RATE.to_owned()),
    };
    Ok(v1::RateLimit { measure: measure.into(), amount, per_seconds, models: Vec::new() })
}

/// Parses the span of a rate limit into seconds.
pub(crate) fn per(text: &str) -> Result<i64, String> {
    seconds(text, SECONDS_MAX)
        .map_err(|_| "the time must be whole seconds and at most a day, such as 1s, 1m or 1h".to_owned())
}

/// Prints it as it can be typed.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.wire();
        write!(f, "{} {}", limit.amount, measure_word(limit))?;
        if limit.per_seconds != 0 {
            write!(f, "/{}", shown_seconds(limit.per_seconds))?;
        }
        limit.models.iter().try_for_each(|model| write!(f, ",model={model}"))
    }
}

// === session limits ===

impl FromStr for SessionTerm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(span) = text.strip_prefix("pause=") {
            return pause(span).map(Self::Pause);
        }
        let (number, word) = text.split_once(' ').ok_or(SESSION)?;
        let small = || count(number).and_then(|number| i32::try_from(number).ok());
        let term = match word.trim() {
            "USD" => money(text).ok().map(Self::Dollars),
            "requests" => count(number).map(Self::Requests),
            "repeats" => small().map(Self::Repeats),
            _ => None,
        };
        term.ok_or_else(|| SESSION.to_owned())
    }
}

/// Parses for how long a session pauses, in seconds.
pub(crate) fn pause(text: &str) -> Result<i32, String> {
    let pause = seconds(text, i32::MAX.into()).ok().and_then(|seconds| i32::try_from(seconds).ok());
    pause.ok_or_else(|| "the pause must be whole seconds, such as 90s or 10m".to_owned())
}

impl SessionLimit {
    /// Puts the parts together.
    ///
    /// # Errors
    /// A part that is said twice, or a pause that follows no limit.
    pub(crate) fn of(terms: &[SessionTerm]) -> Result<Self, String> {
        let mut limit = v1::SessionLimit::default();
        for term in terms {
            let before = match *term {
                SessionTerm::Dollars(amount) => std::mem::replace(&mut limit.dollars_nano_usd, amount.get()),
                SessionTerm::Requests(number) => std::mem::replace(&mut limit.requests, number),
                SessionTerm::Repeats(number) => std::mem::replace(&mut limit.repeats, number).into(),
                SessionTerm::Pause(seconds) => std::mem::replace(&mut limit.pause_seconds, seconds).into(),
            };
            if before != 0 {
                return Err("says the same thing twice".to_owned());
            }
        }
        Self::new(limit).ok_or_else(|| format!("pauses at no limit: it {SESSION}"))
    }
}

/// Prints it as it can be typed.
impl fmt::Display for SessionLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v1::SessionLimit { dollars_nano_usd, requests, repeats, pause_seconds } = self.wire();
        let parts = [
            (dollars_nano_usd, format!("{} USD", NanoUsd::new(dollars_nano_usd))),
            (requests, format!("{requests} requests")),
            (repeats.into(), format!("{repeats} repeats")),
            (pause_seconds.into(), format!("pause={}", shown_seconds(pause_seconds.into()))),
        ];
        let parts: Vec<_> = parts.into_iter().filter(|(number, _)| *number != 0).map(|(_, text)| text).collect();
        f.write_str(&parts.join(","))
    }
}

// === numbers ===

/// Prints a number of seconds in the largest unit that divides it.
pub(crate) fn shown_seconds(seconds: i64) -> String {
    let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
    let fits = units.into_iter().find(|(unit, _)| seconds != 0 && seconds % unit == 0);
    let (unit, letter) = fits.unwrap_or((1, 's'));
    format!("{}{letter}", seconds / unit)
}

fn seconds(text: &str, most: i64) -> Result<i64, String> {
    let span = duration(text)?;
    let whole = span.subsec_nanos() == 0 && (1..=most).contains(&span.as_secs());
    if whole { Ok(span.as_secs()) } else { Err(format!("must be whole seconds, at most {most}")) }
}

fn count(text: &str) -> Option<i64> {
    let digits = text.replace('_', "");
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number > 0)
}

#[cfg(test)]
mod tests;
