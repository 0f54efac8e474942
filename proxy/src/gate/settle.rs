//! Room 9: every visit ends here, however it ended: its cost, one record, the metrics, one line in the log. Tickets send their
//! facts; one task takes them in batches, so that a batch is one write to the spool.
//!
//! [`unidentified`], visits whose key was not accepted.

mod unidentified;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::mpsc::{self, OwnedPermit},
    time::Instant,
};
use tollgate_dialect::Counters;
use tollgate_policy::{
    lease::Hold,
    money::NanoUsd,
    refusal::RefusalKind,
    usage::{Attribution, Outcome, Record, Tokens},
};
use tollgate_proto::usage::v1;

use self::unidentified::{Account, Pace};
use super::{
    pace::SessionBook,
    route::Operation,
    ticket::{AttemptResult, End, Facts, Running},
};
use crate::{
    funds::Funds,
    metrics::Metrics,
    spool::{Ended, Spool},
};

/// The most visits that are open or wait to be settled. A place is taken before a visit begins, so nothing is lost when the
/// queue is full: the visit is refused at the door. Far above what one replica serves at a time.
pub(crate) const VISITS_MAX: usize = 65_536;
/// The most visits that are settled in one write.
pub(crate) const BATCH_MAX: usize = 256;
/// How long the first of a batch waits for the others. The intents are on disk, so a replica that is killed in this time
/// reports these visits as uncertain.
pub(crate) const LINGER: Duration = Duration::from_millis(5);

/// So many tokens of output are charged beyond what was seen of a stream that broke off: about what a model generates while
/// the connection is taken down.
pub(crate) const BROKEN_OFF_TOKENS: u64 = 64;

/// The most tokens that a model writes in a second, twice what the fastest do: of an answer that broke off, nothing but the
/// time tells how much was written that nobody has read, in buffers on the way or where it is hidden.
pub(crate) const TOKENS_PER_SECOND: u64 = 400;

/// The door to the settler: gives out places.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    sender: mpsc::Sender<Facts>,
    ending: Arc<AtomicBool>,
}

/// Settles visits. There is one in a replica.
#[derive(Debug)]
pub(crate) struct Settler {
    receiver: mpsc::Receiver<Facts>,
    ending: Arc<AtomicBool>,
    spool: Spool,
    funds: Arc<Funds>,
    sessions: Arc<SessionBook>,
    metrics: Arc<Metrics>,
    words: Words,
    pace: Pace,
}

/// The words of records, made once.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    operations: [Arc<str>; Operation::ALL.len()],
    refusals: [Arc<str>; RefusalKind::ALL.len()],
}

/// A settled visit: what it came to.
pub(crate) struct Settled {
    pub(crate) outcome: Outcome,
    pub(crate) refusal: Option<RefusalKind>,
    pub(crate) tokens: Tokens,
    pub(crate) cost: NanoUsd,
    pub(crate) unpriced: bool,
}

/// Makes the queue.
#[must_use]
pub(crate) fn open(
    spool: Spool,
    funds: Arc<Funds>,
    sessions: Arc<SessionBook>,
    metrics: Arc<Metrics>,
) -> (Door, Settler) {
    let (sender, receiver) = mpsc::channel(VISITS_MAX);
    let ending = Arc::new(AtomicBool::new(false));
    let door = Door { sender, ending: Arc::clone(&ending) };
    let (words, pace) = (Words::default(), Pace::default());
    (door, Settler { receiver, ending, spool, funds, sessions, metrics, words, pace })
}

// === impl Door ===

impl Door {
    /// Takes a place; `None`: there is none, or the settler has ended.
    pub(super) fn place(&self) -> Option<OwnedPermit<Facts>> {
        self.sender.clone().try_reserve_owned().ok()
    }

    /// From now on, a visit that is dropped is dropped by us: its client has not gone.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// How many visits are open or wait to be settled.
    #[must_use]
    pub(crate) fn taken(&self) -> usize {
        self.sender.max_capacity().saturating_sub(self.sender.capacity())
    }
}

// === impl Settler ===

