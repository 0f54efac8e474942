//! What the developers of a team may do for themselves: the column `self_service`.

use serde::{Deserialize, Serialize};

use super::StoreError;

/// What the developers of a team may do for themselves.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SelfService {
    /// The most keys that one developer may have in the team.
    pub keys_max: u32,
    /// How long their keys may live, in seconds; `None`: for ever.
    pub key_life_max_s: Option<u64>,
    /// How long their short-lived credentials may live, in seconds.
    pub token_life_max_s: u64,
    /// The models that their keys may ask for, as patterns; empty: every model.
    pub models: Vec<String>,
}

pub(super) fn text(given: Option<&SelfService>) -> Result<Option<String>, StoreError> {
    let write = |given| serde_json::to_string(given).map_err(|error| StoreError::corrupt("self_service", error));
    given.map(write).transpose()
}

pub(super) fn read(text: &str) -> Result<SelfService, serde_json::Error> {
    serde_json::from_str(text)
}
