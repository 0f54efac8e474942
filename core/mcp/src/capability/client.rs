//! What a client can, and what of that an upstream is told.

use crate::{json::Json, members::Members, revision::Revision};

/// What a client can, as far as servers make use of it: of the rest (`experimental`, `extensions`, `tasks`) upstreams are told nothing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ClientCapabilities {
    /// It lets servers ask its model.
    pub sampling: bool,
    /// The model may be given tools then (since 2025-11-25).
    pub sampling_tools: bool,
    /// The model may be given what servers have told (since 2025-11-25; deprecated).
    pub sampling_context: bool,
    /// It asks the user with a form.
    pub form: bool,
    /// It has the user visit a URL (since 2025-11-25).
    pub url: bool,
    /// It tells its roots.
    pub roots: bool,
    /// It tells when they change (until 2025-11-25).
    pub roots_changes: bool,
}

/// What of that policy lets pass.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Passed {
    /// Servers may ask the client's model.
    pub sampling: bool,
    /// Servers may ask the user.
    pub elicitation: bool,
    /// Servers may know the client's roots.
    pub roots: bool,
}

// === impl ClientCapabilities ===

impl ClientCapabilities {
    /// What `capabilities` of an `initialize`, or `io.modelcontextprotocol/clientCapabilities` of a request says. An `elicitation` without
    /// a word about how is one by form (2025-11-25, Elicitation, "Capabilities").
    #[must_use]
    pub fn read(capabilities: &Members<'_>) -> Self {
        let object = |name| capabilities.object(name);
        let has = |members: &Option<Members<'_>>, name| {
            members.as_ref().is_some_and(|members| members.object(name).is_some())
        };
        let (sampling, elicitation, roots) = (object("sampling"), object("elicitation"), object("roots"));
        let url = has(&elicitation, "url");
        Self {
            sampling: sampling.is_some(),
            sampling_tools: has(&sampling, "tools"),
            sampling_context: has(&sampling, "context"),
            form: elicitation.is_some() && (has(&elicitation, "form") || !url),
            url,
            roots: roots.is_some(),
            roots_changes: roots.is_some_and(|roots| roots.is_true("listChanged")),
        }
    }

    /// What is left where policy lets so much pass.
    #[must_use]
    pub fn within(self, passed: Passed) -> Self {
        Self {
            sampling: self.sampling && passed.sampling,
            sampling_tools: self.sampling_tools && passed.sampling,
            sampling_context: self.sampling_context && passed.sampling,
            form: self.form && passed.elicitation,
            url: self.url && passed.elicitation,
            roots: self.roots && passed.roots,
            roots_changes: self.roots_changes && passed.roots,
        }
    }

    /// As an upstream is told in its revision.
    #[must_use]
    pub fn json(self, revision: Revision) -> Json<'static> {
        let is_recent = revision >= Revision::V2025_11_25;
        let empty = |name, holds: bool| holds.then(|| (name, Json::empty_object()));
        let sampling =
            [empty("context", self.sampling_context && is_recent), empty("tools", self.sampling_tools && is_recent)];
        let elicitation = [empty("form", self.form && is_recent), empty("url", self.url && is_recent)];
        let asks = revision >= Revision::V2025_06_18 && (self.form || (self.url && is_recent));
        let changes = (self.roots_changes && !revision.is_stateless()).then(|| ("listChanged", Json::from(true)));
        let members = [
            self.sampling.then(|| ("sampling", Json::object(sampling.into_iter().flatten()))),
            asks.then(|| ("elicitation", Json::object(elicitation.into_iter().flatten()))),
            self.roots.then(|| ("roots", Json::object(changes))),
        ];
        Json::object(members.into_iter().flatten())
    }

    /// Whether the client can answer a request of a server; of other requests than the three nobody knows.
    #[must_use]
    pub fn answers(self, method: &crate::Method<'_>) -> bool {
        match method {
            crate::Method::CreateMessage => self.sampling,
            crate::Method::Elicit => self.form || self.url,
            crate::Method::ListRoots => self.roots,
            crate::Method::Ping => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    const ALL: Passed = Passed { sampling: true, elicitation: true, roots: true };

    fn read(capabilities: &str) -> ClientCapabilities {
        let raw = RawValue::from_string(capabilities.to_owned()).unwrap();
        ClientCapabilities::read(&Members::read(&raw).unwrap())
    }

    #[test]
    fn an_upstream_is_told_what_its_revision_has_and_policy_lets_pass() {
        let claude = r#"{"roots":{"listChanged":true},"elicitation":{"form":{},"url":{}},"sampling":{"tools":{}}}"#;
        for (client, passed, revision, expected) in [
            ("{}", ALL, Revision::V2025_11_25, "{}"),
            (claude, Passed::default(), Revision::V2025_11_25, "{}"),
            (
                claude,
                ALL,
                Revision::V2025_11_25,
                r#"{"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}},"roots":{"listChanged":true}}"#,
            ),
            (claude, ALL, Revision::V2025_06_18, r#"{"sampling":{},"elicitation":{},"roots":{"listChanged":true}}"#),
            (claude, ALL, Revision::V2025_03_26, r#"{"sampling":{},"roots":{"listChanged":true}}"#),
            (claude, Passed { roots: true, ..Passed::default() }, Revision::V2026_07_28, r#"{"roots":{}}"#),
            (r#"{"elicitation":{}}"#, ALL, Revision::V2026_07_28, r#"{"elicitation":{"form":{}}}"#),
            (r#"{"elicitation":{"url":{}}}"#, ALL, Revision::V2025_06_18, "{}"),
            (r#"{"elicitation":{"url":{}}}"#, ALL, Revision::V2025_11_25, r#"{"elicitation":{"url":{}}}"#),
            (r#"{"extensions":{"a/b":{}},"tasks":{},"roots":true}"#, ALL, Revision::V2026_07_28, "{}"),
        ] {
            let told = read(client).within(passed).json(revision);
            assert_eq!(told.as_str(), expected, "{client} {revision}");
        }
    }

    #[test]
    fn a_client_is_asked_only_what_it_can_answer() {
        let client = read(r#"{"elicitation":{}}"#);
        for (method, expected) in [
            ("elicitation/create", true),
            ("sampling/createMessage", false),
            ("roots/list", false),
            ("ping", true),
            ("x", false),
        ] {
            assert_eq!(client.answers(&crate::Method::of_name(method)), expected, "{method}");
        }
    }
}
