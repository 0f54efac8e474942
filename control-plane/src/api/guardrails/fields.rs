//! The fields of a guardrail, from the wire to the domain.

use std::sync::Arc;

use tollgate_policy::{
    guardrail::{
        ALLOWED_MAX, Action, Direction, Directions, EXPRESSION_BYTES_MAX, EXPRESSIONS_MAX, Expression,
        FINGERPRINT_BYTES, RULE_FILE_BYTES_MAX, RuleSource, WORDS_MAX,
    },
    id::GuardrailId,
    name::Name,
};
use tollgate_proto::admin::v1;

use super::{
    super::{mask::Mask, violations::Violations, wire},
    written::written,
};
use crate::store::{
    guardrails::{Allowance, EXPRESSIONS, Guardrail, KINDS, Owners, SECRETS, WORDS},
    organisation::Stamp,
};

/// The longest id of an expression: a pattern names it, and a placeholder bears it.
const EXPRESSION_ID_BYTES_MAX: usize = 63;
/// The longest reason for which something is let pass, in characters.
const REASON_MAX: usize = 200;

/// A guardrail without whom it is for, which only the database knows.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) name: Name,
    pub(super) source: RuleSource,
    pub(super) rules: Vec<String>,
    disabled: bool,
    directions: Directions,
    action: Action,
    shadow: bool,
    keys: Vec<String>,
    models: Vec<String>,
    allowed: Vec<Allowance>,
}

// === impl Draft ===

impl Draft {
    /// Reads a new guardrail.
    pub(super) fn read(wire: &v1::Guardrail, violations: &mut Violations) -> Option<Self> {
        let name = wire::name(&wire.name, violations);
        let source = source(wire, violations);
        let rules = wire::patterns("rules", &wire.rules, violations);
        let directions = directions(&wire.on, violations);
        let action = action(&wire.action, violations);
        let keys = wire::patterns("keys", &wire.keys, violations);
        let models = wire::patterns("models", &wire.models, violations);
        let allowed = allowed(&wire.allowed, violations);
        Some(Self {
            name: name?,
            source: source?,
            rules: rules?,
            disabled: wire.disabled,
            directions: directions?,
            action: action?,
            shadow: wire.shadow,
            keys: keys?,
            models: models?,
            allowed: allowed?,
        })
    }

    /// A guardrail with its masked fields changed. With another kind goes what only the old one has.
    pub(super) fn merged(
        old: &Guardrail,
        new: &v1::Guardrail,
        mask: &Mask,
        violations: &mut Violations,
    ) -> Option<Self> {
        let held = written(old);
        let is_other = mask.has("kind") && new.kind != held.kind;
        let stays = |field| !mask.has(field) && !is_other;
        let rules_of = v1::Guardrail {
            kind: if mask.has("kind") { new.kind.clone() } else { held.kind },
            builtin: if mask.has("builtin") { new.builtin } else { held.builtin.filter(|_| !is_other) },
            rule_file: if stays("rule_file") { held.rule_file } else { new.rule_file.clone() },
            expressions: if stays("expressions") { held.expressions } else { new.expressions.clone() },
            words: if stays("words") { held.words } else { new.words.clone() },
            ..v1::Guardrail::default()
        };
        let name = if mask.has("name") { wire::name(&new.name, violations) } else { Some(old.name.clone()) };
        let source = source(&rules_of, violations);
        let mut patterns = |field, new: &[String], old: &[String]| {
            if mask.has(field) { wire::patterns(field, new, violations) } else { Some(old.to_vec()) }
        };
        let rules = patterns("rules", &new.rules, &old.rules);
        let keys = patterns("keys", &new.keys, &old.keys);
        let models = patterns("models", &new.models, &old.models);
        let directions = if mask.has("on") { directions(&new.on, violations) } else { Some(old.directions) };
        let action = if mask.has("action") { action(&new.action, violations) } else { Some(old.action) };
        let allowed = if mask.has("allowed") { allowed(&new.allowed, violations) } else { Some(old.allowed.clone()) };
        Some(Self {
            name: name?,
            source: source?,
            rules: rules?,
            disabled: if mask.has("disabled") { new.disabled } else { old.disabled },
            directions: directions?,
            action: action?,
            shadow: if mask.has("shadow") { new.shadow } else { old.shadow },
            keys: keys?,
            models: models?,
            allowed: allowed?,
        })
    }

    /// The guardrail.
    pub(super) fn guardrail(self, id: GuardrailId, owners: Owners, stamp: Stamp) -> Guardrail {
        let Self { name, source, rules, disabled, directions, action, shadow, keys, models, allowed } = self;
        Guardrail {
            id,
            name,
            disabled,
            source,
            rules,
            directions,
            action,
            shadow,
            owners,
            keys,
            models,
            allowed,
            stamp,
        }
    }
}

