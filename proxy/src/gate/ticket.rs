//! What is known of a visit while it lasts, and the promise that it will be settled.
//!
//! A ticket is opened for each request and travels through the rooms. Closing or dropping it, wherever that happens, sends
//! one message to [`settle`](super::settle). The place in that queue is taken when the ticket is opened, so closing never
//! waits and never fails: who gets a ticket will be settled, and when no place is left nobody gets one.
//!
//! [`passage`], how the answer is passed on.

mod passage;

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use hyper::body::Incoming;
use tokio::{sync::mpsc::OwnedPermit, time::Instant};
use tollgate_dialect::Metered;
use tollgate_policy::{
    id::{CredentialId, ProviderId},
    lease::Hold,
    money::NanoUsd,
    price::{Extent, Price},
    refusal::{Refusal, RefusalKind},
    snapshot::Model,
    time::UnixMillis,
    usage::Attribution,
};
use tracing::Span;

pub(crate) use self::passage::Passage;
use super::{pace::Charged, route::Operation};
use crate::{
    evidence::Circumstances,
    health::rest::Cause,
    rates::Permit,
    refuse::{Detail, Used},
    spool::Intent,
};

/// One visit on its way through the rooms. There is one in a request, and it is not `Clone`.
#[derive(Debug)]
pub(crate) struct Ticket {
    facts: Facts,
    place: Option<OwnedPermit<Facts>>,
}

/// What is known of a visit.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The `request-id` that the client sees.
    pub(crate) request_id: Arc<str>,
    /// When it arrived, by the wall clock.
    pub(crate) arrived: UnixMillis,
    /// What is called.
    pub(crate) operation: Operation,
    /// Whose visit it is; `None` until the key is known.
    pub(crate) attribution: Option<Attribution>,
    /// The model that was asked for; empty until the body is read.
    pub(crate) model: Arc<str>,
    /// Whether an event stream was asked for.
    pub(crate) streamed: bool,
    /// The policy revision that decided.
    pub(crate) revision: u64,
    /// The status that the client saw; 0 when it saw none.
    pub(crate) status: u16,
    /// The status of the provider's answer; 0 when there was none.
    pub(crate) upstream_status: u16,
    /// The attempts at providers before the last one.
    pub(crate) failed_attempts: Vec<(Arc<str>, AttemptResult)>,
    /// The last attempt.
    pub(crate) attempt: Option<Attempted>,
    /// The money that is held for it.
    pub(crate) hold: Option<Hold>,
    /// What the audit log shall say besides its record. The budgets in it are those that its cost is charged to.
    pub(crate) circumstances: Circumstances,
    /// How the answer of the last attempt is passed on.
    pub(crate) passage: Passage,
    /// What was taken from rate limits.
    pub(crate) permit: Option<Permit>,
    /// The agent session that its cost counts in.
    pub(crate) session: Option<Charged>,
    /// How far the budget is used of which the least is left.
    pub(crate) used: Option<Used>,
    /// How its cost is followed while it is answered; `None`: it costs nothing.
    pub(crate) running: Option<Running>,
    /// What it costs whatever comes of it, once it was sent: a call of a tool.
    pub(crate) flat: Option<NanoUsd>,
    /// The visit's number in the spool, once an intent was written.
    pub(crate) intent: Option<u64>,
    /// The intent, where a budget holds the visit: it is written again when what is held changes.
    pub(crate) noted: Option<Box<Intent>>,
    /// What the provider calls the request; empty when it did not say.
    pub(crate) upstream_request_id: Arc<str>,
    /// What was metered of the answer.
    pub(crate) metered: Option<Metered>,
    /// When things happened.
    pub(crate) times: Times,
    /// How it ended.
    pub(crate) end: End,
    /// The spans, when the request is traced.
    pub(crate) trace: Option<Box<Trace>>,
}

/// One attempt at a provider.
#[derive(Clone, Debug)]
pub(crate) struct Attempted {
    /// The provider.
    pub(crate) provider: ProviderId,
    /// Its name, for metrics.
    pub(crate) provider_name: Arc<str>,
    /// The credential.
    pub(crate) credential: CredentialId,
    /// The model in the catalogue; `None`: unpriced.
    pub(crate) model: Option<Arc<Model>>,
    /// What became of it.
    pub(crate) result: AttemptResult,
}

