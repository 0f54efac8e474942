//! Room 5: where the request goes, the money that is held for it, and the note in the spool that it went. No byte reaches a
//! provider without these three; each further attempt comes back here for its own.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;
use tollgate_policy::{
    decide::{Granted as Grant, Target},
    hold::Hold,
    id::CredentialId,
    money::NanoUsd,
    price::Extent,
    refusal::{Refusal, RefusalKind},
    snapshot::Provider,
};

use super::{
    Gate,
    authorize::Granted,
    parse::Outgoing,
    route::Operation,
    ticket::{AttemptResult, Attempted, Ticket, Verdict},
};
use crate::{
    current::{Current, Secret},
    spool::Intent,
    upstream::{
        choice::{self, Candidate},
        rest::Rests,
    },
    visits::Registration,
};

/// The most attempts of one request. More would only make the client wait: it retries by itself.
pub(crate) const ATTEMPTS_MAX: usize = 4;

/// A visit for which money is held.
pub(super) struct Held {
    pub(super) ticket: Box<Ticket>,
    pub(super) registration: Registration,
    pub(super) request: Outgoing,
    pub(super) attempt: Attempt,
    pub(super) journey: Journey,
}

/// One attempt: where to, with which credential, and the money that is held for it. Only this room makes one.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) provider: Arc<Provider>,
    pub(super) secret: Secret,
    pub(super) credential: CredentialId,
    pub(super) hold: Hold,
}

/// Where a request may still go.
pub(super) struct Journey {
    current: Arc<Current>,
    grant: Grant,
    // Requests of one session have one seed, and so one credential.
    seed: u64,
    tried: Vec<CredentialId>,
    extent: Extent,
}

/// Reserves the first attempt.
pub(super) async fn reserve(gate: &Gate, granted: Granted) -> Verdict<Held> {
    let Granted { mut ticket, current, registration, grant, request, max_tokens } = granted;
    let extent = Extent {
        body_bytes: request.body.len() as u64,
        context_window: 0,
        output_tokens_max: max_tokens.unwrap_or_default(),
    };
    let seed = match ticket.attribution.as_ref().map(|attribution| &*attribution.session) {
        Some(session) if !session.is_empty() => choice::seed(session),
        _ => gate.seeds.fetch_add(1, Ordering::Relaxed),
    };
    let mut journey = Journey { current, grant, seed, tried: Vec::new(), extent };
    match journey.next(gate, &mut ticket).await {
        Ok(Some(attempt)) => Ok(Held { ticket, registration, request, attempt, journey }),
        Ok(None) => Err(ticket.refuse(Refusal::new(
            RefusalKind::NotReady,
            "This Tollgate replica does not have the provider's credential yet. Try again in a few seconds.",
        ))),
        Err(refusal) => Err(ticket.refuse(refusal)),
    }
}

// === impl Journey ===

impl Journey {
    /// Whether there is somewhere else to go: only then is it worth keeping a copy of the request's headers.
    pub(super) fn goes_on(&self) -> bool {
        self.tried.len() < ATTEMPTS_MAX && self.targets().any(|(_, mut candidates)| candidates.next().is_some())
    }

    /// Reserves the next attempt; `None`: there is nowhere left to go.
    ///
    /// # Errors
    /// Refuses when the spool cannot take the intent.
    pub(super) async fn next(&mut self, gate: &Gate, ticket: &mut Ticket) -> Result<Option<Attempt>, Refusal> {
        if self.tried.len() >= ATTEMPTS_MAX {
            return Ok(None);
        }
        let Some((target, credential, secret)) = self.choose(gate.upstream.rests()) else { return Ok(None) };
        let (target, credential, secret) = (target.clone(), credential.clone(), secret.clone());
        self.tried.push(credential.clone());
        gate.upstream.rests().take(&credential, Instant::now());
        // What the attempt before held goes back: a provider that turned a request away charges nothing for it.
        if let Some(hold) = ticket.hold.take() {
            let _ = hold.settle(NanoUsd::ZERO);
        }
        let hold = self.hold(&target, ticket.operation);
        intend(gate, ticket, &target, &credential, &hold).await?;
        ticket.attempt(Attempted {
            provider: target.provider.id.clone(),
            provider_name: Arc::clone(&target.provider.name),
            credential: credential.clone(),
            model: target.model,
            result: AttemptResult::Unanswered,
        });
        Ok(Some(Attempt { provider: target.provider, secret, credential, hold }))
    }

