//! What a value may be.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// A type that a configured text parses into.
pub trait Setting: Sized {
    /// Parses the text.
    ///
    /// # Errors
    /// Returns the rule that the text breaks, as the end of a sentence: "must be ..". It never repeats the text, which may
    /// be a secret in the wrong place.
    fn parse(text: &str) -> Result<Self, &'static str>;
}

macro_rules! settings {
    ($($type:ty: $rule:literal;)*) => {$(
        impl Setting for $type {
            fn parse(text: &str) -> Result<Self, &'static str> {
                <$type>::from_str(text).map_err(|_| $rule)
            }
        }
    )*};
}

settings! {
    bool: "must be true or false";
    u16: "must be a whole number from 0 to 65535";
    u32: "must be a whole number from 0 to 4294967295";
    u64: "must be a whole number, 0 or more";
    usize: "must be a whole number, 0 or more";
    SocketAddr: "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080";
}

impl Setting for String {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
    }
}

impl Setting for PathBuf {
    fn parse(text: &str) -> Result<Self, &'static str> {
        String::parse(text).map(Self::from)
    }
}

impl Setting for f64 {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let number = Self::from_str(text).ok().filter(|number| number.is_finite());
        number.ok_or("must be a decimal number, such as 0.25")
    }
}

impl Setting for Duration {
    fn parse(text: &str) -> Result<Self, &'static str> {
        const RULE: &str = "must be a whole number and one of the units ms, s, m, h and d, such as 30s or 250ms";
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(RULE)?;
        let number: u64 = number.parse().map_err(|_| RULE)?;
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(RULE),
        };
        number.checked_mul(unit_ms).map(Self::from_millis).ok_or(RULE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, ms) in
            [("250ms", 250), ("10s", 10_000), ("5m", 300_000), ("24h", 86_400_000), ("30d", 2_592_000_000), ("0s", 0)]
        {
            assert_eq!(Duration::parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in
            ["", "s", "10", "1.5s", "-1s", "10 s", "10S", "1h30m", "99999999999999999999s", "99999999999999999d", "1µs"]
        {
            assert!(Duration::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_values_keep_their_bounds() {
        assert_eq!(u16::parse("65535"), Ok(65_535));
        assert_eq!(u16::parse("65536"), Err("must be a whole number from 0 to 65535"));
        assert_eq!(bool::parse("true"), Ok(true));
        assert!(bool::parse("yes").is_err());
        assert_eq!(f64::parse("0.25"), Ok(0.25));
        assert!(f64::parse("NaN").is_err());
        assert!(f64::parse("inf").is_err());
        assert_eq!(SocketAddr::parse("[::1]:0").map(|address| address.port()), Ok(0));
        assert!(SocketAddr::parse("localhost:80").is_err());
        assert!(String::parse("").is_err());
        assert!(PathBuf::parse("").is_err());
    }
}
