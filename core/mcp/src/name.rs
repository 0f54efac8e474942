//! Names of several servers in one list: `github__create_issue`, `github+file:///x`, and `github.create_issue` in policy.

use std::{borrow::Cow, fmt, sync::Arc};

use crate::character::visible;

/// The name of an upstream server: a small letter, then up to 31 of `a-z`, `0-9` and `-`. It has no underscore, so that the first `__` of
/// an aggregated name is where it was joined; and it can begin the scheme of a URI (RFC 3986, section 3.1).
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerName(Arc<str>);

/// The name of a tool: 1 to 128 of `A-Z a-z 0-9 _ - . /` (2025-11-25, Tools, "Tool Names", which has no `/`; SEP-986, from which it comes,
/// has it, and servers use it).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ToolName<'a>(&'a str);

/// A text is no name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidName {
    /// Of a server.
    #[error("the name of a server is a small letter, then up to 31 small letters, digits and hyphens")]
    Server,
    /// Of a tool.
    #[error("the name of a tool is 1 to 128 characters of A-Z, a-z, 0-9, '_', '-', '.' and '/'")]
    Tool,
    /// Of a prompt.
    #[error("the name of a prompt is 1 to 256 bytes long, without hidden characters and without spaces at its ends")]
    Prompt,
    /// Of a resource.
    #[error(
        "the URI of a resource is 1 to 8192 bytes long, begins with a scheme, and has no spaces or hidden characters"
    )]
    Uri,
    /// Joined with the name of its server, it is longer than a name may be.
    #[error(
        "with the name of its server before it, the name is longer than {0} bytes, and is not offered beside those of other servers"
    )]
    Long(usize),
}

/// The longest name of a tool, in bytes, with the name of its server before it: what models' APIs accept.
pub const TOOL_BYTES_MAX: usize = 128;

/// The longest name of a prompt with the name of its server before it, in bytes.
pub const PROMPT_BYTES_MAX: usize = 256;

/// Between the name of a server and that of its tool or prompt.
pub const JOINT: &str = "__";

/// Between the name of a server and the URI of its resource.
pub const URI_JOINT: char = '+';

/// How the names of tools begin that Claude Code and Codex show to their models.
const AGENT: &str = "mcp__";

// === impl ServerName ===

impl ServerName {
    /// Reads a name.
    ///
    /// # Errors
    /// Refuses every other text.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if is_server(text) { Ok(Self(Arc::from(text))) } else { Err(InvalidName::Server) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of its tool beside those of other servers.
    ///
    /// # Errors
    /// When it is longer than 128 bytes: such a tool is not offered there.
    pub fn tool(&self, tool: ToolName<'_>) -> Result<String, InvalidName> {
        self.joined(tool.0, TOOL_BYTES_MAX)
    }

    /// The name of its prompt beside those of other servers.
    ///
    /// # Errors
    /// When it is no name, or longer than 256 bytes.
    pub fn prompt(&self, prompt: &str) -> Result<String, InvalidName> {
        if visible(prompt) { self.joined(prompt, PROMPT_BYTES_MAX) } else { Err(InvalidName::Prompt) }
    }

    /// The URI of its resource, or its template, beside those of other servers.
    ///
    /// # Errors
    /// When it is no URI with a scheme, or too long.
    pub fn uri(&self, uri: &str) -> Result<String, InvalidName> {
        let joined = format!("{}{URI_JOINT}{uri}", self.0);
        if has_scheme(uri) && crate::character::visible_uri(&joined) { Ok(joined) } else { Err(InvalidName::Uri) }
    }

    /// In which form policy names what it has: `github.create_issue`.
    #[must_use]
    pub fn dotted(&self, name: &str) -> String {
        format!("{}.{name}", self.0)
    }