    // The first target, in the order of policy, that has a credential awake. When all rest, a first attempt takes the one
    // that wakes first; a further attempt does not: the answer that is at hand is as good.
    fn choose(&self, rests: &Rests) -> Option<(&Target, &CredentialId, &Secret)> {
        let now = Instant::now();
        let awake = self.targets().find_map(|(target, candidates)| {
            choice::choose(candidates, self.seed, rests, now).map(|credential| (target, credential))
        });
        let chosen = awake.or_else(|| {
            if !self.tried.is_empty() {
                return None;
            }
            let waking = self.targets().filter_map(|(target, candidates)| {
                choice::first_to_wake(candidates, rests, now).map(|(until, credential)| (until, target, credential))
            });
            waking.min_by_key(|(until, ..)| *until).map(|(_, target, credential)| (target, credential))
        });
        let (target, credential) = chosen?;
        Some((target, credential, self.current.secrets.get(credential)?))
    }

    // The targets, each with its credentials that were not tried and whose secret is here.
    fn targets(&self) -> impl Iterator<Item = (&Target, impl Iterator<Item = Candidate<'_>>)> {
        self.grant.targets().iter().map(|target| {
            let candidates = target.credentials.iter().filter_map(|id| {
                let usable = !self.tried.contains(id) && self.current.secrets.contains_key(id);
                let weight = target.provider.credentials.iter().find(|credential| credential.id == *id)?.weight;
                usable.then_some(Candidate { id, weight })
            });
            (target, candidates)
        })
    }

    // The worst case. Counting tokens costs nothing, and a model without a price has no worst case that could be named.
    fn hold(&self, target: &Target, operation: Operation) -> Hold {
        let Some(model) = target.model.as_ref().filter(|_| operation == Operation::Messages) else {
            return Hold::unbudgeted(NanoUsd::ZERO);
        };
        let output_tokens_max = match (self.extent.output_tokens_max, model.output_max) {
            (0, most) | (most, 0) => most,
            (asked, most) => asked.min(most),
        };
        let extent = Extent { context_window: model.context_window, output_tokens_max, ..self.extent };
        Hold::unbudgeted(model.price.as_ref().map_or(NanoUsd::ZERO, |price| price.bound(&extent)))
    }
}

// Writes down what is about to be sent. A later attempt of the same visit takes the place of the earlier one's note.
async fn intend(
    gate: &Gate,
    ticket: &mut Ticket,
    target: &Target,
    credential: &CredentialId,
    hold: &Hold,
) -> Result<(), Refusal> {
    let Some(attribution) = ticket.attribution.clone() else {
        return Err(Refusal::new(RefusalKind::Unauthenticated, "The request lost its key. Send it again."));
    };
    let visit = *ticket.intent.get_or_insert_with(|| gate.visits.fetch_add(1, Ordering::Relaxed));
    let intent = Intent {
        visit,
        request_id: Arc::clone(&ticket.request_id),
        arrived: ticket.arrived,
        attribution,
        operation: gate.words.operation(ticket.operation),
        model: Arc::clone(&ticket.model),
        provider: Some(target.provider.id.clone()),
        credential: Some(credential.clone()),
        hold: hold.amount(),
        unpriced: target.model.as_ref().is_none_or(|model| model.price.is_none()),
        revision: ticket.revision,
    };
    let written = match gate.spool.intent(&intent) {
        Ok(ticketed) => gate.spool.durable(ticketed).await,
        Err(backlog) => {
            // The note of an earlier attempt is still there; without one there is nothing to take back.
            ticket.intent = ticket.intent.filter(|_| ticket.attempt.is_some());
            Err(backlog)
        }
    };
    written.map_err(|_| {
        Refusal::new(
            RefusalKind::Backlog,
            "This Tollgate replica cannot note more requests until its reports are received. Try again in a few seconds.",
        )
    })
}
