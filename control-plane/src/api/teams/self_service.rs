//! What developers of a team may do for themselves, between wire and domain.

use prost_types::Duration;
use serde_json::{Value, json};
use tollgate_proto::admin::v1;

use super::super::{violations::Violations, wire};
use crate::store::self_service::SelfService;

/// The most keys that a team may allow to one developer.
const KEYS_MAX: i32 = 100;
/// How long a key may be allowed to live, in seconds: an hour to 366 days.
const KEY_LIFE_S: (u64, u64) = (3_600, 366 * 86_400);
/// How long a short-lived credential may be allowed to live, in seconds: 15 minutes to 12 hours.
pub(crate) const TOKEN_LIFE_S: (u64, u64) = (900, 12 * 3_600);

pub(super) fn read(wire: Option<&v1::SelfService>, violations: &mut Violations) -> Option<SelfService> {
    let v1::SelfService { keys_max, key_life_max, token_life_max, models } = wire?;
    let keys_max = u32::try_from(*keys_max).ok().filter(|_| (1..=KEYS_MAX).contains(keys_max));
    let keys_max = violations.take("self_service.keys_max", keys_max.ok_or("must be 1 to 100"));
    let key_life_max_s = key_life_max.as_ref().and_then(|life| {
        violations.take("self_service.key_life_max", within(life, KEY_LIFE_S).ok_or("must be an hour to 366 days"))
    });
    let token_life_max_s = token_life_max.as_ref().map_or(Some(TOKEN_LIFE_S.1), |life| {
        let life = within(life, TOKEN_LIFE_S).ok_or("must be 15 minutes to 12 hours");
        violations.take("self_service.token_life_max", life)
    });
    let models = wire::patterns("self_service.models", models, violations);
    Some(SelfService { keys_max: keys_max?, key_life_max_s, token_life_max_s: token_life_max_s?, models: models? })
}

pub(super) fn written(self_service: Option<&SelfService>) -> Option<v1::SelfService> {
    let SelfService { keys_max, key_life_max_s, token_life_max_s, models } = self_service?;
    Some(v1::SelfService {
        keys_max: i32::try_from(*keys_max).unwrap_or(i32::MAX),
        key_life_max: key_life_max_s.map(seconds),
        token_life_max: Some(seconds(*token_life_max_s)),
        models: models.clone(),
    })
}

pub(super) fn field_of(self_service: Option<&SelfService>) -> Value {
    let Some(SelfService { keys_max, key_life_max_s, token_life_max_s, models }) = self_service else {
        return Value::Null;
    };
    json!({
        "keys_max": keys_max,
        "key_life_max_s": key_life_max_s,
        "token_life_max_s": token_life_max_s,
        "models": models,
    })
}

/// The whole seconds of a duration, when there are as many as is allowed.
pub(crate) fn within(life: &Duration, (least, most): (u64, u64)) -> Option<u64> {
    u64::try_from(life.seconds).ok().filter(|seconds| life.nanos == 0 && (least..=most).contains(seconds))
}

fn seconds(seconds: u64) -> Duration {
    Duration { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}
