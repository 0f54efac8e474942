//! The context that crosses the wire: the `traceparent` header of W3C Trace Context.

use std::{fmt, str::FromStr};

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

/// The name of the header.
pub const HEADER: &str = "traceparent";

// Version 00 is `00-<32 hex>-<16 hex>-<2 hex>`.
const LENGTH: usize = 55;

/// A parent in a trace: <https://www.w3.org/TR/trace-context/#traceparent-header>.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Traceparent {
    trace: TraceId,
    span: SpanId,
    sampled: bool,
}

/// A text that is no traceparent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a traceparent of the W3C form")]
pub struct InvalidTraceparent;

impl Traceparent {
    /// Whether the caller records this trace.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }

    /// The trace's id, in lower-case hexadecimal.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace.to_string()
    }

    pub(crate) fn of(context: &SpanContext) -> Option<Self> {
        let (trace, span, sampled) = (context.trace_id(), context.span_id(), context.is_sampled());
        context.is_valid().then_some(Self { trace, span, sampled })
    }

    pub(crate) fn remote(self) -> SpanContext {
        let flags = if self.sampled { TraceFlags::SAMPLED } else { TraceFlags::NOT_SAMPLED };
        SpanContext::new(self.trace, self.span, flags, true, TraceState::default())
    }
}

impl FromStr for Traceparent {
    type Err = InvalidTraceparent;

    /// Parses the header. A version above 00 may say more behind what version 00 says; version ff does not exist.
    fn from_str(text: &str) -> Result<Self, InvalidTraceparent> {
        let (known, rest) = text.split_at_checked(LENGTH).ok_or(InvalidTraceparent)?;
        let mut parts = known.split('-');
        let mut part = |length: usize| parts.next().filter(|part| part.len() == length && is_lower_hex(part));
        let (version, trace, span, flags) = (part(2), part(32), part(16), part(2));
        let (Some(version), Some(trace), Some(span), Some(flags)) = (version, trace, span, flags) else {
            return Err(InvalidTraceparent);
        };
        let more_is_allowed = version != "00" && rest.starts_with('-');
        if version == "ff" || !(rest.is_empty() || more_is_allowed) {
            return Err(InvalidTraceparent);
        }
        let trace = TraceId::from_hex(trace).map_err(|_| InvalidTraceparent)?;
        let span = SpanId::from_hex(span).map_err(|_| InvalidTraceparent)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_| InvalidTraceparent)?;
        if trace == TraceId::INVALID || span == SpanId::INVALID {
            return Err(InvalidTraceparent);
        }
        Ok(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_traceparent_survives_parsing_and_printing() {
        for flags in ["00", "01"] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let parsed: Traceparent = text.parse().unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.is_sampled(), flags == "01");
            assert_eq!(Traceparent::of(&parsed.remote()), Some(parsed));
        }
        let later: Traceparent = format!("cc-{TRACE}-{SPAN}-09-what-comes").parse().unwrap();
        assert_eq!(later.to_string(), format!("00-{TRACE}-{SPAN}-01"));
    }

    #[test]
    fn only_the_w3c_form_is_a_traceparent() {
        for bad in [
            String::new(),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01 "),
            format!(" 00-{TRACE}-{SPAN}-01"),
            format!("cc-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0g-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("00-{SPAN}-{TRACE}-01"),
            "ä".repeat(55),
        ] {
            assert_eq!(bad.parse::<Traceparent>(), Err(InvalidTraceparent), "{bad}");
        }
    }
}
