//! Room 5: where the request goes, the money that is held for it, and the note in the spool that it went. No byte reaches a
//! provider without these three; each further attempt comes back here for its own.

use std::sync::{Arc, atomic::Ordering};

use tokio::time::Instant;
use tollgate_dialect::{Weight, anthropic};
use tollgate_policy::{
    decide::{Caller, Granted as Grant, Target},
    id::CredentialId,
    lease::Hold,
    money::NanoUsd,
    price::{Extent, Price},
    refusal::{Refusal, RefusalKind},
    snapshot::{AuditMode, Model, Provider},
};

use super::{
    Gate,
    authorize::Granted,
    fund::{Funded, Owed, Turned, Worst},
    pace,
    parse::Outgoing,
    route::Operation,
    ticket::{AttemptResult, Attempted, Running, Ticket, Verdict},
};
use crate::{
    current::{Current, Secret},
    evidence::Applied,
    refuse::Detail,
    spool::{Durability, Intent},
    upstream::{
        choice::{self, Candidate},
        rest::Rests,
    },
    visits::Registration,
};

/// The most attempts of one request. More would only make the client wait: it retries by itself.
pub(crate) const ATTEMPTS_MAX: usize = 4;

/// So many tokens of output are held ahead of what has passed, where a stream is held step by step.
pub(crate) const OUTPUT_SLICE_TOKENS: u64 = 2_048;

/// A visit for which money is held. The hold is in the ticket: wherever that ends, it is settled.
pub(super) struct Held {
    pub(super) ticket: Box<Ticket>,
    pub(super) registration: Registration,
    pub(super) request: Outgoing,
    pub(super) attempt: Attempt,
    pub(super) journey: Journey,
}

/// One attempt: where to, with which credential. Only this room makes one, once money is held for it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) provider: Arc<Provider>,
    pub(super) secret: Secret,
    pub(super) credential: CredentialId,
}

/// Where a request may still go.
pub(super) struct Journey {
    current: Arc<Current>,
    caller: Caller,
    grant: Grant,
    // Requests of one session have one seed, and so one credential.
    seed: u64,
    tried: Vec<CredentialId>,
    weight: Weight,
}