impl Settler {
    /// Settles until every door and every ticket is gone.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while self.next(&mut batch).await {
            self.gather(&mut batch).await;
            self.settle(&mut batch);
        }
        self.pace.count(&self.spool, Instant::now());
    }

    // Waits for visits that have ended, and counts meanwhile those that have no record. Returns whether there are any.
    async fn next(&mut self, batch: &mut Vec<Facts>) -> bool {
        loop {
            tokio::select! {
                // First, since visits may end without a pause.
                biased;
                () = self.pace.due(&self.spool) => {}
                count = self.receiver.recv_many(batch, BATCH_MAX) => return count > 0,
            }
            self.pace.count(&self.spool, Instant::now());
        }
    }

    async fn gather(&mut self, batch: &mut Vec<Facts>) {
        let deadline = Instant::now() + LINGER;
        while batch.len() < BATCH_MAX {
            let more = self.receiver.recv_many(batch, BATCH_MAX - batch.len());
            match tokio::time::timeout_at(deadline, more).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn settle(&mut self, batch: &mut Vec<Facts>) {
        let mut records = Vec::with_capacity(batch.len());
        let mut holds = Vec::with_capacity(batch.len());
        for mut facts in batch.drain(..) {
            if facts.end == End::Dropped && self.ending.load(Ordering::Relaxed) {
                facts.end = End::Ended;
            }
            let settled = settle(&facts);
            holds.extend(facts.hold.take().map(|hold| (hold, settled.cost, Arc::clone(&facts.request_id))));
            self.count(&mut facts, &settled);
            self.metrics.settled(&facts, &settled);
            log(&facts, &settled);
            trace(&facts, &settled);
            let (visit, circumstances) = (facts.intent, facts.circumstances.clone());
            if let Some(record) = self.record(facts, &settled) {
                records.push(Ended { visit, record, circumstances });
            }
        }
        if !records.is_empty()
            && let Err(error) = self.spool.outcomes(records)
        {
            tracing::error!(%error, "outcomes were not written: visits that were noted will be reported as uncertain, others counted");
            // At what they held, so nothing of it goes back.
            return drop(holds);
        }
        // Not before it is written down what they cost: what goes back may be held again at once, and a crash must not charge
        // it twice.
        for (hold, cost, request_id) in holds {
            let settlement = self.funds.end(hold, cost);
            if settlement.excess > NanoUsd::ZERO {
                tracing::warn!(%request_id, excess = %settlement.excess, "charge exceeds its hold");
            }
        }
    }

    // What was taken from rate limits by estimate is corrected, and the session has spent, or was refused.
    fn count(&self, facts: &mut Facts, settled: &Settled) {
        if let Some(permit) = facts.permit.take() {
            permit.settle(settled.tokens.input_total().saturating_add(settled.tokens.output));
        }
        if let Some(session) = facts.session.take() {
            match settled.outcome {
                Outcome::Refused => self.sessions.take_back(self.funds.now(), session),
                _ => self.sessions.spent(self.funds.now(), session, settled.cost),
            }
        }
    }

    fn record(&mut self, mut facts: Facts, settled: &Settled) -> Option<v1::Record> {
        if let Some(attribution) = facts.attribution.take() {
            return Some(v1::Record::from(&self.attributed(attribution, facts, settled)));
        }
        match Account::of(&facts, &self.words) {
            Account::Record(visit) if self.spool.has_room_for_unidentified() && self.pace.take(Instant::now()) => {
                return Some(v1::Record::from(&visit));
            }
            Account::Record(_) | Account::Count => self.spool.miss(facts.arrived),
            Account::Nothing => {}
        }
        None
    }

    fn attributed(&self, attribution: Attribution, facts: Facts, settled: &Settled) -> Record {
        let answered = facts.metered.as_ref().and_then(|metered| metered.model.as_deref());
        let attempts = facts.failed_attempts.len() + usize::from(facts.attempt.is_some());
        let (provider, credential) = facts.attempt.map(|last| (last.provider, last.credential)).unzip();
        Record {
            // The spool knows both.
            incarnation: 0,
            sequence: 0,
            request_id: facts.request_id,
            arrived: facts.arrived,
            duration_ms: facts.times.ended.map_or(0, |ended| millis(ended, facts.times.arrived)),
            first_byte_ms: facts.times.answered.map_or(0, |answered| millis(answered, facts.times.arrived)),
            outcome: settled.outcome,
            refusal: settled.refusal.map(|kind| self.words.refusal(kind)).unwrap_or_default(),
            status: facts.status,
            attribution,
            operation: self.words.operation(facts.operation),
            answered_model: match answered {
                Some(model) if *model == *facts.model => Arc::clone(&facts.model),
                other => other.map(Arc::from).unwrap_or_default(),
            },
            model: facts.model,
            provider,
            credential,
            streamed: facts.streamed,
            tokens: settled.tokens,
            cost: settled.cost,
            unpriced: settled.unpriced,
            revision: facts.revision,
            upstream_request_id: facts.upstream_request_id,
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
            charges: if settled.cost > NanoUsd::ZERO { facts.circumstances.charges } else { Arc::default() },
            held_incarnation: None,
        }
    }
}

/// What a visit came to: the outcome, the tokens, the money.
fn settle(facts: &Facts) -> Settled {
    let refusal = match facts.end {
        End::Refused(kind) | End::Cut(kind) => Some(kind),
        _ => None,
    };
    let tokens = facts.metered.as_ref().map(|metered| tokens(&metered.counters)).unwrap_or_default();
    let is_charged = facts.operation.is_answered();
    let is_priced = facts.attempt.as_ref().and_then(|attempt| attempt.model.as_ref()?.price).is_some();
    let cost = match facts.flat {
        Some(flat) if facts.times.sent.is_some() => Cost::Known(flat),
        _ if is_charged => cost(facts, &tokens),
        _ => Cost::Known(NanoUsd::ZERO),
    };
    let unpriced = is_charged && facts.attempt.is_some() && !is_priced;
    let outcome = match (outcome(facts), cost) {
        // It was charged for what it may have cost, so it is not told as one that came to nothing.
        (Outcome::UpstreamFailed | Outcome::Refused, Cost::Unknown(held)) if held > NanoUsd::ZERO => Outcome::Uncertain,
        (outcome, _) => outcome,
    };
    let (Cost::Known(cost) | Cost::Unknown(cost)) = cost;
    Settled { outcome, refusal, tokens, cost, unpriced }
}

/// What a visit is charged.
#[derive(Clone, Copy)]
enum Cost {
    /// What the provider charges, as far as anybody here can know.
    Known(NanoUsd),
    /// Nobody can know: what it held, or what was seen of it where that is more.
    Unknown(NanoUsd),
}

fn cost(facts: &Facts, tokens: &Tokens) -> Cost {
    let held = facts.hold.as_ref().map_or(NanoUsd::ZERO, Hold::amount);
    let Some(running) = &facts.running else { return Cost::Known(NanoUsd::ZERO) };
    // A stream that broke off before its beginning told nothing, and one for which the model runs several times tells only
    // at its end what all of them read.
    let is_told = tokens.input_total() > 0 && running.extent.input_is_told();
    let metered = facts.metered.as_ref().filter(|metered| metered.is_final || is_told).map(|metered| {
        let output = if metered.is_final { tokens.output } else { broken_off(facts, running, tokens.output) };
        running.price.cost(&Tokens { output, ..*tokens })
    });
    let sent = facts.attempt.as_ref().filter(|_| facts.times.sent.is_some());
    match sent.map(|attempt| attempt.result) {
        None | Some(AttemptResult::Failed(_) | AttemptResult::Redirected) => Cost::Known(NanoUsd::ZERO),
        // It was turned away, or answered by something that is no model.
        Some(AttemptResult::Answered) if facts.upstream_status >= 400 => Cost::Known(NanoUsd::ZERO),
        Some(AttemptResult::Answered) if facts.end == End::Refused(RefusalKind::UpstreamInvalid) => {
            Cost::Known(NanoUsd::ZERO)
        }
        Some(AttemptResult::Answered) if outcome(facts) != Outcome::Uncertain => {
            metered.map_or(Cost::Unknown(held), Cost::Known)
        }
        // What nobody has seen may have cost everything.
        Some(_) => Cost::Unknown(metered.map_or(held, |metered| metered.max(held))),
    }
}

// How many tokens of output an answer may have had that broke off when so many were seen. Some were on their way.
fn broken_off(facts: &Facts, running: &Running, seen: u64) -> u64 {
    let most = running.extent.output_tokens_once().max(seen);
    let passing = facts.times.sent.zip(facts.times.ended).map_or(u64::MAX, |(sent, ended)| millis(ended, sent));
    let written = passing.saturating_mul(TOKENS_PER_SECOND) / 1_000;
    seen.saturating_add(BROKEN_OFF_TOKENS).max(written).min(most)
}

fn outcome(facts: &Facts) -> Outcome {
    // Once something was sent to a provider, a visit that we lost ourselves may have been answered.
    let was_sent = facts.times.sent.is_some();
    match facts.end {
        End::Completed => Outcome::Completed,
        End::Cut(_) => Outcome::Cut,
        End::Refused(kind) if is_upstream(kind) => Outcome::UpstreamFailed,
        End::Refused(_) => Outcome::Refused,
        End::UpstreamFailed => Outcome::UpstreamFailed,
        End::Unmetered => Outcome::Uncertain,
        End::Ended if !was_sent => Outcome::ClientGone,
        End::Panicked | End::Ended => Outcome::Uncertain,
        End::Dropped => Outcome::ClientGone,
    }
}

fn is_upstream(kind: RefusalKind) -> bool {
    matches!(kind, RefusalKind::UpstreamUnavailable | RefusalKind::UpstreamTimeout | RefusalKind::UpstreamInvalid)
}

/// The counters of an answer, as they are priced.
pub(super) fn tokens(counters: &Counters) -> Tokens {
    let Counters { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches } = *counters;
    Tokens { input, output, cache_read, cache_write_5m, cache_write_1h, web_searches }
}

fn millis(later: Instant, earlier: Instant) -> u64 {
    u64::try_from(later.saturating_duration_since(earlier).as_millis()).unwrap_or(u64::MAX)
}

// One line for each visit: refusals are somebody's business, failures an operator's, the rest is for looking closely.
fn log(facts: &Facts, settled: &Settled) {
    let key = facts.attribution.as_ref().map(|attribution| attribution.key.as_str());
    let provider = facts.attempt.as_ref().map(|attempt| &*attempt.provider_name);
    let result = facts.attempt.as_ref().map(|attempt| attempt.result.word());
    let (request_id, status, outcome) = (&*facts.request_id, facts.status, settled.outcome.word());
    let operation = facts.operation.word();
    if facts.end == End::Panicked {
        tracing::error!(request_id, operation, key, provider, "visit failed by our own fault");
        return;
    }
    if facts.end == End::Unmetered {
        tracing::warn!(
            request_id,
            operation,
            key,
            provider,
            "answer could not be metered and is charged at its estimate"
        );
        return;
    }
    match settled.outcome {
        Outcome::Refused | Outcome::Cut => {
            let refusal = settled.refusal.map(RefusalKind::word);
            tracing::info!(request_id, operation, key, refusal, status, outcome, "visit refused");
        }
        // The provider says what is wrong with the request: the developer's business.
        Outcome::UpstreamFailed if matches!(status, 400 | 404..=428) => {
            tracing::info!(request_id, operation, key, provider, status, outcome, "provider refused");
        }
        Outcome::UpstreamFailed | Outcome::Uncertain => {
            let failed = facts.metered.as_ref().and_then(|metered| metered.failed.as_deref());
            tracing::warn!(request_id, operation, key, provider, result, failed, status, outcome, "provider failed");
        }
        Outcome::Completed | Outcome::ClientGone => {
            tracing::debug!(request_id, operation, key, provider, status, outcome, "visit ended");
        }
    }
}

// What a traced visit came to. Dropping the spans ends them.
fn trace(facts: &Facts, settled: &Settled) {
    let Some(trace) = &facts.trace else { return };
    let (visit, status) = (&trace.visit, i64::from(facts.status));
    visit.record("http.response.status_code", status);
    visit.record("tollgate.outcome", settled.outcome.word());
    visit.record("tollgate.revision", facts.revision);
    visit.record("tollgate.cost_nano_usd", settled.cost.get());
    if let Some(refusal) = settled.refusal {
        visit.record("tollgate.refusal", refusal.word());
    }
    if facts.status >= 500 {
        visit.record("otel.status_code", "ERROR");
        visit.record("error.type", settled.outcome.word());
    }
    if let Some(attribution) = &facts.attribution {
        visit.record("tollgate.customer", attribution.customer.as_str());
        visit.record("tollgate.team", attribution.team.as_str());
        visit.record("tollgate.key", attribution.key.as_str());
        if let Some(user) = &attribution.user {
            visit.record("tollgate.user", user.as_str());
        }
        visit.record("session.id", &*attribution.session);
        visit.record("gen_ai.agent.id", &*attribution.agent);
    }
    let Some(attempt) = &trace.attempt else { return };
    attempt.record("gen_ai.usage.input_tokens", settled.tokens.input_total());
    attempt.record("gen_ai.usage.output_tokens", settled.tokens.output);
    attempt.record("gen_ai.usage.cache_read.input_tokens", settled.tokens.cache_read);
    let written = settled.tokens.cache_write_5m.saturating_add(settled.tokens.cache_write_1h);
    attempt.record("gen_ai.usage.cache_creation.input_tokens", written);
    attempt.record("http.response.status_code", status);
    attempt.record("tollgate.upstream_request_id", &*facts.upstream_request_id);
    if let Some(model) = facts.metered.as_ref().and_then(|metered| metered.model.as_deref()) {
        attempt.record("gen_ai.response.model", model);
    }
    if let Some(last) = &facts.attempt {
        attempt.record("tollgate.credential", last.credential.as_str());
        if settled.outcome == Outcome::UpstreamFailed {
            attempt.record("otel.status_code", "ERROR");
            attempt.record("error.type", last.result.word());
        }
    }
}

// === impl Words ===

impl Default for Words {
    fn default() -> Self {
        Self {
            operations: Operation::ALL.map(|operation| Arc::from(operation.word())),
            refusals: RefusalKind::ALL.map(|kind| Arc::from(kind.word())),
        }
    }
}

impl Words {
    /// The word of an operation.
    #[must_use]
    pub(crate) fn operation(&self, operation: Operation) -> Arc<str> {
        find(&self.operations, operation.word())
    }

    fn refusal(&self, kind: RefusalKind) -> Arc<str> {
        find(&self.refusals, kind.word())
    }
}

fn find(words: &[Arc<str>], word: &str) -> Arc<str> {
    words.iter().find(|known| ***known == *word).map_or_else(|| Arc::from(word), Arc::clone)
}

#[cfg(test)]
mod tests;
