//! Guardrails, as a snapshot has them.

use std::sync::Arc;

use tollgate_policy::{
    guardrail::{
        ALLOWED_MAX, Action, Allowed, Directions, EXPRESSION_BYTES_MAX, EXPRESSIONS_MAX, Expression, FINGERPRINT_BYTES,
        Guardrail, RULE_FILE_BYTES_MAX, RuleSource, SCOPE_MAX, Scope, WORDS_MAX,
    },
    id::{CustomerId, GuardrailId, TeamId},
    time::UnixMillis,
};

use super::{Field, TEXT_BYTES_MAX, parsed, patterns, problem, text, unsigned};
use crate::fleet::v1;

const SECRETS: &str = "secrets";
const EXPRESSIONS: &str = "expressions";
const WORDS: &str = "words";

impl From<&Guardrail> for v1::GuardrailItem {
    fn from(guardrail: &Guardrail) -> Self {
        let Guardrail { id: _, name, disabled, source, rules, directions, action, shadow, scope, allowed } = guardrail;
        let Directions { request, response } = directions;
        let Scope { customers, teams, keys, models } = scope;
        let bare = Self {
            name: name.to_string(),
            disabled: *disabled,
            rules: rules.texts(),
            on_request: *request,
            on_response: *response,
            action: action.word().to_owned(),
            shadow: *shadow,
            customers: customers.iter().map(|id| id.as_str().to_owned()).collect(),
            teams: teams.iter().map(|id| id.as_str().to_owned()).collect(),
            keys: keys.texts(),
            models: models.texts(),
            allowed: allowed.iter().map(v1::AllowedItem::from).collect(),
            ..Self::default()
        };
        match source {
            RuleSource::Secrets { builtin, file } => Self {
                kind: SECRETS.to_owned(),
                builtin: *builtin,
                rule_file: file.as_deref().unwrap_or_default().to_owned(),
                ..bare
            },
            RuleSource::Expressions(expressions) => Self {
                kind: EXPRESSIONS.to_owned(),
                expressions: expressions.iter().map(v1::ExpressionItem::from).collect(),
                ..bare
            },
            RuleSource::Words(words) => {
                Self { kind: WORDS.to_owned(), words: words.iter().map(|word| word.to_string()).collect(), ..bare }
            }
        }
    }
}

impl From<&Expression> for v1::ExpressionItem {
    fn from(expression: &Expression) -> Self {
        let Expression { id, regex } = expression;
        Self { id: id.to_string(), regex: regex.to_string() }
    }
}

impl From<&Allowed> for v1::AllowedItem {
    fn from(allowed: &Allowed) -> Self {
        let Allowed { fingerprint, until } = allowed;
        Self { fingerprint: fingerprint.to_vec().into(), until_ms: until.map_or(0, UnixMillis::get) }
    }
}

pub(super) fn read(id: &str, body: v1::GuardrailItem) -> Field<Guardrail> {
    let v1::GuardrailItem {
        name,
        disabled,
        kind,
        builtin,
        rule_file,
        expressions,
        words,
        rules,
        on_request,
        on_response,
        action,
        shadow,
        customers,
        teams,
        keys,
        models,
        allowed,
    } = body;
    if customers.len() + teams.len() > SCOPE_MAX {
        return Err(problem("teams", "has too many owners, together with customers"));
    }
    let others = match kind.as_str() {
        SECRETS => !expressions.is_empty() || !words.is_empty(),
        EXPRESSIONS => builtin || !rule_file.is_empty() || !words.is_empty(),
        _ => builtin || !rule_file.is_empty() || !expressions.is_empty(),
    };
    if others {
        return Err(problem("kind", "has rules of another kind"));
    }
    Ok(Guardrail {
        id: parsed("id", id, GuardrailId::parse)?,
        name: text("name", &name)?,
        disabled,
        source: match kind.as_str() {
            SECRETS => secrets(builtin, rule_file)?,
            EXPRESSIONS => RuleSource::Expressions(expressions_of(expressions)?),
            WORDS => RuleSource::Words(words_of(&words)?),
            _ => return Err(problem("kind", "is not known to this version")),
        },
        rules: patterns("rules", &rules)?,
        directions: match (on_request, on_response) {
            (false, false) => return Err(problem("on_request", "looks nowhere, nor does on_response")),
            (request, response) => Directions { request, response },
        },
        action: Action::of_word(&action).ok_or_else(|| problem("action", "is not known to this version"))?,
        shadow,
        scope: Scope {
            customers: customers.iter().map(|id| parsed("customers", id, CustomerId::parse)).collect::<Field<_>>()?,
            teams: teams.iter().map(|id| parsed("teams", id, TeamId::parse)).collect::<Field<_>>()?,
            keys: patterns("keys", &keys)?,
            models: patterns("models", &models)?,
        },
        allowed: allowed_of(allowed)?,
    })
}

fn secrets(builtin: bool, file: String) -> Field<RuleSource> {
    match file.len() {
        0 if !builtin => Err(problem("builtin", "is not set, and there is no rule file")),
        RULE_FILE_BYTES_MAX.. => Err(problem("rule_file", "is too long")),
        0 => Ok(RuleSource::Secrets { builtin, file: None }),
        _ => Ok(RuleSource::Secrets { builtin, file: Some(file.into()) }),
    }
}

