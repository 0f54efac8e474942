//! What people type: spans of time, instants, tags, dollars, credentials, budgets and limits ([`quota`]). Each is parsed once, into its type.

pub(crate) mod audit;
pub(crate) mod quota;
pub(crate) mod route;
pub(crate) mod guardrail;
pub(crate) mod mcp;
pub(crate) mod openapi;

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp, civil::Date, tz::TimeZone};
use tollgate_policy::{
    money::NanoUsd,
    name::{InvalidName, Name},
    pattern::Pattern,
    preset::Preset,
};
use zeroize::Zeroizing;

/// The longest name and value of a tag, in characters.
const TAG_NAME_MAX: usize = 63;
const TAG_VALUE_MAX: usize = 255;
/// The longest name of a group, in characters.
const GROUP_MAX: usize = 256;
/// The greatest weight of a credential.
pub(crate) const WEIGHT_MAX: i32 = 1_000;

/// A moment as people give it: a distance from now (`24h`), an instant (RFC 3339), or a day (its midnight in UTC).
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    Distance(Span),
    Instant(Timestamp),
}

/// The end of a key: a moment ahead, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiry {
    Never,
    At(Moment),
}

/// A tag of a key, `name=value`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) value: String,
}

/// A provider's credential, `name=secret[,weight=N][,disabled]`.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct CredentialArgument {
    pub(crate) name: String,
    pub(crate) secret: Zeroizing<String>,
    pub(crate) weight: i32,
    pub(crate) disabled: bool,
}

// === impl Moment ===

impl Moment {
    /// The instant that lies so far back.
    pub(crate) fn before(self, now: Timestamp) -> Result<Timestamp, String> {
        match self {
            Self::Instant(at) => Ok(at),
            Self::Distance(span) => shifted(now, -span),
        }
    }

    /// The instant that lies so far ahead.
    pub(crate) fn after(self, now: Timestamp) -> Result<Timestamp, String> {
        match self {
            Self::Instant(at) => Ok(at),
            Self::Distance(span) => shifted(now, span),
        }
    }
}

// Days and longer are calendar units, counted in UTC.
fn shifted(now: Timestamp, span: Span) -> Result<Timestamp, String> {
    let shifted = now.to_zoned(TimeZone::UTC).checked_add(span);
    shifted.map(|at| at.timestamp()).map_err(|_| "lies beyond the calendar".to_owned())
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = instant(text) {
            return Ok(Self::Instant(at));
        }
        span(text).map(Self::Distance).map_err(|_| {
            "must be a duration such as 24h, 30d or 1w, an instant such as 2026-01-31T12:00:00Z, or a day such as 2026-01-31"
                .to_owned()
        })
    }
}

impl FromStr for Expiry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" { Ok(Self::Never) } else { text.parse().map(Self::At) }
    }
}

/// Parses a span of time that is longer than nothing: `24h`, `30d`, `1w`, `1h30m`.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    let shape = || "must be a duration such as 90s, 10m, 24h, 30d or 1w".to_owned();
    let span: Span = text.parse().map_err(|_| shape())?;
    if span.is_positive() { Ok(span) } else { Err(shape()) }
}

/// Parses a span of time into one of fixed length, with days of 24 hours.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    let fixed = span(text)?.to_duration(SpanRelativeTo::days_are_24_hours());
    fixed.map_err(|_| "must not count months or years, whose length varies".to_owned())
}

/// Parses how long something is good, in whole seconds.
pub(crate) fn life(text: &str) -> Result<prost_types::Duration, String> {
    let life = duration(text)?;
    if life.subsec_nanos() != 0 {
        return Err("must be whole seconds".to_owned());
    }
    Ok(prost_types::Duration { seconds: life.as_secs(), nanos: 0 })
}

/// Parses an instant in RFC 3339, or a day as its midnight in UTC; cut to milliseconds, which is what the server keeps.
pub(crate) fn instant(text: &str) -> Result<Timestamp, String> {
    let parsed: Result<Timestamp, jiff::Error> = match text.parse::<Timestamp>() {
        Ok(at) => Ok(at),
        // A date alone; a date and a time without an offset would be read as a date too, so the length decides.
        Err(_) if text.len() == "2026-01-31".len() => {
            text.parse::<Date>().and_then(|day| day.to_zoned(TimeZone::UTC)).map(|at| at.timestamp())
        }
        Err(error) => Err(error),
    };
    let at = parsed
        .map_err(|_| "must be an instant such as 2026-01-31T12:00:00Z, or a day such as 2026-01-31".to_owned())?;
    Timestamp::from_millisecond(at.as_millisecond()).map_err(|_| "lies beyond the calendar".to_owned())
}

/// Parses the name of a new object.
pub(crate) fn name(text: &str) -> Result<String, InvalidName> {
    Name::parse(text).map(|name| name.as_str().to_owned())
}

