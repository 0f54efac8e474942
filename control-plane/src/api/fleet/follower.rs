//! One Follow stream: what is sent, and what is heard. Both run at once on one task, which ends when either does.
//!
//! What is sent always leads from where the replica is to what is newest. While a slow replica reads, revisions pass; it then
//! gets one delta over all of them. After a Nack nothing is sent until there is something newer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior},
};
use tollgate_policy::id::ReplicaId;
use tollgate_proto::{
    fleet::v1::{
        Ack, Alive, Checkpoint, Chunk, Directive, FollowRequest, FollowResponse, Heartbeat, Hello, Nack, Recall,
        Resting as Told, Resync, Share, Welcome, follow_request::Message as Hear, follow_response::Message as Say,
    },
    push::{self, HEARTBEAT_SECONDS, SILENCE_SECONDS_MAX},
};
use tonic::{Status, Streaming};

use crate::{
    audit::checkpoints::Signed,
    clock,
    fleet::Fleet,
    publish::{Latest, PublishError, encode::Encoded},
    store::{
        replicas::{Acknowledged, Opened, Refused},
        resting::{self, RESTING_MAX, Resting},
    },
};

/// A replica that takes nothing for so long is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Full snapshots that one stream asks for come at least this far apart, and ever farther when it asks again and again. A
/// stream that leaves it alone for the longest pause begins anew.
const RESYNC_PAUSE_FIRST: Duration = Duration::from_secs(1);
const RESYNC_PAUSE_LONGEST: Duration = Duration::from_secs(60);

/// One stream.
pub(super) struct Follower {
    fleet: Fleet,
    replica: ReplicaId,
    stream: String,
    opened: Opened,
    hello: Hello,
    send: mpsc::Sender<Result<FollowResponse, Status>>,
    place: Mutex<Place>,
    moved: Notify,
}

// Where the replica is, as far as is known: what was sent, what it took, and what it asked for.
#[derive(Debug, Default)]
struct Place {
    sent: Option<At>,
    acknowledged: Option<At>,
    refused: Option<At>,
    resync: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct At {
    epoch: Arc<str>,
    revision: i64,
}

// What was already said on this stream.
struct Said {
    secrets: u64,
    // The names of the signing keys.
    keys: Vec<String>,
    drain: Option<bool>,
    share: Option<Share>,
    resync_at: Instant,
    resync_pause: Duration,
}

// The stream ended; the status, if any, is for the replica.
type Ended = Option<Status>;

impl Follower {
    pub(super) fn new(
        fleet: &Fleet,
        replica: ReplicaId,
        region: String,
        hello: Hello,
        send: mpsc::Sender<Result<FollowResponse, Status>>,
    ) -> Self {
        let stream = ulid::Ulid::generate().to_string();
        let opened =
            Opened { stream: stream.clone(), version: hello.version.clone(), region, incarnation: hello.incarnation };
        let (place, moved) = (Mutex::default(), Notify::new());
        Self { fleet: fleet.clone(), replica, stream, opened, hello, send, place, moved }
    }

    /// Follows until the replica or this control plane ends it.
    pub(super) async fn run(self, mut requests: Streaming<FollowRequest>) {
        let parts = &self.fleet.parts;
        parts.roster.opened(&self.replica, self.opened.clone());
        tracing::info!(replica = %self.replica, revision = self.hello.revision, "a replica follows");
        let ended = tokio::select! {
            () = parts.stop.cancelled() => Some(Status::unavailable("the control plane stops")),
            ended = self.speak() => ended,
            ended = self.listen(&mut requests) => ended,
        };
        tracing::info!(replica = %self.replica, reason = ended.as_ref().map(Status::message), "a replica follows no more");
        if let Some(status) = ended {
            // Nobody may be there to read it.
            let _ = self.send.try_send(Err(status));
        }
        parts.roster.closed(&self.replica, self.stream.clone());
    }

    // === What is heard ===

    async fn listen(&self, requests: &mut Streaming<FollowRequest>) -> Ended {
        let patience = Duration::from_secs(SILENCE_SECONDS_MAX);
        let mut resting = None;
        loop {
            let message = match tokio::time::timeout(patience, requests.message()).await {
                Ok(Ok(Some(FollowRequest { message }))) => message,
                Ok(Ok(None) | Err(_)) => return None,
                Err(_) => return Some(Status::deadline_exceeded("the replica was silent for 30 s")),
            };
            self.fleet.parts.roster.seen(&self.replica);
            match message {
                Some(Hear::Ack(ack)) => self.acknowledged(&ack),
                Some(Hear::Nack(nack)) => self.refused(nack),
                Some(Hear::Resync(resync)) => self.resync(&resync),
                Some(Hear::Hello(_)) => return Some(Status::invalid_argument("a hello is sent once")),
                Some(Hear::Alive(alive)) => self.alive(alive, &mut resting),
                // A newer replica may say what this version does not know.
                None => {}
            }
        }
    }