fn expressions_of(list: Vec<v1::ExpressionItem>) -> Field<Arc<[Expression]>> {
    if list.is_empty() || list.len() > EXPRESSIONS_MAX {
        return Err(problem("expressions", "must be 1 to 200"));
    }
    list.into_iter()
        .map(|v1::ExpressionItem { id, regex }| match regex.len() {
            1..=EXPRESSION_BYTES_MAX => Ok(Expression { id: text("expressions.id", &id)?, regex: regex.into() }),
            _ => Err(problem("expressions.regex", "must have 1 to 2048 bytes")),
        })
        .collect()
}

fn words_of(list: &[String]) -> Field<Arc<[Arc<str>]>> {
    if list.is_empty() || list.len() > WORDS_MAX {
        return Err(problem("words", "must be 1 to 1000"));
    }
    list.iter()
        .map(|word| match word.len() {
            1..=TEXT_BYTES_MAX => Ok(Arc::from(word.as_str())),
            _ => Err(problem("words", "must have 1 to 256 bytes each")),
        })
        .collect()
}

fn allowed_of(list: Vec<v1::AllowedItem>) -> Field<Arc<[Allowed]>> {
    if list.len() > ALLOWED_MAX {
        return Err(problem("allowed", "has too many entries"));
    }
    let read = |v1::AllowedItem { fingerprint, until_ms }| {
        let fingerprint: [u8; FINGERPRINT_BYTES] =
            (&*fingerprint).try_into().map_err(|_| problem("allowed.fingerprint", "is not of 16 bytes"))?;
        let until = match unsigned("allowed.until_ms", until_ms)? {
            0 => None,
            until => Some(UnixMillis::new(i64::try_from(until).unwrap_or(i64::MAX))),
        };
        Ok(Allowed { fingerprint, until })
    };
    let list: Arc<[Allowed]> = list.into_iter().map(read).collect::<Field<_>>()?;
    // The proof that a lookup finds what is there.
    if list.is_sorted_by(|one, next| one.fingerprint < next.fingerprint) {
        Ok(list)
    } else {
        Err(problem("allowed", "is not in ascending order, each once"))
    }
}

#[cfg(test)]
mod tests {
    use tollgate_policy::pattern::Patterns;

    use super::*;

    const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

    fn guardrail(source: RuleSource) -> Guardrail {
        let allowed = |first, until: Option<i64>| Allowed {
            fingerprint: [first; FINGERPRINT_BYTES],
            until: until.map(UnixMillis::new),
        };
        Guardrail {
            id: GuardrailId::from_ulid(ULID).unwrap(),
            name: "secrets".into(),
            disabled: true,
            source,
            rules: Patterns::parse(&["aws-*", "!tag:test"]).unwrap(),
            directions: Directions { request: true, response: true },
            action: Action::Tokenize,
            shadow: true,
            scope: Scope {
                customers: vec![CustomerId::from_ulid(ULID).unwrap()],
                teams: vec![TeamId::from_ulid(ULID).unwrap()],
                keys: Patterns::parse(&["*"]).unwrap(),
                models: Patterns::parse(&["claude-*"]).unwrap(),
            },
            allowed: [allowed(1, None), allowed(2, Some(9))].into(),
        }
    }

    fn secrets_of(builtin: bool, file: Option<&str>) -> RuleSource {
        RuleSource::Secrets { builtin, file: file.map(Arc::from) }
    }

    #[test]
    fn a_guardrail_comes_back_as_it_was_sent() {
        let expression = Expression { id: "own".into(), regex: "emp-[0-9]+".into() };
        for source in [
            secrets_of(true, None),
            secrets_of(true, Some("[[rules]]")),
            secrets_of(false, Some("[[rules]]")),
            RuleSource::Expressions([expression].into()),
            RuleSource::Words(["blue".into(), "red".into()].into()),
        ] {
            let one = guardrail(source);
            let wire = v1::GuardrailItem::from(&one);
            assert_eq!(read(one.id.as_str(), wire).map_err(|problem| problem.text), Ok(one));
        }
    }

    #[test]
    fn an_item_that_is_no_guardrail_is_refused_with_its_field() {
        type Change = fn(&mut v1::GuardrailItem);
        let changes: [(Change, &str); 15] = [
            (|wire| wire.kind = "magic".into(), "kind"),
            (|wire| wire.words.push("x".into()), "kind"),
            (|wire| wire.builtin = false, "builtin"),
            (|wire| wire.rule_file = "x".repeat(RULE_FILE_BYTES_MAX), "rule_file"),
            (|wire| (wire.on_request, wire.on_response) = (false, false), "on_request"),
            (|wire| wire.action = "shout".into(), "action"),
            (|wire| wire.rules.push(String::new()), "rules"),
            (|wire| wire.teams.push("team-x".into()), "teams"),
            (|wire| wire.customers = vec!["c".into(); SCOPE_MAX], "teams"),
            (|wire| wire.allowed.reverse(), "allowed"),
            (|wire| wire.allowed[0].fingerprint = vec![1].into(), "allowed.fingerprint"),
            (|wire| wire.allowed[0].until_ms = -1, "allowed.until_ms"),
            (|wire| (wire.kind, wire.builtin) = ("words".into(), false), "words"),
            (|wire| (wire.kind, wire.builtin) = ("expressions".into(), false), "expressions"),
            (|wire| wire.name.clear(), "name"),
        ];
        let one = guardrail(secrets_of(true, None));
        for (change, field) in changes {
            let mut wire = v1::GuardrailItem::from(&one);
            change(&mut wire);
            assert_eq!(read(one.id.as_str(), wire).err().map(|problem| problem.field), Some(field));
        }
    }
}
