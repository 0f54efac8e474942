//! What the sides of a session can do: of several servers what they can together, and of a client what a server may make use of.

use crate::{
    failure::result_type,
    json::Json,
    list::Caching,
    members::Members,
    name::ServerName,
    params::{META, meta},
    revision::Revision,
};

mod client;

pub use client::{ClientCapabilities, Passed};

/// The longest instructions of one server that are passed on, in bytes. They are in a model's context from the beginning.
pub const INSTRUCTIONS_BYTES_MAX: usize = 4 * 1_024;

/// The longest instructions of all servers together, in bytes.
pub const INSTRUCTIONS_TOTAL_BYTES_MAX: usize = 16 * 1_024;

/// What a server can. Of the rest (`experimental`, `extensions`, `tasks`) nothing is said to clients: what we do not pass on we do not
/// declare.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ServerCapabilities {
    /// It has tools.
    pub tools: Option<Listed>,
    /// It has prompts.
    pub prompts: Option<Listed>,
    /// It has resources.
    pub resources: Option<Listed>,
    /// It tells when a single resource changes.
    pub subscribe: bool,
    /// It sends log messages.
    pub logging: bool,
    /// It proposes arguments.
    pub completions: bool,
}

/// That there is a list of something.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Listed {
    /// The server tells when the list changes.
    pub changes: bool,
}

/// Who we are, for clients and for upstreams.
#[derive(Clone, Copy, Debug)]
pub struct Implementation<'a> {
    /// For programs.
    pub name: &'a str,
    /// For people.
    pub title: &'a str,
    /// Ours, not the protocol's.
    pub version: &'a str,
}

// === impl ServerCapabilities ===

impl ServerCapabilities {
    /// What the result of an `initialize` or a `server/discover` says.
    #[must_use]
    pub fn of_result(result: &Members<'_>) -> Self {
        let capabilities = result.object("capabilities").unwrap_or_default();
        let listed = |name| {
            let capability: Members<'_> = capabilities.object(name)?;
            Some(Listed { changes: capability.is_true("listChanged") })
        };
        Self {
            tools: listed("tools"),
            prompts: listed("prompts"),
            resources: listed("resources"),
            subscribe: capabilities.object("resources").is_some_and(|resources| resources.is_true("subscribe")),
            logging: capabilities.object("logging").is_some(),
            completions: capabilities.object("completions").is_some(),
        }
    }

    /// What either can.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let listed = |one: Option<Listed>, other: Option<Listed>| match (one, other) {
            (Some(one), Some(other)) => Some(Listed { changes: one.changes || other.changes }),
            (one, other) => one.or(other),
        };
        Self {
            tools: listed(self.tools, other.tools),
            prompts: listed(self.prompts, other.prompts),
            resources: listed(self.resources, other.resources),
            subscribe: self.subscribe || other.subscribe,
            logging: self.logging || other.logging,
            completions: self.completions || other.completions,
        }
    }

    /// As results have it.
    #[must_use]
    pub fn json(self) -> Json<'static> {
        let flag = |name, holds: bool| holds.then(|| (name, Json::from(true)));
        let list = |listed: Listed, subscribe| {
            Json::object(flag("subscribe", subscribe).into_iter().chain(flag("listChanged", listed.changes)))
        };
        let empty = |name, holds: bool| holds.then(|| (name, Json::empty_object()));
        let members = [
            self.tools.map(|listed| ("tools", list(listed, false))),
            self.prompts.map(|listed| ("prompts", list(listed, false))),
            self.resources.map(|listed| ("resources", list(listed, self.subscribe))),
            empty("logging", self.logging),
            empty("completions", self.completions),
        ];
        Json::object(members.into_iter().flatten())
    }
}

impl Implementation<'_> {
    /// As `clientInfo` and `serverInfo` have it. Before 2025-06-18 there was no `title`; whoever does not know it passes it over.
    #[must_use]
    pub fn json(&self) -> Json<'static> {
        let members = [("name", self.name), ("title", self.title), ("version", self.version)];
        Json::object(members.map(|(name, text)| (name, Json::text(text))))
    }
}

/// The result of an `initialize`.
#[must_use]
pub fn initialized(
    revision: Revision,
    info: &Implementation<'_>,
    capabilities: ServerCapabilities,
    instructions: Option<&str>,
) -> Json<'static> {
    let members = [
        ("protocolVersion", Json::text(revision.word())),
        ("capabilities", capabilities.json()),
        ("serverInfo", info.json()),
    ];
    let instructions = instructions.map(|text| ("instructions", Json::text(text)));
    Json::object(members.into_iter().chain(instructions))
}

