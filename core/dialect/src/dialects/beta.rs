//! The beta features of Messages that the clouds know.
//!
//! Anthropic itself passes over a feature that it does not know; Bedrock refuses the whole request ("invalid beta flag"), and so does
//! Vertex ("unexpected value"). Claude Code, pointed at a gateway, names those of Anthropic. What stands here is what it names itself
//! where it speaks to that cloud, and what the clouds document
//! (<https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html>).

const EITHER: [&str; 13] = [
    "claude-code-20250219",
    "compact-2026-01-12",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-management-2025-06-27",
    "dangerous-tool-use-2026-09-03",
    "effort-2025-11-24",
    "interleaved-thinking-2025-05-14",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "thinking-token-count-2026-05-13",
    TOOL_SEARCH,
];
const BEDROCK: [&str; 8] = [
    "computer-use-2024-10-22",
    "dev-full-thinking-2025-05-14",
    "fine-grained-tool-streaming-2025-05-14",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-tool-changes-2026-07-01",
    "output-128k-2025-02-19",
    "token-efficient-tools-2025-02-19",
    "tool-examples-2025-10-29",
];
const VERTEX: [&str; 3] = ["compact-2026-09-04", "per-turn-control-2026-07-01", "web-search-2025-03-05"];

/// What the clouds have of [`ADVANCED_TOOL_USE`].
const TOOL_SEARCH: &str = "tool-search-tool-2025-10-19";
const ADVANCED_TOOL_USE: &str = "advanced-tool-use-2025-11-20";

/// A feature as Bedrock knows it; `None`: it does not.
#[must_use]
pub fn on_bedrock(name: &str) -> Option<&str> {
    known(name, &BEDROCK)
}

/// A feature as Vertex knows it; `None`: it does not.
#[must_use]
pub fn on_vertex(name: &str) -> Option<&str> {
    known(name, &VERTEX)
}

fn known<'n>(name: &'n str, own: &[&str]) -> Option<&'n str> {
    match name {
        ADVANCED_TOOL_USE => Some(TOOL_SEARCH),
        _ => (EITHER.contains(&name) || own.contains(&name)).then_some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cloud_is_told_only_of_features_that_it_knows() {
        for (name, bedrock, vertex) in [
            ("interleaved-thinking-2025-05-14", true, true),
            ("per-turn-control-2026-07-01", false, true),
            ("output-128k-2025-02-19", true, false),
            ("oauth-2025-04-20", false, false),
            ("something-2031-01-01", false, false),
        ] {
            let expect = |known: bool| known.then_some(name);
            assert_eq!((on_bedrock(name), on_vertex(name)), (expect(bedrock), expect(vertex)), "{name}");
        }
        assert_eq!(on_bedrock(ADVANCED_TOOL_USE), Some(TOOL_SEARCH));
        assert_eq!(on_vertex(ADVANCED_TOOL_USE), Some(TOOL_SEARCH));
    }
}