/// How the cost of an attempt is followed while it is answered.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    /// What tokens cost; nothing for a model without a price.
    pub(crate) price: Price,
    /// What bounds the cost.
    pub(crate) extent: Extent,
    /// Whether only a slice of the output is held ahead of what has passed.
    pub(crate) stepwise: bool,
    /// What is said when no further slice can be held.
    pub(crate) cut: Arc<str>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum AttemptResult {
    /// No head arrived, or none was waited for.
    Unanswered,
    /// The provider answered.
    Answered,
    /// It was turned away, failed, or could not be reached.
    Failed(Cause),
    /// The provider wanted the request elsewhere, and did not carry it out.
    Redirected,
    /// What arrived was not an answer.
    Invalid,
    /// Nothing arrived in time.
    TimedOut,
}

/// When things happened. One look at the clock a stage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// The request's head was read.
    pub(crate) arrived: Instant,
    /// How long the client took to send the body.
    pub(crate) body: Duration,
    /// The last attempt was sent.
    pub(crate) sent: Option<Instant>,
    /// Its head arrived.
    pub(crate) answered: Option<Instant>,
    /// The ticket was closed.
    pub(crate) ended: Option<Instant>,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The ticket was dropped: the client went away.
    Dropped,
    /// The ticket was dropped by our own failure.
    Panicked,
    /// The ticket was dropped because the replica ended.
    Ended,
    /// The answer was passed on whole.
    Completed,
    /// It was refused before an answer began.
    Refused(RefusalKind),
    /// The answer broke off, or was passed on although it is a failure.
    UpstreamFailed,
    /// Policy cut the answer.
    Cut(RefusalKind),
    /// The answer was passed on whole, and could not be metered.
    Unmetered,
}

/// The spans of a traced visit.
#[derive(Debug)]
pub(crate) struct Trace {
    /// The whole visit.
    pub(super) visit: Span,
    /// The last attempt.
    pub(super) attempt: Option<Span>,
}

/// A refused visit on its way to the rim, where the answer is made and the ticket closed.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(super) ticket: Box<Ticket>,
    pub(super) refusal: Refusal,
    pub(super) detail: Detail,
    /// The body that was not read, so that the rim can take it off the wire before it answers.
    pub(super) unread: Option<Incoming>,
}

/// What a room gives: the next room's type, or the refused visit.
pub(super) type Verdict<T> = Result<T, Box<Refused>>;

// === impl Ticket ===

impl Ticket {
    /// Opens a ticket in a place of the queue.
    pub(super) fn open(
        place: OwnedPermit<Facts>,
        request_id: Arc<str>,
        arrived: UnixMillis,
        now: Instant,
    ) -> Box<Self> {
        Box::new(Self { facts: Facts::new(request_id, arrived, now), place: Some(place) })
    }

    /// Turns the visit away.
    pub(super) fn refuse(self: Box<Self>, refusal: Refusal) -> Box<Refused> {
        Box::new(Refused { ticket: self, refusal, detail: Detail::None, unread: None })
    }

    /// Ends the visit.
    pub(super) fn close(mut self: Box<Self>, end: End) {
        self.facts.end = end;
    }

    /// Takes on the money that is held for the next attempt: from here on, wherever the ticket ends, it is settled.
    pub(super) fn take_on(&mut self, hold: Hold) {
        self.facts.circumstances.held = hold.amount();
        self.facts.hold = Some(hold);
    }

    /// Gives up the last attempt, which did not answer in time and may yet be carried out: it is settled by itself, at what it
    /// held and for the budgets that it was held in.
    pub(super) fn give_up(&mut self, place: OwnedPermit<Facts>) {
        self.part(place).close(End::Refused(RefusalKind::UpstreamTimeout));
    }

    /// A ticket for the last attempt alone, which is settled by itself: with what it held, its note and its times. Its id is the
    /// visit's, and which attempt it was.
    pub(super) fn part(&mut self, place: OwnedPermit<Facts>) -> Box<Self> {
        let facts = &mut self.facts;
        let number = facts.failed_attempts.len() + 1;
        let of_attempt = Facts {
            request_id: format!("{}.{number}", facts.request_id).into(),
            arrived: facts.arrived,
            operation: facts.operation,
            attribution: facts.attribution.clone(),
            model: Arc::clone(&facts.model),
            streamed: facts.streamed,
            revision: facts.revision,
            attempt: facts.attempt.clone(),
            hold: facts.hold.take(),
            circumstances: facts.circumstances.clone(),
            passage: facts.passage.clone(),
            session: facts.session,
            running: facts.running.take(),
            intent: facts.intent.take(),
            noted: facts.noted.take(),
            times: facts.times,
            ..Facts::new(Arc::default(), facts.arrived, facts.times.arrived)
        };
        Box::new(Self { facts: of_attempt, place: Some(place) })
    }

