//! What the developers of a team may do for themselves: options, and how it is shown.

use clap::Args;
use prost_types::Duration;
use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{
    access::SelfService,
    failure::Failure,
    literals::{life, pattern},
};

/// What developers may do for themselves; what is not given stays as it is.
#[derive(Args, Debug, Default)]
pub(crate) struct SelfServiceArguments {
    /// Let developers create keys for themselves, each so many: 1 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    self_service_keys: Option<i32>,
    /// How long such a key may live: an hour to 366 days [default: for ever]
    #[arg(long, value_name = "DURATION", value_parser = life)]
    self_service_key_life: Option<Duration>,
    /// How long a short-lived credential may live: 15 minutes to 12 hours [default: 12h]
    #[arg(long, value_name = "DURATION", value_parser = life)]
    self_service_token_life: Option<Duration>,
    /// A model that such a key may ask for, as key create --model [may be repeated; none: every model]
    #[arg(long = "self-service-model", value_name = "PATTERN", value_parser = pattern)]
    self_service_models: Vec<String>,
}

/// What developers may from now on do for themselves.
#[derive(Args, Debug, Default)]
pub(crate) struct SelfServiceChange {
    #[command(flatten)]
    given: SelfServiceArguments,
    /// Let developers do nothing for themselves
    #[arg(
        long,
        conflicts_with_all = ["self_service_keys", "self_service_key_life", "self_service_token_life", "self_service_models"]
    )]
    no_self_service: bool,
}

/// What developers may do for themselves, as it is shown.
#[derive(Serialize)]
pub(super) struct SelfServiceView {
    keys: i32,
    key_life: Option<String>,
    token_life: String,
    models: Vec<String>,
}

impl SelfServiceArguments {
    fn is_empty(&self) -> bool {
        let Self { self_service_keys, self_service_key_life, self_service_token_life, self_service_models } = self;
        self_service_keys.is_none()
            && self_service_key_life.is_none()
            && self_service_token_life.is_none()
            && self_service_models.is_empty()
    }

    /// The wire form, on top of what the team has.
    pub(super) fn wire(self, held: Option<v1::SelfService>) -> Result<Option<v1::SelfService>, Failure> {
        if self.is_empty() {
            return Ok(held);
        }
        let Self { self_service_keys, self_service_key_life, self_service_token_life, self_service_models } = self;
        let held = held.unwrap_or_default();
        let keys_max = self_service_keys.unwrap_or(held.keys_max);
        if keys_max == 0 {
            return Err(Failure::usage("--self-service-keys must say how many keys a developer may have"));
        }
        Ok(Some(v1::SelfService {
            keys_max,
            key_life_max: self_service_key_life.or(held.key_life_max),
            token_life_max: self_service_token_life.or(held.token_life_max),
            models: if self_service_models.is_empty() { held.models } else { self_service_models },
        }))
    }
}

impl SelfServiceChange {
    /// Whether it changes anything.
    pub(super) fn is_given(&self) -> bool {
        self.no_self_service || !self.given.is_empty()
    }

    /// The wire form, on top of what the team has.
    pub(super) fn wire(self, held: Option<v1::SelfService>) -> Result<Option<v1::SelfService>, Failure> {
        if self.no_self_service { Ok(None) } else { self.given.wire(held) }
    }
}

impl SelfServiceView {
    pub(super) fn new(wire: v1::SelfService) -> Self {
        let held = SelfService::new(wire);
        Self {
            keys: held.keys(),
            key_life: held.key_life(),
            token_life: held.token_life(),
            models: held.models().to_vec(),
        }
    }

    /// How people read it.
    pub(super) fn line(&self) -> String {
        let Self { keys, key_life, token_life, models } = self;
        let plural = if *keys == 1 { "" } else { "s" };
        let key_life = key_life.as_ref().map(|life| format!(" for {life}")).unwrap_or_default();
        let models = if models.is_empty() { String::new() } else { format!(", models {}", models.join(" ")) };
        format!("{keys} key{plural}{key_life}, credentials for {token_life}{models}")
    }
}
