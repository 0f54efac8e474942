//! What a key may use of servers of tools: patterns over what they offer, and rules over the arguments of its calls.

use tollgate_rule::{Call, CallRule, InvalidArguments, Undecided};

use crate::pattern::{InvalidPattern, Pattern, Patterns};

/// The most rules of a key over the arguments of its calls.
pub const TOOL_RULES_MAX: usize = 50;

/// What a server offers.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Offer {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource.
    Resource,
}

/// What a key may use of servers: patterns over `<server>.<tool>`, over `prompt:<server>.<prompt>` and over `resource:<server>.<URI>`.
///
/// A server of which no tool can be admitted is not reached at all. Where no pattern speaks of prompts, those of each server that is reached are
/// admitted, and so are resources.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Access {
    tools: Patterns,
    prompts: Patterns,
    resources: Patterns,
}

/// What must hold of a key's calls of some tools.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToolRule {
    /// Which, by `<server>.<tool>`; see [`rule_pattern`].
    pub tools: Pattern,
    /// What must hold.
    pub when: CallRule,
}

/// Why the rules of a key do not let a call pass.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unmet<'r> {
    /// One does not hold.
    Fails(&'r ToolRule),
    /// One cannot be decided, which is a no.
    Undecided(&'r ToolRule, Undecided),
    /// None can be decided over such arguments.
    Arguments(InvalidArguments),
}

/// Whether each of a key's rules holds that has that tool. The call is made of what was sent only where there is one.
///
/// # Errors
/// The first rule that does not hold, or why none can be decided.
pub fn met<'r, 'c>(
    rules: &'r [ToolRule],
    server: &str,
    tool: &str,
    call: impl FnOnce() -> Result<Call<'c>, InvalidArguments>,
) -> Result<(), Unmet<'r>> {
    if rules.is_empty() {
        return Ok(());
    }
    let full = [server, ".", tool].concat();
    let mut named = rules.iter().filter(|rule| rule.tools.matches(&full)).peekable();
    if named.peek().is_none() {
        return Ok(());
    }
    let call = call().map_err(Unmet::Arguments)?;
    named.try_for_each(|rule| match rule.when.holds(&call) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Unmet::Fails(rule)),
        Err(undecided) => Err(Unmet::Undecided(rule, undecided)),
    })
}

/// The pattern over `<server>.<tool>` of a rule over the arguments of calls; `None`: the text is none, denies, or speaks of no tool of a
/// server.
#[must_use]
pub fn rule_pattern(text: &str) -> Option<Pattern> {
    let speaks_of_tools = text.contains(['.', '*']);
    let is_other = ["!", "prompt:", "resource:"].into_iter().any(|prefix| text.starts_with(prefix));
    Pattern::parse(text).ok().filter(|_| speaks_of_tools && !is_other)
}

// === impl Access ===

impl Access {
    /// Parses a list.
    ///
    /// # Errors
    /// Names the first pattern that is not one.
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, InvalidPattern> {
        // The bound is that of the whole list.
        Patterns::parse(list)?;
        let mut lists: [Vec<String>; 3] = [vec![], vec![], vec![]];
        for text in list.iter().map(AsRef::as_ref) {
            let (denial, bare) = text.strip_prefix('!').map_or(("", text), |denied| ("!", denied));
            let [tools, prompts, resources] = &mut lists;
            let (bare, of_kind) = match (bare.strip_prefix("prompt:"), bare.strip_prefix("resource:")) {
                (Some(bare), _) => (bare, prompts),
                (_, Some(bare)) => (bare, resources),
                _ => (bare, tools),
            };
            of_kind.push([denial, bare].concat());
        }
        let [tools, prompts, resources] = lists;
        Ok(Self {
            tools: Patterns::parse(&tools)?,
            prompts: Patterns::parse(&prompts)?,
            resources: Patterns::parse(&resources)?,
        })
    }

