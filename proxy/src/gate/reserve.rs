//! Room 6: where the request goes, the money that is held for it, and the note in the spool that it went. No byte reaches a
//! provider without these three; each further attempt comes back here for its own.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;
use tollgate_dialect::{Weight, anthropic, hub::weigh};
use tollgate_policy::{
    decide::{Caller, Granted as Grant, Target},
    id::{CredentialId, ProviderId},
    lease::Hold,
    money::NanoUsd,
    price::{Extent, Price},
    provider::Dialect,
    refusal::{Refusal, RefusalKind},
    route::{Balance, Condition, Conditions},
    snapshot::{AuditMode, Model, Provider},
};

use super::{
    Gate,
    authorize::Granted,
    fund::{Funded, Owed, Turned, Worst},
    inspect::{Cleared, Guarding},
    pace,
    parse::Outgoing,
    route::Operation,
    ticket::{AttemptResult, Attempted, Running, Ticket, Verdict},
};
use crate::{
    current::{Current, Secret},
    evidence::Applied,
    health::{Health, latency::Place},
    refuse::Detail,
    spool::{Durability, Intent},
    upstream::choice::{self, Candidate},
    visits::Registration,
};

/// The most attempts of one request. More would only make the client wait: it retries by itself.
pub(crate) const ATTEMPTS_MAX: usize = 4;

/// So many tokens of output are held ahead of what has passed, where a stream is held step by step.
pub(crate) const OUTPUT_SLICE_TOKENS: u64 = 2_048;

/// A visit for which money is held. The hold is in the ticket: wherever that ends, it is settled. Only [`reserve`] makes one.
pub(super) struct Held(Parts);

/// The parts of a visit for which money is held.
pub(super) struct Parts {
    pub(super) ticket: Box<Ticket>,
    pub(super) registration: Registration,
    pub(super) request: Outgoing,
    pub(super) guarding: Guarding,
    pub(super) attempt: Attempt,
    pub(super) journey: Journey,
}

/// One attempt: where to, with which credential. Only this room makes one, once money is held for it.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) provider: Arc<Provider>,
    /// The model, as the provider names it.
    pub(super) name: Arc<str>,
    /// The most tokens of output that the model gives; 0: nobody knows.
    pub(super) output_max: u64,
    pub(super) secret: Secret,
    pub(super) credential: CredentialId,
}

/// After what a request goes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum After {
    /// Nothing: it is the first attempt.
    Arrival,
    /// The attempt before failed.
    Failure(Condition),
    /// The attempt before has not begun to answer yet, and goes on.
    Silence,
}

/// Where a request may still go.
pub(super) struct Journey {
    current: Arc<Current>,
    caller: Caller,
    grant: Grant,
    // Requests of one session have one seed, and so one credential.
    seed: u64,
    has_session: bool,
    // With which credential which model was asked for.
    tried: Vec<(CredentialId, Arc<str>)>,
    // The tier and the provider of the last attempt.
    tier: usize,
    provider: Option<ProviderId>,
    // Only providers of these dialects can be asked.
    only: Option<&'static [Dialect]>,
    weight: Weight,
}

/// Reserves the first attempt.
pub(super) async fn reserve(gate: &Gate, cleared: Cleared) -> Verdict<Held> {
    let (Granted { mut ticket, current, registration, caller, grant, request, weight }, guarding) = cleared.leave();
    if ticket.operation.is_answered()
        && let Err((refusal, detail)) = pace::admit(gate, &current, &caller, &mut ticket, &weight, &request).await
    {
        return Err(ticket.refuse(refusal).with(detail));
    }
    let session = ticket.attribution.as_ref().map(|attribution| &*attribution.session).filter(|it| !it.is_empty());
    let has_session = session.is_some();
    let seed = session.map_or_else(|| gate.seeds.fetch_add(1, Ordering::Relaxed), choice::seed);
    let only = ticket.operation.asks_only();
    let first = grant.targets().iter().find(|target| only.is_none_or(|only| only.contains(&target.provider.dialect)));
    let tier = first.map_or(0, |target| target.tier);
    let mut journey =
        Journey { current, caller, grant, seed, has_session, tried: Vec::new(), tier, provider: None, only, weight };
    match journey.next(gate, &mut ticket, After::Arrival).await {
        Ok(Some(attempt)) => Ok(Held(Parts { ticket, registration, request, guarding, attempt, journey })),
        Ok(None) => Err(ticket.refuse(Refusal::new(
            RefusalKind::NotReady,
            "This Tollgate replica does not have the provider's credential yet. Try again in a few seconds.",
        ))),
        Err((refusal, detail)) => Err(ticket.refuse(refusal).with(detail)),
    }
}

impl Held {
    /// Takes the visit apart, to send it.
    pub(super) fn leave(self) -> Parts {
        self.0
    }
}

// === impl Journey ===

impl Journey {
    /// Whether there is somewhere else to go: only then is it worth keeping a copy of the request's headers.
    pub(super) fn goes_on(&self) -> bool {
        let has_candidate = |target| self.candidates(target).next().is_some();
        self.tried.len() < ATTEMPTS_MAX && self.grant.targets().iter().any(has_candidate)
    }

