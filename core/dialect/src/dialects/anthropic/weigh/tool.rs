//! Tools: those that the client runs are only bytes, those that the provider runs let it call the model again and again.

use super::{super::probe::Text, Scale, USES, is_digits, is_word, word};
use serde::de::MapAccess;
use serde_json::value::RawValue;

/// Who runs a tool, from the cheapest to the dearest.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Runner {
    /// The client, by a definition in the body.
    Client,
    /// The client, by a definition that the provider adds.
    ClientByName,
    /// The provider, for the price of the tokens.
    Provider,
    /// The provider, for a fee for each use.
    ProviderForFee,
}

/// Tools by the word before their date, `bash_20250124`.
/// <https://platform.claude.com/docs/en/agents-and-tools/tool-use/tool-reference>
const BY_NAME: [&str; 4] = ["bash_", "text_editor_", "computer_", "memory_"];
/// Tools of the provider that are known to have no fee for each use. The time of code execution is billed by the hour, beyond a free
/// allowance, and not with the request.
const WITHOUT_FEE: [&str; 5] = ["web_fetch_", "code_execution_", "tool_search_tool_", "mcp_toolset", "advisor_"];

/// Weighs the definition of a tool.
pub(super) fn tool<'de, A: MapAccess<'de>>(scale: &mut Scale<'de>, mut map: A) -> Result<(), A::Error> {
    let mut runner = Runner::Client;
    let mut uses: Option<u64> = None;
    let mut is_deferred = false;
    let mut bytes: u64 = 0;
    scale.prompts = true;
    while let Some(Text(name)) = map.next_key()? {
        let value: &RawValue = map.next_value()?;
        // Quotes, colon and comma with it.
        bytes = bytes.saturating_add((name.len() + value.get().len() + 4) as u64);
        match &*name {
            "type" => runner = runner.max(Runner::of(value)),
            "max_uses" => uses = uses.max(serde_json::from_str(value.get()).ok()),
            "defer_loading" => is_deferred |= !matches!(value.get(), "false" | "null"),
            "cache_control" => scale.cache_control(value),
            _ => {}
        }
        // An adviser is another model, whatever the tool is called.
        scale.is_open_to_other_models |= name == "model" && value.get() != "null"
            || name == "type" && word(value).is_some_and(|kind| kind.starts_with("advisor"));
    }
    if is_deferred {
        scale.deferred_bytes_max = scale.deferred_bytes_max.max(bytes);
    }
    match runner {
        Runner::Client => {}
        Runner::ClientByName => scale.client_tools = scale.client_tools.saturating_add(1),
        Runner::Provider => scale.loops = true,
        Runner::ProviderForFee => {
            scale.loops = true;
            scale.is_open_to_any_uses |= uses.is_none();
            scale.web_searches = scale.web_searches.saturating_add(uses.unwrap_or(USES));
        }
    }
    Ok(())
}

// === impl Runner ===

impl Runner {
    fn of(value: &RawValue) -> Self {
        if value.get() == "null" || is_word(value, &["custom"]) {
            return Self::Client;
        }
        let Some(kind) = word(value) else { return Self::ProviderForFee };
        let is_dated = |name: &&str| kind.strip_prefix(*name).is_some_and(is_digits);
        if BY_NAME.iter().any(is_dated) {
            Self::ClientByName
        } else if WITHOUT_FEE.iter().any(|name| kind.starts_with(name)) {
            Self::Provider
        } else {
            Self::ProviderForFee
        }
    }
}
