//! One Follow stream, from hello to its end.

use std::time::Duration;

use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    fleet::v1::{
        Alive, Chunk, FollowRequest, FollowResponse, Heartbeat, Push, Resync, fleet_service_client::FleetServiceClient,
        follow_request::Message as Say, follow_response::Message as Hear,
    },
    push,
};
use tonic::Streaming;

use super::{
    assembly::{Assembly, InvalidPush},
    replica::{Replica, Reply, Unwelcome},
};
use crate::membership::{Link, Standing};

/// What waits to be said. A control plane that does not read as much is as good as dead.
const SAY_MAX: usize = 16;
/// From the call to the welcome.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// How often files that references name are looked at.
const SECRETS_INTERVAL: Duration = Duration::from_secs(30);

/// How a stream ended without an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// The process stops.
    Stopped,
    /// There is a newer certificate to follow with.
    NewIdentity,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("{} ({:?})", .0.message(), .0.code())]
    Status(Box<tonic::Status>),
    #[error("the control plane ended the stream")]
    Closed,
    #[error("the control plane was silent for {0} s")]
    Silent(u64),
    #[error("the control plane does not read")]
    Deaf,
    #[error("the control plane broke the protocol: {0}")]
    Protocol(&'static str),
    #[error(transparent)]
    Unwelcome(#[from] Unwelcome),
}

// Where the stream is in a push.
#[derive(Debug)]
enum Receiving {
    Nothing,
    Push(Box<Assembly>),
    // The rest of a push that was refused at its head.
    Refused,
}

struct Session<'a> {
    replica: &'a mut Replica,
    say: mpsc::Sender<FollowRequest>,
    receiving: Receiving,
    welcomed: bool,
}

/// Follows until the stream ends. Sets `lived` once the control plane said something after its welcome.
pub(super) async fn run(
    replica: &mut Replica,
    link: &Link,
    mut standing: watch::Receiver<Standing>,
    stop: &CancellationToken,
    lived: &mut bool,
) -> Result<Ended, SessionError> {
    let generation = standing.borrow().generation;
    let (say, said) = mpsc::channel(SAY_MAX);
    let mut session = Session { replica, say, receiving: Receiving::Nothing, welcomed: false };
    session.say(Say::Hello(Box::new(session.replica.hello())))?;
    let mut stream = tokio::select! {
        () = stop.cancelled() => return Ok(Ended::Stopped),
        stream = open(link, said) => stream?,
    };
    let mut alive = interval(Duration::from_secs(push::ALIVE_SECONDS));
    let mut secrets = interval(SECRETS_INTERVAL);
    let mut deadline = Instant::now() + WELCOME_TIMEOUT;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Ended::Stopped),
            heard = stream.message() => {
                let heard = heard.map_err(|status| SessionError::Status(Box::new(status)))?;
                *lived |= session.welcomed;
                session.hear(heard.ok_or(SessionError::Closed)?).await?;
                deadline = Instant::now() + Duration::from_secs(push::SILENCE_SECONDS_MAX);
            }
            _ = standing.changed() => {
                if standing.borrow_and_update().generation != generation {
                    return Ok(Ended::NewIdentity);
                }
            }
            _ = alive.tick() => session.alive()?,
            _ = secrets.tick() => session.replica.refresh_secrets().await,
            () = tokio::time::sleep_until(deadline) => return Err(SessionError::Silent(push::SILENCE_SECONDS_MAX)),
        }
    }
}

async fn open(link: &Link, said: mpsc::Receiver<FollowRequest>) -> Result<Streaming<FollowResponse>, SessionError> {
    let mut client = FleetServiceClient::new(link.channel()).max_decoding_message_size(push::MESSAGE_BYTES_MAX);
    let call = client.follow(link.request(ReceiverStream::new(said)));
    match tokio::time::timeout(WELCOME_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(SessionError::Status(Box::new(status))),
        Err(_) => Err(SessionError::Silent(WELCOME_TIMEOUT.as_secs())),
    }
}

fn interval(period: Duration) -> tokio::time::Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Session<'_> {
    async fn hear(&mut self, response: FollowResponse) -> Result<(), SessionError> {
        let FollowResponse { message } = response;
        self.replica.heard(None);
        match message {
            Some(Hear::Welcome(welcome)) => {
                self.replica.welcome(&welcome).await?;
                self.welcomed = true;
            }
            _ if !self.welcomed => return Err(SessionError::Protocol("it did not begin with a welcome")),
            Some(Hear::Credentials(credentials)) => self.replica.credentials(&credentials).await?,
            Some(Hear::Push(head)) => self.begin(head)?,
            Some(Hear::Chunk(chunk)) => self.chunk(chunk).await?,
            Some(Hear::Heartbeat(Heartbeat { revision })) => self.replica.heard(Some(revision)),
            Some(Hear::Directive(directive)) => self.replica.drain(directive.drain),
            // A newer control plane may say what this version does not know; it is not policy, which has its own check.
            Some(Hear::Recall(recall)) => self.replica.recall(&recall.budget),
            Some(Hear::Share(share)) => self.replica.share(&share),
            Some(Hear::Checkpoint(checkpoint)) => self.replica.checkpoint(checkpoint),
            None => {}
        }
        Ok(())
    }

    fn begin(&mut self, head: Push) -> Result<(), SessionError> {
        if let Receiving::Push(cut) = std::mem::replace(&mut self.receiving, Receiving::Nothing) {
            self.refuse(cut.revision(), InvalidPush::Truncated)?;
        }
        let revision = head.revision;
        match Assembly::begin(head) {
            Ok(assembly) => self.receiving = Receiving::Push(Box::new(assembly)),
            Err(invalid) => self.refuse(revision, invalid)?,
        }
        Ok(())
    }

    async fn chunk(&mut self, chunk: Chunk) -> Result<(), SessionError> {
        let Chunk { data } = chunk;
        let assembly = match std::mem::replace(&mut self.receiving, Receiving::Nothing) {
            Receiving::Push(assembly) => assembly,
            Receiving::Refused => {
                self.receiving = Receiving::Refused;
                return Ok(());
            }
            Receiving::Nothing => return Err(SessionError::Protocol("a chunk without a push")),
        };
        let revision = assembly.revision();
        match assembly.push(data) {
            Ok(Err(more)) => self.receiving = Receiving::Push(Box::new(more)),
            Ok(Ok(whole)) => {
                let reply = self.replica.apply(whole).await;
                self.reply(reply)?;
            }
            Err(invalid) => self.refuse(revision, invalid)?,
        }
        Ok(())
    }

    fn refuse(&mut self, revision: i64, invalid: InvalidPush) -> Result<(), SessionError> {
        self.receiving = Receiving::Refused;
        let reply = self.replica.refuse_early(revision, &invalid.to_string());
        self.reply(reply)
    }

    fn reply(&self, reply: Reply) -> Result<(), SessionError> {
        self.say(match reply {
            Reply::Ack(ack) => Say::Ack(ack),
            Reply::Nack(nack) => Say::Nack(nack),
            Reply::Resync(resync) => Say::Resync(resync),
        })
    }

    fn alive(&self) -> Result<(), SessionError> {
        if self.replica.keeper().take_wish() {
            return self.say(Say::Resync(Resync { reason: "the disk cache begins anew".into() }));
        }
        self.say(Say::Alive(Alive { resting: self.replica.resting() }))
    }

    fn say(&self, message: Say) -> Result<(), SessionError> {
        self.say.try_send(FollowRequest { message: Some(message) }).map_err(|_| SessionError::Deaf)
    }
}