    // What the replica leaves alone is told at each sign of life, and is news when something has changed.
    fn alive(&self, Alive { resting }: Alive, before: &mut Option<Vec<Resting>>) {
        let now = clock::now_ms();
        let read = |told: &Told| Resting::read(&told.id, &told.cause, told.left_ms, now);
        let mut told: Vec<Resting> = resting.iter().take(RESTING_MAX).filter_map(read).collect();
        told.sort_by(|one, other| one.id.cmp(&other.id));
        told.dedup_by(|one, other| one.id == other.id);
        if before.as_ref().is_none_or(|before| !resting::is_unchanged(&told, before, now)) {
            self.fleet.parts.roster.resting(&self.replica, told.clone());
            *before = Some(told);
        }
    }

    fn acknowledged(&self, Ack { revision, apply_us }: &Ack) {
        let mut place = self.place();
        // What was not sent was not applied, and what does not exist neither, whatever the replica says.
        let newest = self.fleet.parts.handle.latest().borrow().as_ref().map_or(0, |latest| latest.revision);
        let Some(sent) = place.sent.clone().filter(|sent| *revision <= sent.revision.min(newest)) else { return };
        let at = At { epoch: Arc::clone(&sent.epoch), revision: *revision };
        place.acknowledged = Some(at);
        place.refused = None;
        drop(place);
        let acknowledged =
            Acknowledged { epoch: sent.epoch.to_string(), revision: *revision, apply_us: (*apply_us).max(0) };
        self.fleet.parts.roster.acknowledged(&self.replica, acknowledged);
    }

    fn refused(&self, Nack { revision, reason }: Nack) {
        let mut place = self.place();
        let Some(sent) = place.sent.clone().filter(|sent| revision <= sent.revision) else { return };
        let at = At { epoch: Arc::clone(&sent.epoch), revision };
        // The next one builds on what the replica has, and waits until there is something newer than what it refused.
        let taken = place.acknowledged.clone();
        place.sent = taken;
        place.refused = Some(at);
        drop(place);
        let reason: String = push::bounded_reason(&reason).chars().filter(|c| !c.is_control()).collect();
        self.fleet.parts.roster.refused(&self.replica, Refused { epoch: sent.epoch.to_string(), revision, reason });
    }

    fn resync(&self, Resync { reason }: &Resync) {
        let reason: String = push::bounded_reason(reason).chars().filter(|c| !c.is_control()).collect();
        tracing::info!(replica = %self.replica, reason, "a replica wants a full snapshot");
        self.place().resync = true;
        self.moved.notify_one();
    }

    // === What is said ===