    /// The list as [`Self::parse`] reads it.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let kind = |prefix: &'static str, list: &Patterns| {
            let named = list.texts().into_iter().map(move |text| match text.strip_prefix('!') {
                Some(denied) => ["!", prefix, denied].concat(),
                None => [prefix, &text].concat(),
            });
            named.collect::<Vec<_>>()
        };
        [kind("", &self.tools), kind("prompt:", &self.prompts), kind("resource:", &self.resources)].concat()
    }

    /// Whether it admits everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty() && self.prompts.is_empty() && self.resources.is_empty()
    }

    /// Whether some tool of that server could be admitted.
    #[must_use]
    pub fn reaches(&self, server: &str) -> bool {
        let prefix = [server, "."].concat();
        // A pattern speaks of the server when its text up to the first star is the beginning of such a name, or has it as its beginning.
        let speaks = |pattern: &Pattern| {
            let (head, has_star) =
                pattern.as_str().split_once('*').map_or((pattern.as_str(), false), |(head, _)| (head, true));
            head.starts_with(&prefix) || (has_star && prefix.starts_with(head))
        };
        // A denial has every tool when it has whatever follows the name.
        let denies_all = |pattern: &Pattern| pattern.as_str().ends_with('*') && pattern.matches(&prefix);
        let allowed = self.tools.allowed();
        (allowed.is_empty() || allowed.iter().any(speaks)) && !self.tools.denied().iter().any(denies_all)
    }

    /// Whether it admits what that server offers under that name.
    #[must_use]
    pub fn admits(&self, offer: Offer, server: &str, name: &str) -> bool {
        let full = [server, ".", name].concat();
        match offer {
            Offer::Tool => self.tools.admit(&full),
            Offer::Prompt => self.reaches(server) && self.prompts.admit(&full),
            Offer::Resource => self.reaches(server) && self.resources.admit(&full),
        }
    }

    /// Whether it admits a tool that is no server's, by the name that an agent gives it, such as `Bash`. Only patterns without a dot speak of
    /// such tools: a list that has none of them admits all.
    #[must_use]
    pub fn admits_own(&self, name: &str) -> bool {
        let is_own = |pattern: &&Pattern| !pattern.as_str().contains('.');
        let mut allowed = self.tools.allowed().iter().filter(is_own).peekable();
        let is_allowed = allowed.peek().is_none() || allowed.any(|pattern| pattern.matches(name));
        is_allowed && !self.tools.denied().iter().filter(is_own).any(|pattern| pattern.matches(name))
    }
}

// === impl Offer ===

impl Offer {
    /// The word for it in sentences and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
        }
    }
}

#[cfg(test)]
mod tests {
    use tollgate_rule::Arguments;

    use super::*;

    fn access(list: &[&str]) -> Access {
        Access::parse(list).unwrap()
    }

    #[test]
    fn a_key_reaches_a_server_of_which_it_may_use_something() {
        for (list, expect) in [
            (&[][..], true),
            (&["*"], true),
            (&["github.*"], true),
            (&["git*"], true),
            (&["github.create_issue"], true),
            (&["*.read_*"], true),
            (&["jira.*"], false),
            (&["github"], false),
            (&["githubs.*"], false),
            (&["!github.*"], false),
            (&["!git*"], false),
            (&["!github.delete_*"], true),
            (&["*", "!*"], false),
            (&["prompt:jira.*"], true),
        ] {
            assert_eq!(access(list).reaches("github"), expect, "{list:?}");
        }
    }

    #[test]
    fn only_patterns_without_a_dot_speak_of_an_agents_own_tools() {
        for (list, expect) in [
            (&[][..], [true, true]),
            (&["github.*"], [true, true]),
            (&["github.*", "!Bash"], [false, true]),
            (&["Read", "github.*"], [false, true]),
            (&["*"], [true, true]),
            (&["!*"], [false, false]),
        ] {
            let list = access(list);
            assert_eq!(["Bash", "Read"].map(|name| list.admits_own(name)), expect, "{list:?}");
        }
    }

    #[test]
    fn each_rule_that_has_the_tool_must_hold() {
        let rule = |tools, when| ToolRule { tools: rule_pattern(tools).unwrap(), when: CallRule::parse(when).unwrap() };
        let rules = [
            rule("github.*", "arguments.repo.startsWith('acme/')"),
            rule("*.delete_*", "caller.team == 'platform'"),
            rule("github.search", "!has(arguments.all)"),
        ];
        let [of_repo, of_team, of_search] = &rules;
        for (server, tool, arguments, expect) in [
            ("github", "create", r#"{"repo": "acme/web"}"#, Ok(())),
            ("github", "create", r#"{"repo": "other/web"}"#, Err(Unmet::Fails(of_repo))),
            ("github", "create", "{}", Err(Unmet::Undecided(of_repo, Undecided::Absent))),
            ("github", "create", r#"{"repo": 1}"#, Err(Unmet::Undecided(of_repo, Undecided::Types))),
            ("github", "create", "[]", Err(Unmet::Arguments(InvalidArguments))),
            ("github", "delete_all", r#"{"repo": "acme/web"}"#, Err(Unmet::Fails(of_team))),
            ("github", "search", r#"{"repo": "acme/web", "all": true}"#, Err(Unmet::Fails(of_search))),
            ("jira", "delete_all", "{}", Err(Unmet::Fails(of_team))),
            ("jira", "create", "[]", Ok(())),
            ("githubs", "create", "{}", Ok(())),
        ] {
            let call =
                || Ok(Call { server, tool, arguments: Arguments::read(arguments.as_bytes())?, ..Call::default() });
            assert_eq!(met(&rules, server, tool, call), expect, "{server}.{tool} {arguments}");
        }
        assert_eq!(met(&[], "github", "create", || Err(InvalidArguments)), Ok(()), "nothing is read for no rule");
    }

    #[test]
    fn a_rule_speaks_of_tools_of_servers() {
        for (text, expect) in [
            ("github.*", true),
            ("*", true),
            ("github.create_issue", true),
            ("Bash", false),
            ("!github.*", false),
            ("prompt:github.*", false),
            ("resource:github.*", false),
            ("", false),
        ] {
            assert_eq!(rule_pattern(text).is_some(), expect, "{text}");
        }
    }
}
