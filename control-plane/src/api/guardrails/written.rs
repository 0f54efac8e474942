//! A guardrail as the log and the wire have it.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_audit::Fields;
use tollgate_policy::{
    guardrail::{Direction, Expression, RuleSource},
    id::{CustomerId, TeamId},
};
use tollgate_proto::admin::v1;

use super::super::wire;
use crate::store::guardrails::{Allowance, Guardrail, Owners, kind};

/// The guardrail as the log may show it. Of a rule file, which is longer than an entry may be, it shows the hash.
pub(super) fn fields_of(guardrail: &Guardrail) -> Fields {
    let v1::Guardrail {
        id: _,
        name,
        disabled,
        kind,
        builtin,
        rule_file,
        expressions,
        words,
        rules,
        on,
        action,
        shadow,
        customers,
        teams,
        keys,
        models,
        allowed: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = written(guardrail);
    let expression = |v1::Expression { id, regex }: &v1::Expression| json!({ "id": id, "regex": regex });
    let hash = |text: &str| match text {
        "" => Value::Null,
        text => json!(format!("sha256:{}", hex::encode(Sha256::digest(text)))),
    };
    let allowance = |Allowance { fingerprint, until_ms, reason }: &Allowance| json!({ "fingerprint": hex::encode(fingerprint), "until_ms": until_ms, "reason": reason });
    wire::fields([
        ("name", json!(name)),
        ("disabled", json!(disabled)),
        ("kind", json!(kind)),
        ("builtin", json!(builtin)),
        ("rule_file", hash(&rule_file)),
        ("expressions", expressions.iter().map(expression).collect()),
        ("words", json!(words)),
        ("rules", json!(rules)),
        ("on", json!(on)),
        ("action", json!(action)),
        ("shadow", json!(shadow)),
        ("customers", json!(customers)),
        ("teams", json!(teams)),
        ("keys", json!(keys)),
        ("models", json!(models)),
        ("allowed", guardrail.allowed.iter().map(allowance).collect()),
    ])
}

/// The guardrail on the wire.
pub(super) fn written(guardrail: &Guardrail) -> v1::Guardrail {
    let Guardrail {
        id,
        name,
        disabled,
        source,
        rules,
        directions,
        action,
        shadow,
        owners: Owners { customers, teams },
        keys,
        models,
        allowed,
        stamp,
    } = guardrail;
    let on = Direction::ALL.into_iter().filter(|direction| directions.has(*direction));
    let bare = v1::Guardrail {
        id: id.to_string(),
        name: name.to_string(),
        disabled: *disabled,
        kind: kind(source).to_owned(),
        rules: rules.clone(),
        on: on.map(|direction| direction.word().to_owned()).collect(),
        action: action.word().to_owned(),
        shadow: *shadow,
        customers: customers.iter().map(CustomerId::to_string).collect(),
        teams: teams.iter().map(TeamId::to_string).collect(),
        keys: keys.clone(),
        models: models.clone(),
        allowed: allowed.iter().map(allowed_finding).collect(),
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
        ..v1::Guardrail::default()
    };
    match source {
        RuleSource::Secrets { builtin, file } => {
            v1::Guardrail { builtin: Some(*builtin), rule_file: file.as_deref().unwrap_or_default().to_owned(), ..bare }
        }
        RuleSource::Expressions(expressions) => {
            let expression =
                |Expression { id, regex }: &Expression| v1::Expression { id: id.to_string(), regex: regex.to_string() };
            v1::Guardrail { expressions: expressions.iter().map(expression).collect(), ..bare }
        }
        RuleSource::Words(words) => v1::Guardrail { words: words.iter().map(ToString::to_string).collect(), ..bare },
    }
}

fn allowed_finding(allowance: &Allowance) -> v1::AllowedFinding {
    let Allowance { fingerprint, until_ms, reason } = allowance;
    v1::AllowedFinding {
        fingerprint: hex::encode(fingerprint),
        until: until_ms.map(wire::timestamp),
        reason: reason.clone(),
    }
}