    async fn speak(&self) -> Ended {
        let mut latest = self.fleet.parts.handle.latest();
        let mut wishes = self.fleet.parts.roster.wishes();
        let mut sharers = self.fleet.parts.roster.sharers();
        let mut recalls = self.fleet.parts.recalls.heard();
        let mut checkpoints = self.fleet.parts.checkpoints.newest();
        checkpoints.mark_changed();
        let mut heartbeat = tokio::time::interval(Duration::from_secs(HEARTBEAT_SECONDS));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let Ok(Some(first)) = latest.wait_for(Option::is_some).await.map(|latest| latest.clone()) else { return None };
        if let Some(ended) = self.begin(&first).await {
            return Some(ended);
        }
        let mut said = Said {
            secrets: first.secrets.version,
            keys: key_ids(&first),
            drain: None,
            share: None,
            resync_at: Instant::now(),
            resync_pause: RESYNC_PAUSE_FIRST,
        };
        loop {
            let wanted = wishes.borrow_and_update().clone();
            let shared = Arc::clone(&sharers.borrow_and_update());
            let now = latest.borrow_and_update().clone().unwrap_or_else(|| Arc::clone(&first));
            let step = async {
                self.direct(wanted.as_deref(), &mut said).await?;
                self.share(&shared, &mut said).await?;
                // Before the limits comes its part of them: without one it would count each as its own.
                if said.share.is_none() {
                    return Ok(());
                }
                self.catch_up(&now, &mut said).await
            };
            if let Err(ended) = step.await {
                return ended;
            }
            tokio::select! {
                Ok(()) = latest.changed() => {}
                Ok(()) = wishes.changed() => {}
                Ok(()) = sharers.changed() => {}
                () = self.moved.notified() => {}
                // A slow stream hears of the newest one.
                Ok(()) = checkpoints.changed() => {
                    let signed = checkpoints.borrow_and_update().clone();
                    if let Some(Signed { note, public_key, .. }) = signed {
                        let told = Checkpoint { note: note.to_string(), public_key: public_key.to_vec().into() };
                        if let Err(ended) = self.say(Say::Checkpoint(told)).await {
                            return ended;
                        }
                    }
                }
                // What a slow stream missed is recalled again while somebody needs it.
                Ok(budget) = recalls.recv() => {
                    if let Err(ended) = self.say(Say::Recall(Recall { budget: budget.to_string() })).await {
                        return ended;
                    }
                }
                () = tokio::time::sleep_until(said.resync_at), if self.place().resync => {}
                _ = heartbeat.tick() => {
                    let revision = latest.borrow().as_ref().map_or(now.revision, |latest| latest.revision);
                    if let Err(ended) = self.say(Say::Heartbeat(Heartbeat { revision })).await {
                        return ended;
                    }
                }
            }
        }
    }

    // Welcome and credentials come before any push.
    async fn begin(&self, latest: &Latest) -> Option<Status> {
        let Hello { epoch, revision, head, .. } = &self.hello;
        let has = !epoch.is_empty() && *revision > 0 && **epoch == *latest.epoch;
        if has {
            let at = At { epoch: Arc::clone(&latest.epoch), revision: *revision };
            let mut place = self.place();
            (place.sent, place.acknowledged) = (Some(at.clone()), Some(at));
        }
        if has && *revision == latest.revision {
            // It said in its hello what an acknowledgement says.
            let acknowledged = Acknowledged { epoch: epoch.clone(), revision: *revision, apply_us: 0 };
            self.fleet.parts.roster.acknowledged(&self.replica, acknowledged);
        }
        if let Some(head) = head.clone().filter(|head| has && head.revision > latest.revision)
            && let Err(error) = self.fleet.parts.handle.ahead(head).await
        {
            return Some(failed(&error));
        }
        let welcomed = async {
            self.welcome(latest).await?;
            self.say(Say::Credentials(latest.secrets.message.clone())).await
        };
        welcomed.await.err().flatten()
    }

    async fn welcome(&self, latest: &Latest) -> Result<(), Ended> {
        let pepper = self.fleet.parts.minter.pepper().expose().to_vec().into();
        let signing_keys = latest.signer.announced().to_vec();
        self.say(Say::Welcome(Welcome { replica: self.replica.to_string(), pepper, signing_keys })).await
    }

    // What the operator wants: whether to drain, and whether the replica is one at all.
    async fn direct(&self, wanted: Option<&HashMap<ReplicaId, bool>>, said: &mut Said) -> Result<(), Ended> {
        let Some(wanted) = wanted else { return Ok(()) };
        let Some(drain) = wanted.get(&self.replica).copied() else {
            // One that just joined may not have been read yet: the row is asked for, not the copy.
            return self.still_a_replica().await;
        };
        // A replica remembers no drain from before it started, and takes requests unless it is told.
        if said.drain != Some(drain) && (drain || said.drain.is_some()) {
            self.say(Say::Directive(Directive { drain })).await?;
        }
        said.drain = Some(drain);
        Ok(())
    }

    // Its part of each rate limit, where no Redis counts. One that is not read yet waits for its part, and for every push,
    // until it is: the roster reads as soon as it has written that a replica follows.
    async fn share(&self, sharers: &[ReplicaId], said: &mut Said) -> Result<(), Ended> {
        let Some(rank) = sharers.iter().position(|replica| *replica == self.replica) else { return Ok(()) };
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let share = Share { replicas: number(sharers.len()), rank: number(rank) };
        if said.share.as_ref() != Some(&share) {
            self.say(Say::Share(share)).await?;
            said.share = Some(share);
        }
        Ok(())
    }

    async fn still_a_replica(&self) -> Result<(), Ended> {
        match self.fleet.find(self.replica.as_str()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Some(Status::unauthenticated("this replica was deleted: let it join again"))),
            Err(status) => Err(Some(status)),
        }
    }