    fn joined(&self, name: &str, bytes_max: usize) -> Result<String, InvalidName> {
        let joined = format!("{}{JOINT}{name}", self.0);
        if joined.len() <= bytes_max { Ok(joined) } else { Err(InvalidName::Long(bytes_max)) }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl ToolName ===

impl<'a> ToolName<'a> {
    /// Reads a name.
    ///
    /// # Errors
    /// Refuses every other text.
    pub fn parse(text: &'a str) -> Result<Self, InvalidName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
        let fits = (1..=TOOL_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        if fits { Ok(Self(text)) } else { Err(InvalidName::Tool) }
    }

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// As Claude Code shows it to a model, whose API takes no other characters than `A-Z a-z 0-9 _ -`.
    #[must_use]
    pub fn to_agent(self) -> Cow<'a, str> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.0.chars().all(is_plain) {
            return Cow::Borrowed(self.0);
        }
        Cow::Owned(self.0.chars().map(|c| if is_plain(c) { c } else { '_' }).collect())
    }
}

/// The server and the name that an aggregated tool or prompt was joined of.
#[must_use]
pub fn split(joined: &str) -> Option<(&str, &str)> {
    joined.split_once(JOINT).filter(|(server, name)| is_server(server) && !name.is_empty())
}

/// The server and the URI that an aggregated URI or template was joined of.
#[must_use]
pub fn split_uri(joined: &str) -> Option<(&str, &str)> {
    joined.split_once(URI_JOINT).filter(|(server, uri)| is_server(server) && has_scheme(uri))
}

/// Which tool of which server a coding agent means by the name that it shows its model.
///
/// For a gateway that a developer has configured under any name it is `mcp__<that name>__github__create_issue`. That name may have a `__`
/// itself; the first server that is known decides. A developer who has configured `/mcp/github` alone, under the name `github`, has
/// `mcp__github__create_issue`: a reading of last resort, since others may name a server of their own so. The name of the tool has its
/// characters replaced as [`ToolName::to_agent`] does.
pub fn from_agent(name: &str, is_known: impl Fn(&str) -> bool) -> Option<(&str, &str)> {
    let shown = name.strip_prefix(AGENT)?;
    let mut rest = shown;
    while let Some((_, behind)) = rest.split_once(JOINT) {
        if let Some((server, tool)) = split(behind).filter(|(server, _)| is_known(server)) {
            return Some((server, tool));
        }
        rest = behind;
    }
    split(shown).filter(|(server, _)| is_known(server))
}

fn is_server(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = text.bytes().next().is_some_and(|first| first.is_ascii_lowercase());
    begins && text.len() <= 32 && text.bytes().all(allowed)
}

/// Whether a text begins as a URI does (RFC 3986, section 3.1).
fn has_scheme(uri: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    uri.split_once(':').is_some_and(|(scheme, _)| {
        scheme.bytes().next().is_some_and(|first| first.is_ascii_alphabetic()) && scheme.bytes().all(allowed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(name: &str) -> ServerName {
        ServerName::parse(name).unwrap()
    }

    #[test]
    fn a_server_has_a_name_that_can_be_split_off() {
        for good in ["a", "github", "jira-2", &"a".repeat(32)] {
            assert!(ServerName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "2a", "-a", "A", "a_b", "a.b", "ä", "a b", &"a".repeat(33)] {
            assert_eq!(ServerName::parse(bad), Err(InvalidName::Server), "{bad}");
        }
    }

    #[test]
    fn a_tool_has_a_name_of_the_specification() {
        for good in ["getUser", "DATA_EXPORT_v2", "admin.tools.list", "a/b", "_", &"t".repeat(128)] {
            assert!(ToolName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a,b", "créer", "a\u{200b}", "а", "a\n", &"t".repeat(129)] {
            assert_eq!(ToolName::parse(bad), Err(InvalidName::Tool), "{bad}");
        }
    }

    #[test]
    fn names_are_joined_and_split_at_the_first_joint() {
        for (joined, parts) in [
            ("github__create_issue", Some(("github", "create_issue"))),
            ("github___x", Some(("github", "_x"))),
            ("github__a__b", Some(("github", "a__b"))),
            ("github_create", None),
            ("github__", None),
            ("__x", None),
            ("GitHub__x", None),
            ("git_hub__x", None),
        ] {
            assert_eq!(split(joined), parts, "{joined}");
        }
        for (joined, parts) in [
            ("github+file:///x", Some(("github", "file:///x"))),
            ("github+git+ssh://h/{p}", Some(("github", "git+ssh://h/{p}"))),
            ("file:///x+y:z", None),
            ("github+x", None),
            ("git+ssh", None),
        ] {
            assert_eq!(split_uri(joined), parts, "{joined}");
        }
        assert_eq!(server("github").dotted("create_issue"), "github.create_issue");
    }

    #[test]
    fn a_name_that_has_become_too_long_is_not_offered() {
        let (tool, github) = ("t".repeat(120), server("github"));
        assert_eq!(github.tool(ToolName::parse(&tool).unwrap()).unwrap().len(), 128);
        let tool = "t".repeat(121);
        assert_eq!(github.tool(ToolName::parse(&tool).unwrap()), Err(InvalidName::Long(128)));
        assert_eq!(github.prompt(&"p".repeat(249)), Err(InvalidName::Long(256)));
        assert_eq!(github.prompt(" p"), Err(InvalidName::Prompt));
        assert_eq!(github.uri("no-scheme"), Err(InvalidName::Uri));
        assert_eq!(github.uri(&format!("a:{}", "x".repeat(8_192))), Err(InvalidName::Uri));
    }

    #[test]
    fn what_an_agent_shows_its_model_is_found_again() {
        let is_known = |name: &str| ["github", "jira"].contains(&name);
        for (name, expected) in [
            ("mcp__gw__github__create_issue", Some(("github", "create_issue"))),
            ("mcp__my__gateway__jira__find", Some(("jira", "find"))),
            ("mcp__gw__github__jira__x", Some(("github", "jira__x"))),
            ("mcp__github__create_issue", Some(("github", "create_issue"))),
            ("mcp__github__jira__x", Some(("jira", "x"))),
            ("mcp__gw__gitlab__x", None),
            ("mcp__gw__echo", None),
            ("Bash", None),
            ("github__create_issue", None),
            ("mcp__gw__github__", None),
            ("mcp__", None),
        ] {
            assert_eq!(from_agent(name, is_known), expected, "{name}");
        }
        assert_eq!(ToolName::parse("a.b/c-d_e").unwrap().to_agent(), "a_b_c-d_e");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn splitting_gives_what_was_joined(name in "[a-z][a-z0-9-]{0,31}", tool in "[A-Za-z0-9_./-]{1,94}", scheme in "[a-z][a-z0-9+.-]{0,9}") {
            let server = server(&name);
            let joined = server.tool(ToolName::parse(&tool).unwrap()).unwrap();
            prop_assert_eq!(split(&joined), Some((name.as_str(), tool.as_str())));
            prop_assert!(ToolName::parse(&joined).is_ok());
            let uri = format!("{scheme}:{tool}");
            let joined_uri = server.uri(&uri).unwrap();
            prop_assert_eq!(split_uri(&joined_uri), Some((name.as_str(), uri.as_str())));
            let shown = format!("mcp__any_thing__{joined}");
            prop_assert_eq!(from_agent(&shown, |known| known == name), Some((name.as_str(), tool.as_str())));
        }
    }
}