/// The result of a `server/discover`.
#[must_use]
pub fn discovered(
    info: &Implementation<'_>,
    capabilities: ServerCapabilities,
    instructions: Option<&str>,
    caching: Caching,
) -> Json<'static> {
    let supported = Json::of(&Revision::SERVED.map(Revision::word));
    let members = [("supportedVersions", supported), ("capabilities", capabilities.json())];
    let instructions = instructions.map(|text| ("instructions", Json::text(text)));
    let meta = (META, Json::object([(meta::SERVER_INFO, info.json())]));
    let revision = Revision::LATEST;
    let members = result_type(revision).into_iter().chain(members).chain(instructions);
    Json::object(members.chain(caching.members(revision)).chain([meta]))
}

/// The instructions of several servers, each under its name. What is too long is cut, and says so; none where no server has any.
#[must_use]
pub fn instructions<'a>(servers: impl IntoIterator<Item = (&'a ServerName, &'a str)>) -> Option<String> {
    let mut all = String::new();
    for (server, text) in servers {
        let text = text.trim();
        if text.is_empty() {
            continue;
        }
        let title = format!("{}# {server}\n\n", if all.is_empty() { "" } else { "\n\n" });
        let room = INSTRUCTIONS_TOTAL_BYTES_MAX.saturating_sub(all.len() + title.len() + CUT.len());
        let part = cut(text, room.min(INSTRUCTIONS_BYTES_MAX));
        if part.is_empty() {
            break;
        }
        all.push_str(&title);
        all.push_str(part);
        all.push_str(if part.len() < text.len() { CUT } else { "" });
    }
    (!all.is_empty()).then_some(all)
}

/// Behind what was cut.
const CUT: &str = "\n[cut]";

fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn of(capabilities: &str) -> ServerCapabilities {
        let raw = RawValue::from_string(format!(r#"{{"capabilities":{capabilities}}}"#)).unwrap();
        ServerCapabilities::of_result(&Members::read(&raw).unwrap())
    }

    const US: Implementation<'_> = Implementation { name: "tollgate", title: "Tollgate", version: "0.1.0" };

    #[test]
    fn servers_can_together_what_each_can() {
        for (one, other, expected) in [
            ("{}", "{}", "{}"),
            (r#"{"tools":{}}"#, r#"{"tools":{"listChanged":true}}"#, r#"{"tools":{"listChanged":true}}"#),
            (r#"{"tools":{"listChanged":false}}"#, "{}", r#"{"tools":{}}"#),
            (
                r#"{"resources":{"subscribe":true}}"#,
                r#"{"resources":{"listChanged":true},"prompts":{},"logging":{},"completions":{}}"#,
                r#"{"prompts":{},"resources":{"subscribe":true,"listChanged":true},"logging":{},"completions":{}}"#,
            ),
            (r#"{"tasks":{},"experimental":{"x":{}},"extensions":{"a/b":{}}}"#, r#"{"tools":[]}"#, "{}"),
        ] {
            assert_eq!(of(one).or(of(other)).json().as_str(), expected, "{one} {other}");
            assert_eq!(of(other).or(of(one)), of(one).or(of(other)));
        }
        assert_eq!(ServerCapabilities::of_result(&Members::default()), ServerCapabilities::default());
    }

    #[test]
    fn results_are_written_as_their_revision_has_them() {
        assert_eq!(
            initialized(Revision::V2025_11_25, &US, of(r#"{"tools":{}}"#), Some("Be kind.")).as_str(),
            r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"tollgate","title":"Tollgate","version":"0.1.0"},"instructions":"Be kind."}"#
        );
        assert_eq!(
            discovered(&US, of(r#"{"tools":{}}"#), None, Caching::NONE).as_str(),
            r#"{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25","2025-06-18"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"tollgate","title":"Tollgate","version":"0.1.0"}}}"#
        );
    }

    #[test]
    fn instructions_stand_under_their_server_within_a_bound() {
        let (a, b) = (ServerName::parse("a").unwrap(), ServerName::parse("b").unwrap());
        let all = instructions([(&a, "One.\n"), (&b, "  "), (&b, "Two.")]);
        assert_eq!(all.as_deref(), Some("# a\n\nOne.\n\n# b\n\nTwo."));
        assert_eq!(instructions([(&a, "")]), None);
        let long = "é".repeat(10_000);
        let one = instructions([(&a, long.as_str())]).unwrap();
        assert!(one.ends_with(CUT) && one.len() <= INSTRUCTIONS_BYTES_MAX + 20, "{}", one.len());
        let all = instructions((0..9).map(|_| (&a, long.as_str()))).unwrap();
        assert!(all.len() <= INSTRUCTIONS_TOTAL_BYTES_MAX, "{}", all.len());
    }
}