/// Reads where rules come from, as far as that can be told without compiling them.
pub(super) fn source(wire: &v1::Guardrail, violations: &mut Violations) -> Option<RuleSource> {
    let v1::Guardrail { kind, builtin, rule_file, expressions, words, .. } = wire;
    let is = |one: &str| kind == one;
    if !KINDS.contains(&kind.as_str()) {
        violations.add("kind", format!("must be one of: {}", KINDS.join(", ")));
        return None;
    }
    let mut sound = true;
    for (field, set, of) in [
        ("builtin", *builtin == Some(true), SECRETS),
        ("rule_file", !rule_file.is_empty(), SECRETS),
        ("expressions", !expressions.is_empty(), EXPRESSIONS),
        ("words", !words.is_empty(), WORDS),
    ] {
        if set && !is(of) {
            sound = false;
            violations.add(field, format!("must not be set: it is for guardrails of the kind {of}"));
        }
    }
    let source = match kind.as_str() {
        SECRETS => secrets(builtin.unwrap_or(true), rule_file, violations),
        EXPRESSIONS => own(expressions, violations),
        _ => listed(words, violations),
    };
    source.filter(|_| sound)
}

fn secrets(builtin: bool, file: &str, violations: &mut Violations) -> Option<RuleSource> {
    // A replica reads nothing longer.
    if file.len() >= RULE_FILE_BYTES_MAX {
        violations.add("rule_file", format!("must be less than {} KiB", RULE_FILE_BYTES_MAX / 1_024));
        return None;
    }
    if !builtin && file.is_empty() {
        violations.add("rule_file", "must be given where builtin is false: there are no rules otherwise");
        return None;
    }
    Some(RuleSource::Secrets { builtin, file: (!file.is_empty()).then(|| file.into()) })
}

fn own(list: &[v1::Expression], violations: &mut Violations) -> Option<RuleSource> {
    if list.is_empty() || list.len() > EXPRESSIONS_MAX {
        violations.add("expressions", format!("must be 1 to {EXPRESSIONS_MAX}"));
        return None;
    }
    let mut read: Vec<Expression> = Vec::new();
    for (at, v1::Expression { id, regex }) in list.iter().enumerate() {
        let field = format!("expressions[{at}]");
        let is_id = (1..=EXPRESSION_ID_BYTES_MAX).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if !is_id {
            let text = format!("must be 1 to {EXPRESSION_ID_BYTES_MAX} letters, digits, '.', '_' and '-'");
            violations.add(format!("{field}.id"), text);
        } else if read.iter().any(|other| *other.id == **id) {
            violations.add(format!("{field}.id"), "is given twice");
        } else if regex.is_empty() || regex.len() > EXPRESSION_BYTES_MAX {
            violations.add(format!("{field}.regex"), format!("must be 1 to {EXPRESSION_BYTES_MAX} bytes"));
        } else {
            read.push(Expression { id: id.as_str().into(), regex: regex.as_str().into() });
        }
    }
    (read.len() == list.len()).then(|| RuleSource::Expressions(read.into()))
}

// How long a word is, the engine says.
fn listed(list: &[String], violations: &mut Violations) -> Option<RuleSource> {
    if list.is_empty() || list.len() > WORDS_MAX {
        violations.add("words", format!("must be 1 to {WORDS_MAX}"));
        return None;
    }
    let mut words: Vec<Arc<str>> = Vec::new();
    for (at, word) in list.iter().enumerate() {
        if words.iter().any(|other| **other == **word) {
            violations.add(format!("words[{at}]"), "is given twice");
        }
        words.push(word.as_str().into());
    }
    Some(RuleSource::Words(words.into()))
}

fn directions(on: &[String], violations: &mut Violations) -> Option<Directions> {
    if on.is_empty() {
        return Some(Directions { request: true, response: true });
    }
    let read = wire::words("on", on, &Direction::ALL, Direction::word, violations)?;
    let has = |direction| read.contains(&direction);
    Some(Directions { request: has(Direction::Request), response: has(Direction::Response) })
}

/// Reads what is done.
pub(super) fn action(word: &str, violations: &mut Violations) -> Option<Action> {
    let known = || Action::ALL.map(Action::word).join(", ");
    violations.take("action", Action::of_word(word).ok_or_else(|| format!("must be one of: {}", known())))
}

// In the order in which replicas look them up.
fn allowed(list: &[v1::AllowedFinding], violations: &mut Violations) -> Option<Vec<Allowance>> {
    if list.len() > ALLOWED_MAX {
        violations.add("allowed", format!("must be at most {ALLOWED_MAX}"));
        return None;
    }
    let mut read: Vec<Allowance> = Vec::new();
    for (at, v1::AllowedFinding { fingerprint, until, reason }) in list.iter().enumerate() {
        let field = |name: &str| format!("allowed[{at}].{name}");
        let mut bytes = [0; FINGERPRINT_BYTES];
        if hex::decode_to_slice(fingerprint, &mut bytes).is_err() {
            violations.add(field("fingerprint"), "must be 32 hexadecimal digits, as findings tell it");
        } else if read.iter().any(|other| other.fingerprint == bytes) {
            violations.add(field("fingerprint"), "is given twice");
        }
        let until_ms = until.as_ref().and_then(|until| wire::instant(&field("until"), until, violations));
        if until_ms.is_some_and(|until| until <= 0) {
            violations.add(field("until"), "must be after the year 1969");
        }
        if reason.trim().is_empty() {
            violations.add(field("reason"), "must say why it is let pass");
        }
        let reason = wire::prose(&field("reason"), reason, REASON_MAX, violations);
        read.push(Allowance { fingerprint: bytes, until_ms, reason: reason.unwrap_or_default() });
    }
    read.sort_unstable_by_key(|allowance| allowance.fingerprint);
    Some(read)
}