    /// Exchanges the attempts of two tickets of one visit.
    pub(super) fn trade(&mut self, other: &mut Self) {
        use std::mem::swap;
        let (one, other) = (&mut self.facts, &mut other.facts);
        swap(&mut one.upstream_status, &mut other.upstream_status);
        swap(&mut one.attempt, &mut other.attempt);
        swap(&mut one.hold, &mut other.hold);
        swap(&mut one.circumstances, &mut other.circumstances);
        swap(&mut one.passage, &mut other.passage);
        swap(&mut one.running, &mut other.running);
        swap(&mut one.intent, &mut other.intent);
        swap(&mut one.noted, &mut other.noted);
        swap(&mut one.upstream_request_id, &mut other.upstream_request_id);
        swap(&mut one.metered, &mut other.metered);
        swap(&mut one.times.sent, &mut other.times.sent);
        swap(&mut one.times.answered, &mut other.times.answered);
        // The visit remembers the attempt that it no longer has.
        one.remember_last(other.attempt.as_ref());
        other.remember_last(one.attempt.as_ref());
    }

    /// Ends a ticket for which nothing was held, noted or sent. Nothing is told of it.
    pub(super) fn discard(mut self: Box<Self>) {
        if self.facts.hold.is_none() && self.facts.intent.is_none() {
            self.place = None;
        }
    }

    /// Remembers a new attempt, and the one before as failed.
    pub(super) fn attempt(&mut self, next: Attempted) {
        if let Some(before) = self.facts.attempt.replace(next) {
            self.facts.failed_attempts.push((before.provider_name, before.result));
        }
    }

    /// Remembers what became of the last attempt.
    pub(super) fn resolve(&mut self, result: AttemptResult) {
        if let Some(attempt) = &mut self.facts.attempt {
            attempt.result = result;
        }
    }
}

impl Deref for Ticket {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for Ticket {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let blank = Facts::new(Arc::default(), self.facts.arrived, self.facts.times.arrived);
            let mut facts = std::mem::replace(&mut self.facts, blank);
            facts.times.ended = Some(Instant::now());
            if facts.end == End::Dropped && std::thread::panicking() {
                facts.end = End::Panicked;
                facts.status = 500;
            }
            place.send(facts);
        }
    }
}

// === impl Facts ===

impl Facts {
    fn remember_last(&mut self, gone: Option<&Attempted>) {
        if let (Some(last), Some(gone)) = (self.failed_attempts.last_mut(), gone) {
            *last = (Arc::clone(&gone.provider_name), gone.result);
        }
    }

    fn new(request_id: Arc<str>, arrived: UnixMillis, now: Instant) -> Self {
        Self {
            request_id,
            arrived,
            operation: Operation::Unknown,
            attribution: None,
            model: Arc::default(),
            streamed: false,
            revision: 0,
            status: 0,
            upstream_status: 0,
            failed_attempts: Vec::new(),
            attempt: None,
            hold: None,
            circumstances: Circumstances::default(),
            passage: Passage::default(),
            permit: None,
            session: None,
            used: None,
            running: None,
            flat: None,
            intent: None,
            noted: None,
            upstream_request_id: Arc::default(),
            metered: None,
            times: Times { arrived: now, body: Duration::ZERO, sent: None, answered: None, ended: None },
            end: End::Dropped,
            trace: None,
        }
    }
}

// === impl AttemptResult ===

impl AttemptResult {
    /// The word for metrics.
    #[must_use]
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Answered => "answered",
            Self::Failed(cause) => cause.word(),
            Self::Redirected => "redirected",
            Self::Invalid => "invalid",
            Self::TimedOut => "timed_out",
        }
    }
}

// === impl Refused ===

impl Refused {
    /// Adds what the answer needs beyond the kind.
    pub(super) fn with(mut self: Box<Self>, detail: Detail) -> Box<Self> {
        self.detail = detail;
        self
    }

    /// Hands over the body that was not read.
    pub(super) fn leaving(mut self: Box<Self>, body: Incoming) -> Box<Self> {
        self.unread = Some(body);
        self
    }
}