    /// Whether there is somewhere else to go after such a failure.
    pub(super) fn goes_on_after(&self, condition: Condition) -> bool {
        self.may_go(After::Failure(condition))
    }

    /// Whether there is somewhere else to go beside the last attempt.
    pub(super) fn goes_on_beside(&self) -> bool {
        self.may_go(After::Silence)
    }

    fn may_go(&self, after: After) -> bool {
        let mut targets = self.grant.targets().iter().filter(|target| self.may_follow(target, after));
        self.tried.len() < ATTEMPTS_MAX && targets.any(|target| self.candidates(target).next().is_some())
    }

    /// After how long another provider is asked beside the first; `None`: never.
    pub(super) fn hedge_after(&self) -> Option<Duration> {
        self.grant.route().and_then(|route| route.hedge_after)
    }

    /// How long an attempt may take until its answer begins; `None`: as the replica is configured.
    pub(super) fn first_byte_timeout(&self) -> Option<Duration> {
        self.grant.route().and_then(|route| route.first_byte_timeout)
    }

    /// Remembers how soon an answer began.
    pub(super) fn answered(&self, health: &Health, place: Place, took: Duration) {
        if self.balance() == Balance::Latency {
            health.latencies().see(&place, took, Instant::now());
            if self.has_session {
                health.latencies().settle(self.seed, place);
            }
        }
    }

    fn balance(&self) -> Balance {
        self.grant.route().map(|route| route.balance).unwrap_or_default()
    }

    /// Whether a request that cannot be expressed whole is refused.
    pub(super) fn is_strict(&self) -> bool {
        self.grant.route().is_some_and(|route| route.strict)
    }

    /// Reserves the next attempt; `None`: there is nowhere left to go.
    ///
    /// # Errors
    /// Refuses when a budget cannot pay for it, or the spool cannot take the intent where there must be one.
    pub(super) async fn next(
        &mut self,
        gate: &Gate,
        ticket: &mut Ticket,
        after: After,
    ) -> Result<Option<Attempt>, Turned> {
        if self.tried.len() >= ATTEMPTS_MAX {
            return Ok(None);
        }
        let Some((target, credential, secret)) = self.choose(gate.upstream.health(), after) else { return Ok(None) };
        let (target, credential, secret) = (target.clone(), credential.clone(), secret.clone());
        // Who did not answer in time may yet carry the request out: nobody will know, and so it costs what it held. Without a place
        // where that is settled by itself, no other attempt is made.
        if after == After::Failure(Condition::Timeout) {
            let Some(place) = gate.door.place() else { return Ok(None) };
            ticket.give_up(place);
        }
        // Who turned it away charges nothing for it: what the attempt before held goes back.
        if let Some(hold) = ticket.hold.take() {
            gate.funds.end(hold, NanoUsd::ZERO);
        }
        self.tried.push((credential.clone(), Arc::clone(&target.name)));
        self.tier = target.tier;
        self.provider = Some(target.provider.id.clone());
        let now = Instant::now();
        gate.upstream.health().credentials().take(&credential, now);
        gate.upstream.health().providers().rests().take(&target.provider.id, now);
        let output_max = target.model.as_ref().map_or(0, |model| model.output_max);
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
        Ok(Some(Attempt { provider: target.provider, name: target.name, output_max, secret, credential }))
    }

    // The first target, in the order of policy, that has a credential awake. When all rest, a first attempt takes the one
    // that wakes first; a further attempt does not: the answer that is at hand is as good.
    fn choose(&self, health: &Health, after: After) -> Option<(&Target, &CredentialId, &Secret)> {
        let now = Instant::now();
        let targets = self.reachable(health, after);
        let awake = targets.iter().find_map(|target| {
            choice::choose(self.candidates(target), self.seed, health, now).map(|credential| (*target, credential))
        });
        let chosen = awake.or_else(|| {
            if !self.tried.is_empty() {
                return None;
            }
            let waking = targets.iter().filter_map(|target| {
                choice::first_to_wake(self.candidates(target), health, now)
                    .map(|(until, credential)| (until, *target, credential))
            });
            waking.min_by_key(|(until, ..)| *until).map(|(_, target, credential)| (target, credential))
        });
        let (target, credential) = chosen?;
        Some((target, credential, self.current.secrets.get(credential)?))
    }

    // The targets that may be tried now, tier by tier; within one, in the order that the session draws by their weights. After a
    // failure the rest of the tier is tried, and the later tiers that are there for such a failure.
    fn reachable(&self, health: &Health, after: After) -> Vec<&Target> {
        let mut targets: Vec<&Target> =
            self.grant.targets().iter().filter(|target| self.may_follow(target, after)).collect();
        for tier in targets.chunk_by_mut(|one, other| one.tier == other.tier) {
            let weighted = tier.iter().map(|target| (&*target.provider.name, target.weight, *target));
            let drawn = choice::ordered(weighted, self.seed);
            tier.copy_from_slice(&drawn);
            if self.balance() == Balance::Latency && tier.len() > 1 {
                self.soonest_first(health, tier);
            }
        }
        targets
    }

