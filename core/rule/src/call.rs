//! Rules over calls of tools: what must hold of the arguments.
//!
//! Arguments have whatever fields a client sends, so that a rule cannot be tried on each. One that cannot be decided for a call, since a
//! field is absent or of another type than the rule takes it for, says so, and whoever asked refuses the call.

use std::{collections::HashMap, fmt, sync::Arc};

use cel::{
    Value,
    objects::{Key, Map},
};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::{
    Condition, InvalidRule, Undecided,
    facts::{self, Scope, Variable, Who},
};

/// The most values in the arguments of a call over which a rule decides, those within others counted too: a loop visits each, and compiles
/// its pattern anew.
pub const VALUES_MAX: usize = 5_000;

/// A condition over calls of tools.
#[derive(Clone, Eq, PartialEq)]
pub struct CallRule(Condition);

/// A call that is decided.
#[derive(Clone, Debug, Default)]
pub struct Call<'c> {
    /// The server, by name.
    pub server: &'c str,
    /// The tool, by the name that the server gives it.
    pub tool: &'c str,
    /// What is sent to it.
    pub arguments: Arguments,
    /// Who calls.
    pub caller: Who,
    /// Where the replica runs.
    pub region: Arc<str>,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// The arguments of a call, read once for all rules. The default has none.
#[derive(Clone)]
pub struct Arguments(Value);

/// Arguments are not such that a rule can be decided over them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be one JSON object with at most {VALUES_MAX} values, each name of an object once")]
pub struct InvalidArguments;

// === impl CallRule ===

impl CallRule {
    /// Reads a rule, and checks it. One that holds of no call, or of each, is a rule too.
    ///
    /// # Errors
    /// Says what is wrong, where, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, InvalidRule> {
        let rule = Self(Condition::parse(text, Scope::Call)?);
        let is_about_arguments = rule.0.about.contains(&Variable::Arguments);
        for sample in [sample(), Call::default()] {
            match rule.holds(&sample) {
                // What is absent from a call without arguments may be in another.
                Err(Undecided::Absent) if is_about_arguments => {}
                decided => drop(decided.map_err(InvalidRule::Undecided)?),
            }
        }
        Ok(rule)
    }

    /// The text, as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Decides.
    ///
    /// # Errors
    /// Says why it cannot be decided, which is to be taken for a no.
    pub fn holds(&self, call: &Call<'_>) -> Result<bool, Undecided> {
        self.0.holds(|variable| call.value(variable))
    }
}

impl fmt::Debug for CallRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallRule").field(&self.0.text).finish()
    }
}

// === impl Call ===

impl Call<'_> {
    fn value(&self, variable: Variable) -> Value {
        match variable {
            Variable::Arguments => self.arguments.0.clone(),
            Variable::Tool => facts::fields([("server", facts::text(self.server)), ("name", facts::text(self.tool))]),
            Variable::Caller => facts::caller(self.caller.clone()),
            Variable::Region => facts::text(&self.region),
            Variable::Now => facts::now(self.now_ms),
            // No rule over calls is about these.
            Variable::Request | Variable::Headers | Variable::Budget => Value::Null,
        }
    }
}

fn sample() -> Call<'static> {
    Call {
        server: "github",
        tool: "create_issue",
        arguments: Arguments::default(),
        caller: Who {
            key: "dev".into(),
            team: "platform".into(),
            customer: "acme".into(),
            user: "ada".into(),
            session: "9f6a".into(),
            agent: "main".into(),
        },
        region: "eu-west".into(),
        now_ms: 1_767_225_600_000,
    }
}

// === impl Arguments ===

impl Arguments {
    /// Reads them from JSON. Whole numbers of 64 bits with a sign become ints, all others doubles.
    ///
    /// # Errors
    /// Where the text is no JSON object, has an object with a name twice, or has too many values.
    pub fn read(json: &[u8]) -> Result<Self, InvalidArguments> {
        let mut left = VALUES_MAX;
        let mut reader = serde_json::Deserializer::from_slice(json);
        let value = Read(&mut left).deserialize(&mut reader).map_err(|_| InvalidArguments)?;
        reader.end().map_err(|_| InvalidArguments)?;
        if matches!(value, Value::Map(_)) { Ok(Self(value)) } else { Err(InvalidArguments) }
    }
}

impl Default for Arguments {
    fn default() -> Self {
        Self(facts::map(Vec::new()))
    }
}

/// Tells nothing of what was sent.
impl fmt::Debug for Arguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arguments(***)")
    }
}

// Reads one value; the number says how many more may come.
struct Read<'l>(&'l mut usize);