/// Parses the id or the name of an object that exists.
pub(crate) fn reference(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 128 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be the id or the name of an object".to_owned());
    }
    Ok(text.to_owned())
}

/// Parses the name of a group, as an identity provider writes it.
pub(crate) fn group(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().count() > GROUP_MAX || text.chars().any(char::is_control) {
        return Err(format!("must be a group's name of at most {GROUP_MAX} characters"));
    }
    Ok(text.to_owned())
}

/// Parses what a role permits: `key.create`, `key.*` or `*`. Which ones there are, the control plane knows.
pub(crate) fn permission(text: &str) -> Result<String, String> {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    match text.split_once('.') {
        Some((resource, action)) if word(resource) && (action == "*" || word(action)) => Ok(text.to_owned()),
        None if text == "*" => Ok(text.to_owned()),
        _ => Err("must be a permission such as key.create, key.* or *".to_owned()),
    }
}

/// Parses a model pattern, with or without a leading `!`.
pub(crate) fn pattern(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('!').unwrap_or(text);
    Pattern::parse(bare).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// Parses a decimal number of dollars, exactly.
pub(crate) fn dollars(text: &str) -> Result<NanoUsd, String> {
    NanoUsd::parse_dollars(text).map_err(|error| error.to_string())
}

/// Parses a model of the catalogue, `vendor/model`; the model's own name may hold further slashes.
pub(crate) fn model(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((vendor, model))
            if !vendor.is_empty() && !model.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be vendor/model, such as anthropic/claude-sonnet-4-5".to_owned()),
    }
}

impl FromStr for Tag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("must be name=value")?;
        Self::checked(name, value)
    }
}

