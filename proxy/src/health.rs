//! What is known of how well providers answer: which of them and of their credentials rest, and how soon answers begin.

pub(crate) mod rest;
pub(crate) mod latency;

use tokio::time::Instant;
use tollgate_policy::id::{CredentialId, ProviderId};

use self::{
    latency::Latencies,
    rest::{Breakers, Rest, Rests},
};

/// How well providers answer, as this replica has seen it.
#[derive(Debug, Default)]
pub struct Health {
    credentials: Rests<CredentialId>,
    providers: Breakers<ProviderId>,
    latencies: Latencies,
}

/// Something that this replica leaves alone, in the words of operators.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resting {
    /// The id of the credential or the provider.
    pub id: String,
    /// Why.
    pub cause: &'static str,
    /// For how much longer, in milliseconds; 0: one request tries it.
    pub left_ms: u64,
}

impl Health {
    /// The credentials that rest.
    #[must_use]
    pub(crate) const fn credentials(&self) -> &Rests<CredentialId> {
        &self.credentials
    }

    /// The providers that fail.
    #[must_use]
    pub(crate) const fn providers(&self) -> &Breakers<ProviderId> {
        &self.providers
    }

    /// How soon answers begin.
    #[must_use]
    pub(crate) const fn latencies(&self) -> &Latencies {
        &self.latencies
    }

    /// All that is left alone.
    #[must_use]
    pub fn resting(&self) -> Vec<Resting> {
        let now = Instant::now();
        let credentials = self.credentials.all().into_iter().map(|(id, rest)| (id.to_string(), rest));
        let providers = self.providers.rests().all().into_iter().map(|(id, rest)| (id.to_string(), rest));
        let resting = |(id, rest): (String, Rest)| {
            let left = rest.until.saturating_duration_since(now).as_millis();
            Resting { id, cause: rest.cause.word(), left_ms: u64::try_from(left).unwrap_or(u64::MAX) }
        };
        credentials.chain(providers).map(resting).collect()
    }
}
