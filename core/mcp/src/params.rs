//! The parameters of a request, and what stands in their `_meta`.

use std::{borrow::Cow, ops::Deref};

use serde_json::value::RawValue;

use crate::{
    json::{Json, unquoted},
    members::{Edit, Members},
};

/// The parameters of a request or a notification.
#[derive(Clone, Debug, Default)]
pub struct Params<'a> {
    members: Members<'a>,
    is_given: bool,
}

/// Names within `_meta` (2026-07-28, Base protocol, "General fields"; the last is Claude Code's own).
pub mod meta {
    /// To which progress is reported: a text or an integer.
    pub const PROGRESS_TOKEN: &str = "progressToken";
    /// The revision that a request of 2026-07-28 is written in.
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// Name and version of the client.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// What the client can do.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// From which level on the request wants log messages.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// To which `subscriptions/listen` a notification belongs.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    /// Name and version of the server, in results.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// To which task of 2025-11-25 a message belongs.
    pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
    /// The context of a trace, as W3C has it.
    pub const TRACEPARENT: &str = "traceparent";
    /// The id that the model gave the call of a tool: the same as in the model's answer.
    pub const TOOL_USE_ID: &str = "claudecode/toolUseId";

    /// Those that decide how a request is treated.
    pub(crate) const DECISIVE: [&str; 4] = [PROGRESS_TOKEN, PROTOCOL_VERSION, CLIENT_CAPABILITIES, SUBSCRIPTION_ID];
}

/// The name of the member with what the protocol itself says of a message.
pub const META: &str = "_meta";

/// The longest text that is taken out of `_meta` for a record, in bytes.
pub const META_TEXT_BYTES_MAX: usize = 256;

// === impl Params ===

impl<'a> Params<'a> {
    /// As they stand, if there are any.
    #[must_use]
    pub fn given(&self) -> Option<Json<'a>> {
        self.is_given.then(|| self.members.json())
    }

    /// What stands in their `_meta`; nothing where there is none.
    #[must_use]
    pub fn meta(&self) -> Members<'a> {
        self.members.object(META).unwrap_or_default()
    }

    /// A member of `_meta`.
    #[must_use]
    pub fn meta_value(&self, name: &str) -> Option<&'a RawValue> {
        self.members.object(META)?.get(name)
    }

    /// A text within `_meta` for a record: none that is empty, longer than 256 bytes, or has other than visible ASCII characters.
    #[must_use]
    pub fn meta_text(&self, name: &str) -> Option<Cow<'a, str>> {
        let text = unquoted(self.meta_value(name)?.get())?;
        let fits = (1..=META_TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then_some(text)
    }

    /// The parameters with these changes in their `_meta`; every other byte stays.
    #[must_use]
    pub fn with_meta(&self, edits: &[Edit<'_>]) -> Json<'static> {
        self.members.with(META, &self.meta().edited(edits))
    }
}

impl<'a> Deref for Params<'a> {
    type Target = Members<'a>;

    fn deref(&self) -> &Self::Target {
        &self.members
    }
}

impl<'a> From<Option<Members<'a>>> for Params<'a> {
    fn from(members: Option<Members<'a>>) -> Self {
        Self { is_given: members.is_some(), members: members.unwrap_or_default() }
    }
}