impl<'de> DeserializeSeed<'de> for Read<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        *self.0 = self.0.checked_sub(1).ok_or_else(|| de::Error::custom("too many values"))?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is no int is a double, as in JavaScript")]
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(facts::text(value))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(Arc::new(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Read(&mut *self.0))? {
            list.push(item);
        }
        Ok(Value::List(Arc::new(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = HashMap::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(Read(&mut *self.0))?;
            // Of two values under one name, a server may take the other one.
            if map.insert(Key::String(Arc::new(name)), value).is_some() {
                return Err(de::Error::custom("a name twice"));
            }
        }
        Ok(Value::Map(Map { map: Arc::new(map) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(rule: &str, arguments: &str) -> Result<bool, Undecided> {
        let rule = CallRule::parse(rule).unwrap_or_else(|invalid| panic!("{rule}: {invalid}"));
        rule.holds(&Call { arguments: Arguments::read(arguments.as_bytes()).unwrap(), ..sample() })
    }

    #[test]
    fn each_fact_of_a_call_decides() {
        const ISSUE: &str = r#"{"repo": "acme/web", "labels": ["bug", "ui"], "n": 3, "ratio": 1.5, "big": 18446744073709551615,
            "draft": false, "none": null, "owner": {"team": {"name": "web"}}, "\u0061b": 1}"#;
        for (rule, expect) in [
            ("arguments.repo.startsWith('acme/')", true),
            ("arguments.repo.matches('^acme/[a-z]+$')", true),
            ("arguments['repo'] == 'acme/api'", false),
            ("arguments.n == 3 && arguments.n < 4 && arguments.n >= 3.0", true),
            ("arguments.ratio > 1 && arguments.ratio < 2", true),
            ("arguments.big > 9223372036854775807", true),
            ("!arguments.draft && arguments.none == null", true),
            ("arguments.owner.team.name == 'web'", true),
            ("arguments.ab == 1", true),
            ("arguments.labels.all(label, label in ['bug', 'ui'])", true),
            ("arguments.labels.exists(label, label == 'urgent')", false),
            ("size(arguments.labels) <= 2 && arguments.labels[0] == 'bug'", true),
            ("arguments.all(name, name != 'force')", true),
            ("has(arguments.force) && arguments.force", false),
            ("'repo' in arguments", true),
            ("tool.server == 'github' && tool.name == 'create_issue'", true),
            ("caller.team == 'platform' && region == 'eu-west'", true),
            ("now.getDayOfWeek('Europe/Berlin') in [0, 6]", false),
            ("arguments.repo == 'x' || true", true),
        ] {
            assert_eq!(decided(rule, ISSUE), Ok(expect), "{rule}");
        }
    }

    #[test]
    fn what_cannot_be_decided_for_a_call_is_told_and_no_yes() {
        for (rule, arguments, expect) in [
            ("arguments.repo == 'a'", "{}", Undecided::Absent),
            ("arguments.repo != 'a'", "{}", Undecided::Absent),
            ("arguments.owner.name == 'a'", r#"{"owner": {}}"#, Undecided::Absent),
            ("arguments.repo.startsWith('a')", r#"{"repo": 1}"#, Undecided::Types),
            ("arguments.n > 3", r#"{"n": "4"}"#, Undecided::Types),
            ("arguments.draft", r#"{"draft": "true"}"#, Undecided::NoFlag),
            ("10 / arguments.n > 1", r#"{"n": 0}"#, Undecided::Computation),
            ("arguments.list[3] == 1", r#"{"list": [1]}"#, Undecided::Computation),
            ("arguments.list.all(each, each > 0)", r#"{"list": 1}"#, Undecided::Types),
        ] {
            assert_eq!(decided(rule, arguments), Err(expect), "{rule} {arguments}");
        }
    }

    #[test]
    fn a_bad_rule_over_calls_is_refused_with_what_to_write() {
        for (rule, expect) in [
            ("", "is empty"),
            ("repo == 'a'", "knows nothing of \"repo\": a rule over calls of tools is about arguments, tool, caller"),
            ("request.model == 'a'", "knows nothing of \"request\""),
            ("'x' in headers", "knows nothing of \"headers\""),
            ("tool.args == 'a'", "asks for tool.args, which there is not: there are server, name"),
            ("arguments.repo ==", "line 1, column"),
            ("arguments.repo.shout()", "calls \"shout\""),
            ("size(arguments)", "neither true nor false"),
            ("tool.name > 3", "types that do not go together"),
            ("size(arguments) > 'a'", "types that do not go together"),
            ("arguments.a.all(x, arguments.b.exists(y, x == y))", "a loop"),
            ("arguments.a.all(x, x in arguments.a)", "names arguments within a loop"),
            ("arguments.a.matches(arguments.b)", "a text that stands in the rule"),
            ("arguments.a.matches('(')", "cannot be read as a regular expression"),
        ] {
            let said = CallRule::parse(rule).map(|_| ()).unwrap_err().to_string();
            assert!(said.contains(expect), "{rule}: {said}");
        }
        assert!(
            crate::Rule::parse("arguments.repo == 'a'").unwrap_err().to_string().contains("a rule is about request")
        );
    }

    #[test]
    fn arguments_have_one_reading_and_a_bound() {
        let list = |count: usize| format!(r#"{{"a": [{}]}}"#, vec!["1"; count].join(","));
        assert!(Arguments::read(list(VALUES_MAX - 2).as_bytes()).is_ok());
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
        for bad in [
            "",
            "[]",
            "1",
            "null",
            "{} {}",
            r#"{"a":1,"a":2}"#,
            r#"{"a":{"b":1,"\u0062":2}}"#,
            &deep,
            &list(VALUES_MAX - 1),
        ] {
            assert!(Arguments::read(bad.as_bytes()).is_err(), "{bad:.80}");
        }
        assert_eq!(format!("{:?}", Arguments::read(br#"{"a":"canary"}"#).unwrap()), "Arguments(***)");
    }
}