impl Tag {
    /// A tag whose parts have the permitted lengths.
    pub(crate) fn checked(name: &str, value: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        if name.is_empty() || name.len() > TAG_NAME_MAX || !name.bytes().all(allowed) {
            return Err(format!("a tag's name must be 1 to {TAG_NAME_MAX} letters, digits, '.', '_', '-' and '/'"));
        }
        if value.chars().count() > TAG_VALUE_MAX {
            return Err(format!("a tag's value must have at most {TAG_VALUE_MAX} characters"));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

impl FromStr for CredentialArgument {
    type Err = String;

    // Options stand behind the secret and are taken off from the right, so that a literal secret may hold commas.
    fn from_str(text: &str) -> Result<Self, String> {
        let (given, mut secret) =
            text.split_once('=').ok_or("must be name=secret, such as primary=env://ANTHROPIC_API_KEY")?;
        let name = name(given).map_err(|error| format!("the credential's name {error}"))?;
        let (mut weight, mut disabled) = (1, false);
        while let Some((rest, option)) = secret.rsplit_once(',') {
            if option == "disabled" {
                disabled = true;
            } else if let Some(number) = option.strip_prefix("weight=") {
                weight = credential_weight(number)?;
            } else {
                break;
            }
            secret = rest;
        }
        if secret.is_empty() {
            return Err("must have a secret behind the '=', best a reference: env://NAME or file:///path".to_owned());
        }
        Ok(Self { name, secret: Zeroizing::new(secret.to_owned()), weight, disabled })
    }
}

fn credential_weight(text: &str) -> Result<i32, String> {
    let weight = text.parse().ok().filter(|weight| (1..=WEIGHT_MAX).contains(weight));
    weight.ok_or_else(|| format!("a weight must be a number from 1 to {WEIGHT_MAX}"))
}

/// Shows where the secret lies, never a literal.
impl fmt::Debug for CredentialArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = if is_reference(&self.secret) { self.secret.as_str() } else { "***" };
        write!(f, "CredentialArgument({}={secret}, weight {}, disabled {})", self.name, self.weight, self.disabled)
    }
}

/// The name and the secret of the credential that a preset's provider has where nobody says another: a reference to the usual
/// variable. One that takes no key has one nevertheless, since a provider is called with one of its credentials; `None`: it must be
/// said.
pub(crate) fn preset_credential(preset: &Preset) -> Option<(&'static str, String)> {
    match (preset.variable, preset.auth) {
        ("", "none") => Some(("none", "none".to_owned())),
        ("", _) => None,
        (variable, _) => Some(("primary", format!("env://{variable}"))),
    }
}

/// Whether a secret is a reference that each replica resolves, and so no secret itself.
pub(crate) fn is_reference(secret: &str) -> bool {
    secret.starts_with("env://") || secret.starts_with("file://")
}

/// Prints an instant of the wire in RFC 3339.
pub(crate) fn printed(time: Option<&prost_types::Timestamp>) -> Option<String> {
    from_wire(time).map(|at| at.to_string())
}

/// The instant of the wire; `None` when unset or beyond the calendar.
pub(crate) fn from_wire(time: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    time.and_then(|time| Timestamp::new(time.seconds, time.nanos).ok())
}

/// The instant for the wire.
pub(crate) fn to_wire(at: Timestamp) -> prost_types::Timestamp {
    let nanos = at.subsec_nanosecond();
    // The wire counts nanoseconds forward from the second; before the epoch jiff counts backward.
    if nanos < 0 {
        return prost_types::Timestamp { seconds: at.as_second() - 1, nanos: nanos + 1_000_000_000 };
    }
    prost_types::Timestamp { seconds: at.as_second(), nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_moment_is_a_distance_an_instant_or_a_day() {
        for (text, before) in [
            ("24h", "2026-02-28T12:00:00Z"),
            ("30d", "2026-01-30T12:00:00Z"),
            ("1w", "2026-02-22T12:00:00Z"),
            ("1h30m", "2026-03-01T10:30:00Z"),
            ("1mo", "2026-02-01T12:00:00Z"),
            ("P1D", "2026-02-28T12:00:00Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00.1239+02:00", "2026-01-31T10:00:00.123Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
        ] {
            assert_eq!(text.parse::<Moment>().unwrap().before(noon()).unwrap().to_string(), before, "{text}");
        }
        assert_eq!("30d".parse::<Moment>().unwrap().after(noon()).unwrap().to_string(), "2026-03-31T12:00:00Z");
        for bad in ["", "24", "-1h", "0h", "1 fortnight", "yesterday", "2026-01-31T12:00:00", "2026-02-30", "1h ago"] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
        assert!("99999y".parse::<Moment>().is_err() || "9999y".parse::<Moment>().unwrap().after(noon()).is_err());
    }

    #[test]
    fn a_fixed_duration_has_no_months() {
        for (text, seconds) in [("90s", 90), ("10m", 600), ("1d", 86_400), ("1w", 604_800)] {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for bad in ["1mo", "1y", "0s", "10"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_permission_names_a_resource_and_an_action() {
        for good in ["key.create", "service-account.*", "*"] {
            assert!(permission(good).is_ok(), "{good}");
        }
        for bad in ["", "key", "*.read", "key.", "Key.read", "key.read.all", "key create"] {
            assert!(permission(bad).is_err(), "{bad}");
        }
        assert!(group("Security Team").is_ok() && group("").is_err() && group("a\nb").is_err());
        assert_eq!(life("8h").unwrap().seconds, 28_800);
        assert!(life("1500ms").is_err());
    }

    #[test]
    fn a_tag_has_a_name_and_a_value() {
        for (text, name, value) in [("a=b", "a", "b"), ("a=", "a", ""), ("a=b=c", "a", "b=c")] {
            assert_eq!(text.parse(), Ok(Tag { name: name.to_owned(), value: value.to_owned() }));
        }
        for bad in ["", "a", "=b", "a b=c", &format!("{}=b", "n".repeat(64)), &format!("a={}", "v".repeat(256))] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_credential_keeps_the_commas_of_its_secret() {
        for (text, secret, weight, disabled) in [
            ("primary=env://X", "env://X", 1, false),
            ("primary=env://X,weight=2", "env://X", 2, false),
            ("primary=s,3,weight=2,disabled", "s,3", 2, true),
            ("primary=a=b", "a=b", 1, false),
        ] {
            let parsed: CredentialArgument = text.parse().unwrap();
            assert_eq!((parsed.secret.as_str(), parsed.weight, parsed.disabled), (secret, weight, disabled), "{text}");
        }
        for bad in
            ["primary", "=x", "primary=", "UP=x", "p=x,weight=0", "p=x,weight=1001", "p=x,weight=two", "p=,weight=1"]
        {
            assert!(bad.parse::<CredentialArgument>().is_err(), "{bad}");
        }
        let literal: CredentialArgument = "primary=sk-secret".parse().unwrap();
        assert!(!format!("{literal:?}").contains("sk-secret"));
    }

    #[test]
    fn dollars_and_models_are_exact() {
        assert_eq!(dollars("0.3").unwrap().get(), 300_000_000);
        assert!(dollars("0.1234567891").is_err() && dollars("-1").is_err() && dollars("3e0").is_err());
        assert!(model("anthropic/claude-x").is_ok() && model("openrouter/meta/llama").is_ok());
        assert!(model("claude-x").is_err() && model("/x").is_err() && model("x/").is_err() && model("a/b c").is_err());
    }

    #[test]
    fn an_instant_survives_the_wire() {
        for text in ["2026-03-01T12:00:00Z", "1969-12-31T23:59:59.25Z", "1970-01-01T00:00:00Z"] {
            let at: Timestamp = text.parse().unwrap();
            assert_eq!(from_wire(Some(&to_wire(at))), Some(at), "{text}");
        }
    }
}
