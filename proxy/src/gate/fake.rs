//! What the tests of the rooms need: a body that does what a test says, a ticket whose end can be seen, a policy with one
//! key.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::{
    sync::mpsc,
    time::{Instant, Sleep, sleep},
};
use tollgate_policy::{
    decide::{self, Caller},
    id::{CustomerId, KeyId, TeamId},
    pattern::Patterns,
    snapshot::{AuditMode, Customer, Key, Object, ObjectRef, Snapshot, Team},
    time::UnixMillis,
    token::KeyHash,
};

use super::{
    route::Operation,
    ticket::{Facts, Ticket},
};
use crate::spool::{Durability, Options, Spool};

/// A scripted body.
#[derive(Debug, Default)]
pub(super) struct Script {
    steps: VecDeque<Step>,
    announced: u64,
    waiting: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Step {
    Data(Bytes),
    Trailers,
    // Not ready once.
    Pending,
    After(Duration),
    Fail,
    Hang,
}

#[derive(Debug)]
pub(super) struct Broken;

impl Script {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn data(self, data: impl Into<Bytes>) -> Self {
        self.then(Step::Data(data.into()))
    }

    pub(super) fn trailers(self) -> Self {
        self.then(Step::Trailers)
    }

    pub(super) fn pending(self) -> Self {
        self.then(Step::Pending)
    }

    pub(super) fn after(self, wait: Duration) -> Self {
        self.then(Step::After(wait))
    }

    pub(super) fn fail(self) -> Self {
        self.then(Step::Fail)
    }

    pub(super) fn hang(self) -> Self {
        self.then(Step::Hang)
    }

    pub(super) fn announcing(mut self, bytes: u64) -> Self {
        self.announced = bytes;
        self
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push_back(step);
        self
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(waiting) = &mut self.waiting {
            std::task::ready!(waiting.as_mut().poll(context));
            self.waiting = None;
        }
        match self.steps.pop_front() {
            None => Poll::Ready(None),
            Some(Step::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Step::Trailers) => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Some(Step::Fail) => Poll::Ready(Some(Err(Broken))),
            Some(Step::Hang) => {
                self.steps.push_front(Step::Hang);
                Poll::Pending
            }
            Some(Step::Pending) => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::After(wait)) => {
                self.waiting = Some(Box::pin(sleep(wait)));
                self.poll_frame(context)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.waiting.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::default();
        hint.set_lower(self.announced);
        hint
    }
}

/// A spool in memory.
pub(super) fn spool() -> Spool {
    let options = Options { durability: Durability::Memory, bytes_max: 1 << 20 };
    Spool::open(std::path::Path::new("/nowhere"), options).expect("nothing is opened").0
}

/// A ticket, and what is sent when it is closed.
pub(super) fn ticket() -> (Box<Ticket>, mpsc::Receiver<Facts>) {
    let (sender, receiver) = mpsc::channel(1);
    let place = sender.try_reserve_owned().expect("the queue is empty");
    let mut ticket = Ticket::open(place, "req_1".into(), UnixMillis::new(1), Instant::now());
    ticket.operation = Operation::Messages;
    (ticket, receiver)
}

/// A policy with one key, and that key's caller.
pub(super) fn world() -> (Snapshot, Caller) {
    let ulid = "01k9zq3v5m8c4t2n7r6x0w1y9b";
    let customer = CustomerId::from_ulid(ulid).unwrap();
    let team = TeamId::from_ulid(ulid).unwrap();
    let key = Key {
        id: KeyId::from_ulid(ulid).unwrap(),
        name: "dev".into(),
        hash: KeyHash::new([1; 32]),
        team: team.clone(),
        user: None,
        revoked: false,
        expires: None,
        models: Patterns::default(),
        providers: Arc::new([]),
        credentials: Arc::new([]),
        quota: None,
        audit: AuditMode::Required,
        regions: Patterns::default(),
        tools: tollgate_policy::mcp::Access::default(),
        tool_rules: Arc::default(),
    };
    let objects = vec![
        Object::Customer(Customer { id: customer.clone(), name: "acme".into(), disabled: false, quota: None }),
        Object::Team(Team {
            id: team,
            name: "platform".into(),
            customer,
            disabled: false,
            quota: None,
            providers: Arc::new([]),
            regions: Patterns::default(),
        }),
        Object::Key(key),
    ];
    let snapshot = Snapshot::default().next(1, objects, vec![]);
    let caller = decide::authenticate(&snapshot, UnixMillis::new(1), &KeyHash::new([1; 32])).unwrap();
    (snapshot, caller)
}

/// The policy without the key.
pub(super) fn revoked(snapshot: &Snapshot, caller: &Caller) -> Snapshot {
    snapshot.next(2, vec![], vec![ObjectRef::Key(caller.key().id.clone())])
}

/// Reads a body to its end, one frame after the other, and says whether it ended well.
pub(super) async fn read<B>(mut body: B) -> (Vec<Bytes>, bool)
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut frames = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => frames.extend(frame.into_data().ok()),
            Err(_) => return (frames, false),
        }
    }
    (frames, true)
}