    async fn catch_up(&self, latest: &Latest, said: &mut Said) -> Result<(), Ended> {
        if said.keys != key_ids(latest) {
            self.welcome(latest).await?;
            said.keys = key_ids(latest);
        }
        if said.secrets != latest.secrets.version {
            self.say(Say::Credentials(latest.secrets.message.clone())).await?;
            said.secrets = latest.secrets.version;
        }
        let newest = At { epoch: Arc::clone(&latest.epoch), revision: latest.revision };
        let (from, refused, resync) = {
            let place = self.place();
            (place.sent.clone(), place.refused.clone(), place.resync)
        };
        // A replica that must wait for its full snapshot still hears of every change meanwhile.
        if resync && Instant::now() >= said.resync_at {
            return self.full(latest, said).await;
        }
        if refused.is_some_and(|refused| refused.epoch == newest.epoch && refused.revision >= newest.revision) {
            return Ok(());
        }
        match from.filter(|from| from.epoch == newest.epoch) {
            Some(from) if from.revision >= newest.revision => Ok(()),
            Some(from) => match self.delta(latest, from.revision).await.map_err(|error| Some(failed(&error)))? {
                Some(delta) => self.push(latest, &delta).await,
                None => self.whole(latest, from.revision).await,
            },
            None => self.whole(latest, 0).await,
        }
    }

    async fn delta(&self, latest: &Latest, base: i64) -> Result<Option<Encoded>, PublishError> {
        let step = latest.step.as_ref().filter(|step| step.base() == base);
        let delta = match step {
            Some(step) => Some(Arc::clone(step)),
            None => self.fleet.parts.handle.delta(base).await?,
        };
        match delta {
            Some(delta) => Ok(Some(delta.get().await?.clone())),
            None => Ok(None),
        }
    }

    // A full snapshot because the replica asked for one: not more often than it deserves.
    async fn full(&self, latest: &Latest, said: &mut Said) -> Result<(), Ended> {
        let now = Instant::now();
        if now.duration_since(said.resync_at) > RESYNC_PAUSE_LONGEST {
            said.resync_pause = RESYNC_PAUSE_FIRST;
        }
        said.resync_at = now + said.resync_pause;
        said.resync_pause = (said.resync_pause * 2).min(RESYNC_PAUSE_LONGEST);
        let least = {
            let mut place = self.place();
            place.resync = false;
            place.refused = None;
            // Of another history the replica has no revision that could be higher.
            let has = place.acknowledged.as_ref().filter(|at| at.epoch == latest.epoch);
            has.map_or(0, |at| at.revision.min(latest.revision))
        };
        self.whole(latest, least).await
    }

    // It may be older than what is newest; the next turn sends the delta behind it.
    async fn whole(&self, latest: &Latest, least: i64) -> Result<(), Ended> {
        let full = async {
            let full = self.fleet.parts.handle.full(least).await?;
            Ok(full.get().await?.clone())
        };
        let full = full.await.map_err(|error| Some(failed(&error)))?;
        self.push(latest, &full).await?;
        self.moved.notify_one();
        Ok(())
    }

    async fn push(&self, latest: &Latest, encoded: &Encoded) -> Result<(), Ended> {
        let Encoded { head, chunks } = encoded;
        if head.revision > latest.revision || *head.epoch != *latest.epoch {
            // Published since this turn began: the next turn sends the secrets first to which it may refer.
            self.moved.notify_one();
            return Ok(());
        }
        // Before it is sent: the replica may acknowledge it before this task runs again.
        self.place().sent = Some(At { epoch: head.epoch.as_str().into(), revision: head.revision });
        self.say(Say::Push(head.clone())).await?;
        for data in chunks.iter() {
            self.say(Say::Chunk(Chunk { data: data.clone() })).await?;
        }
        Ok(())
    }

    async fn say(&self, message: Say) -> Result<(), Ended> {
        let response = FollowResponse { message: Some(message) };
        match self.send.send_timeout(Ok(response), SEND_TIMEOUT).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(None),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                Err(Some(Status::deadline_exceeded("the replica took nothing for 60 s")))
            }
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key_ids(latest: &Latest) -> Vec<String> {
    latest.signer.announced().iter().map(|key| key.id.clone()).collect()
}

fn failed(error: &PublishError) -> Status {
    tracing::error!(%error, "failed to make a push");
    Status::unavailable("the control plane cannot make a push now: its log says why")
}