/// Reserves the first attempt.
pub(super) async fn reserve(gate: &Gate, granted: Granted) -> Verdict<Held> {
    let Granted { mut ticket, current, registration, caller, grant, request, weight } = granted;
    if ticket.operation == Operation::Messages
        && let Err((refusal, detail)) = pace::admit(gate, &current, &caller, &mut ticket, &weight, &request.body).await
    {
        return Err(ticket.refuse(refusal).with(detail));
    }
    let seed = match ticket.attribution.as_ref().map(|attribution| &*attribution.session) {
        Some(session) if !session.is_empty() => choice::seed(session),
        _ => gate.seeds.fetch_add(1, Ordering::Relaxed),
    };
    let mut journey = Journey { current, caller, grant, seed, tried: Vec::new(), weight };
    match journey.next(gate, &mut ticket).await {
        Ok(Some(attempt)) => Ok(Held { ticket, registration, request, attempt, journey }),
        Ok(None) => Err(ticket.refuse(Refusal::new(
            RefusalKind::NotReady,
            "This Tollgate replica does not have the provider's credential yet. Try again in a few seconds.",
        ))),
        Err((refusal, detail)) => Err(ticket.refuse(refusal).with(detail)),
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
    /// Refuses when a budget cannot pay for it, or the spool cannot take the intent where there must be one.
    pub(super) async fn next(&mut self, gate: &Gate, ticket: &mut Ticket) -> Result<Option<Attempt>, Turned> {
        if self.tried.len() >= ATTEMPTS_MAX {
            return Ok(None);
        }
        let Some((target, credential, secret)) = self.choose(gate.upstream.rests()) else { return Ok(None) };
        let (target, credential, secret) = (target.clone(), credential.clone(), secret.clone());
        self.tried.push(credential.clone());
        gate.upstream.rests().take(&credential, Instant::now());
        // What the attempt before held goes back: a provider that turned a request away charges nothing for it.
        if let Some(hold) = ticket.hold.take() {
            gate.funds.end(hold, NanoUsd::ZERO);
        }
        ticket.times.sent = None;
        self.hold(gate, ticket, &target).await?;
        intend(gate, ticket, &target, &credential, self.caller.key().audit).await?;
        ticket.attempt(Attempted {
            provider: target.provider.id.clone(),
            provider_name: Arc::clone(&target.provider.name),
            credential: credential.clone(),
            model: target.model,
            result: AttemptResult::Unanswered,
        });
        Ok(Some(Attempt { provider: target.provider, secret, credential }))
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

    // Sets the worst case aside, in the ticket. Counting tokens costs nothing.
    async fn hold(&self, gate: &Gate, ticket: &mut Ticket, target: &Target) -> Result<(), Turned> {
        if ticket.operation != Operation::Messages {
            ticket.take_on(Hold::unbudgeted(NanoUsd::ZERO));
            return Ok(());
        }
        let owed = Owed::of(&self.current.snapshot, &self.caller, &ticket.model, &target.provider.id);
        let priced = target.model.as_deref().and_then(|model| Some((model, model.price?)));
        owed.ensure_bounded(&ticket.model, priced.is_some(), &self.weight)?;
        let Some((model, price)) = priced else {
            // Nothing is known of its cost; what soft budgets have to pay for it is nothing.
            ticket.circumstances.price = None;
            ticket.take_on(Hold::unbudgeted(NanoUsd::ZERO));
            return Ok(());
        };
        let price = price.at_percent(anthropic::price_percent(&self.weight, &model.name));
        let extent = extent(&self.weight, model);
        // What is held is noted again when it grows, which a strict spool would have to wait for in the middle of an answer.
        let followed = ticket.streamed
            && !self.weight.is_output_hidden
            && self.weight.samples <= 1
            && gate.spool.durability() != Durability::Strict;
        let Funded { hold, stepwise } = owed.hold(&gate.funds, worst(&price, &extent, followed)).await?;
        ticket.circumstances.charges = owed.charges(&hold);
        ticket.circumstances.price = target.model.clone().map(|model| Applied { model, price });
        ticket.used = owed.used(&gate.funds);
        let cut = if stepwise { owed.cut() } else { Arc::default() };
        ticket.running = Some(Running { price, extent, stepwise, cut });
        ticket.take_on(hold);
        Ok(())
    }
}

// What bounds the cost of the request at a model.
fn extent(weight: &Weight, model: &Model) -> Extent {
    Extent {
        body_bytes: weight.text_bytes,
        hidden_tokens: weight.hidden_tokens,
        is_unresolvable: weight.is_unresolvable,
        samples: weight.samples,
        web_searches: weight.web_searches,
        cache_write_5m: weight.cache_write_5m,
        cache_write_1h: weight.cache_write_1h,
        context_window: model.context_window,
        output_tokens_max: match (weight.output_tokens.unwrap_or_default(), model.output_max) {
            (0, most) | (most, 0) => most,
            (asked, most) => asked.min(most),
        },
    }
}

// The most that an attempt can cost; for a stream whose every token of output is seen as it passes, also until its first
// slice has passed.
fn worst(price: &Price, extent: &Extent, followed: bool) -> Worst {
    let slice = extent.output_tokens_once().min(OUTPUT_SLICE_TOKENS);
    let first = followed.then(|| price.bound_input(extent).plus(price.output(slice)));
    Worst { whole: price.bound(extent), first }
}

// Writes down what is about to be sent. A later attempt of the same visit takes the place of the earlier one's note.
async fn intend(
    gate: &Gate,
    ticket: &mut Ticket,
    target: &Target,
    credential: &CredentialId,
    audit: AuditMode,
) -> Result<(), Turned> {
    let Some(attribution) = ticket.attribution.clone() else {
        let lost = Refusal::new(RefusalKind::Unauthenticated, "The request lost its key. Send it again.");
        return Err((lost, Detail::None));
    };
    let visit = ticket.intent.unwrap_or_else(|| gate.visits.fetch_add(1, Ordering::Relaxed));
    let intent = Intent {
        visit,
        request_id: Arc::clone(&ticket.request_id),
        arrived: ticket.arrived,
        attribution,
        operation: gate.words.operation(ticket.operation),
        model: Arc::clone(&ticket.model),
        provider: Some(target.provider.id.clone()),
        credential: Some(credential.clone()),
        hold: ticket.hold.as_ref().map_or(NanoUsd::ZERO, Hold::amount),
        charges: Arc::clone(&ticket.circumstances.charges),
        unpriced: target.model.as_ref().is_none_or(|model| model.price.is_none()),
        revision: ticket.revision,
        circumstances: ticket.circumstances.clone(),
    };
    let is_held = ticket.hold.as_ref().is_some_and(|hold| !hold.accounts().is_empty());
    ticket.noted = is_held.then(|| Box::new(intent.clone()));
    let written = match gate.spool.intent(&intent) {
        Ok(ticketed) => {
            ticket.intent = Some(visit);
            gate.spool.durable(ticketed).await
        }
        // The note of an earlier attempt is still there, if there is one.
        Err(backlog) => Err(backlog),
    };
    let Err(backlog) = written else { return Ok(()) };
    // Not where a budget pays for it, a soft one neither: what nobody noted would never be charged.
    if audit == AuditMode::BestEffort && !is_held && intent.charges.is_empty() {
        tracing::debug!(request_id = &*ticket.request_id, %backlog, "visit goes on without a note of it");
        return Ok(());
    }
    let full = Refusal::new(
        RefusalKind::Backlog,
        "This Tollgate replica cannot note more requests until its reports are received. Try again in a few seconds.",
    );
    Err((full, Detail::None))
}