    // By how soon answers are expected to begin; what is equal stays in the order that was drawn. A session goes first where it
    // was answered last.
    fn soonest_first(&self, health: &Health, tier: &mut [&Target]) {
        let (now, latencies) = (Instant::now(), health.latencies());
        let own = if self.has_session { latencies.place_of(self.seed) } else { None };
        tier.sort_by_cached_key(|target| {
            let place: Place = (target.provider.id.clone(), Arc::clone(&target.name));
            let is_own = own.as_ref() == Some(&place);
            (!is_own, Duration::try_from_secs_f64(latencies.expected(&place, now)).unwrap_or_default())
        });
    }

    fn may_follow(&self, target: &Target, after: After) -> bool {
        // What rests has failed before, in one of the usual ways, or was late.
        let follows = match after {
            After::Failure(condition) => target.on.contain(condition),
            // Its rival is at another provider: where the first one is slow, another credential of it is.
            After::Silence => self.provider.as_ref() != Some(&target.provider.id),
            After::Arrival => {
                let mut usual = Conditions::default().iter().chain([Condition::Timeout]);
                usual.any(|usual| target.on.contain(usual))
            }
        };
        let speaks = self.only.is_none_or(|only| only.contains(&target.provider.dialect));
        // What may have been carried out, and what another credential cannot mend, is not repeated beside where it failed.
        let is_beside = target.tier == self.tier
            && match after {
                After::Failure(condition) => Conditions::default().contain(condition),
                After::Silence => follows,
                After::Arrival => true,
            };
        speaks && (is_beside || (target.tier > self.tier && follows))
    }

    // The credentials of a target that were not tried for it and whose secret is here.
    fn candidates<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = Candidate<'a>> {
        target.credentials.iter().filter_map(move |id| {
            let was_tried = self.tried.iter().any(|(credential, name)| credential == id && *name == target.name);
            let usable = !was_tried && self.current.secrets.contains_key(id);
            let weight = target.provider.credentials.iter().find(|credential| credential.id == *id)?.weight;
            usable.then_some(Candidate { id, provider: &target.provider.id, weight })
        })
    }

    // Sets the worst case aside, in the ticket. Counting tokens costs nothing.
    async fn hold(&self, gate: &Gate, ticket: &mut Ticket, target: &Target) -> Result<(), Turned> {
        if !ticket.operation.is_answered() {
            ticket.take_on(Hold::unbudgeted(NanoUsd::ZERO));
            return Ok(());
        }
        let owed = Owed::of(&self.current.snapshot, &self.caller, &ticket.model, Some(&target.provider.id));
        let priced = target.model.as_deref().and_then(|model| Some((model, model.price?)));
        owed.ensure_bounded(&ticket.model, priced.is_some(), &self.weight)?;
        let Some((model, price)) = priced else {
            // Nothing is known of its cost; what soft budgets have to pay for it is nothing.
            ticket.circumstances.price = None;
            ticket.take_on(Hold::unbudgeted(NanoUsd::ZERO));
            return Ok(());
        };
        let price = price.at_percent(anthropic::price_percent(&self.weight, &model.name));
        let mut extent = extent(&self.weight, model, target.provider.dialect);
        if ticket.operation == Operation::Embeddings {
            // Each input has the window for itself, and nothing is written: no output at all would mean an unknown one.
            (extent.context_window, extent.output_tokens_max) = (0, 1);
        }
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
fn extent(weight: &Weight, model: &Model, dialect: Dialect) -> Extent {
    // The dearest image of any provider, beside what the client's dialect has counted for it.
    let elsewhere = match dialect {
        Dialect::Anthropic | Dialect::BedrockInvoke | Dialect::VertexAnthropic => 0,
        _ => weight.images.saturating_mul(weigh::IMAGE_TOKENS).saturating_add(weigh::PROMPT_TOKENS),
    };
    Extent {
        body_bytes: weight.text_bytes,
        hidden_tokens: weight.hidden_tokens.saturating_add(elsewhere),
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
    let place = (Some(target.provider.id.clone()), Some(credential.clone()));
    let unpriced = target.model.as_ref().is_none_or(|model| model.price.is_none());
    note(gate, ticket, place, unpriced, audit).await
}

/// Writes down that a visit is about to leave for a provider, with which credential; or for a server of tools, which is neither.
///
/// # Errors
/// Refuses when it cannot be written down and must be.
pub(super) async fn note(
    gate: &Gate,
    ticket: &mut Ticket,
    (provider, credential): (Option<ProviderId>, Option<CredentialId>),
    unpriced: bool,
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
        provider,
        credential,
        hold: ticket.hold.as_ref().map_or(NanoUsd::ZERO, Hold::amount),
        charges: Arc::clone(&ticket.circumstances.charges),
        unpriced,
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
