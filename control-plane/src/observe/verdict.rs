//! What it means that a server has a definition of a tool. Pure.

use super::{Known, Pinning};

/// What follows of a definition that was seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Nothing: it is approved already, or waits for an administrator.
    Leave,
    /// It needs no approval now, and is the first use if it needs one later.
    Open,
    /// It is approved by first use.
    Approve,
    /// Another one was approved.
    Quarantine,
}

/// Decides. `known` is the tool if it was ever seen at this server, `is_full` that a replica takes no more approvals of it.
pub(super) fn verdict(pinning: Pinning, known: Option<&Known>, hash: &str, is_full: bool) -> Verdict {
    let is_first = known.is_none_or(|tool| tool.is_open && !tool.is_blocked && tool.approved.is_empty());
    let is_approved = known.is_some_and(|tool| tool.approved.iter().any(|approved| approved == hash));
    let has_approved = known.is_some_and(|tool| !tool.approved.is_empty());
    match pinning {
        Pinning::Off if is_first => Verdict::Open,
        Pinning::Off => Verdict::Leave,
        _ if is_approved => Verdict::Leave,
        _ if has_approved => Verdict::Quarantine,
        Pinning::FirstUse if is_first && !is_full => Verdict::Approve,
        Pinning::FirstUse | Pinning::Approval => Verdict::Leave,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_use_approves_and_nothing_else_does() {
        let known = |approved: &[&str], is_open, is_blocked| {
            let approved = approved.iter().map(|hash| (*hash).to_owned()).collect();
            Some(Known { approved, is_open, is_blocked, ..Known::default() })
        };
        let (first, asked, off) = (Pinning::FirstUse, Pinning::Approval, Pinning::Off);
        for (pinning, tool, is_full, expect) in [
            (first, None, false, Verdict::Approve),
            (first, None, true, Verdict::Leave),
            (asked, None, false, Verdict::Leave),
            (off, None, false, Verdict::Open),
            // Seen before, and never decided.
            (first, known(&[], false, false), false, Verdict::Leave),
            (asked, known(&[], false, false), false, Verdict::Leave),
            // Seen while nothing was asked.
            (first, known(&[], true, false), false, Verdict::Approve),
            (asked, known(&[], true, false), false, Verdict::Leave),
            (off, known(&[], true, false), false, Verdict::Open),
            // Refused by an administrator.
            (first, known(&[], false, true), false, Verdict::Leave),
            (first, known(&[], true, true), false, Verdict::Leave),
            // Approved: this one, one among others, another one.
            (first, known(&["h"], false, false), false, Verdict::Leave),
            (asked, known(&["a", "h", "b"], false, false), false, Verdict::Leave),
            (first, known(&["a"], false, false), false, Verdict::Quarantine),
            (asked, known(&["a"], true, false), false, Verdict::Quarantine),
            (off, known(&["a"], false, false), false, Verdict::Leave),
        ] {
            assert_eq!(verdict(pinning, tool.as_ref(), "h", is_full), expect, "{pinning:?} {tool:?} {is_full}");
        }
    }
}
