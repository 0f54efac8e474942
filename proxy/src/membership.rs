//! Membership of the fleet: who this replica is, and the connection that proves it.
//!
//! With a join token the replica makes a key pair, has it certified, and keeps both in `<data-dir>/identity.json` (0600). The
//! certificate is good for a day and renewed at half its life with a new key pair; when that fails, the valid one is kept.
//! With a fleet token there is no certificate: that is for a control plane on the same machine.
//!
//! Reading order: [`identity`], what is on disk; [`connect`], the connection; then [`Link`], which other parts hold.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use http::{HeaderName, HeaderValue};
use rcgen::{CertificateParams, KeyPair};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tollgate_policy::id::ReplicaId;
use tollgate_proto::{
    fleet::v1::{JoinRequest, RenewRequest, fleet_service_client::FleetServiceClient},
    push,
};
use tollgate_settings::Secret;
use tonic::{Request, transport::Channel};

use self::{connect::Address, identity::Identity};
use crate::backoff::{self, Backoff};

mod connect;
mod identity;

/// How long a join or a renewal may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two attempts to join or renew: soon at first, and never so seldom that half a day would not hold dozens.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(60);
/// The clock is looked at so often: a machine that slept renews when it wakes.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// The renewal moves by so much of half the life, in either direction.
const RENEWAL_JITTER: f64 = 0.1;

const ENDED: &str = "the certificate has ended: set a fresh join token";

/// How a replica becomes a member.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the control plane's fleet listener is: `https://host:port`, or `http://` on loopback.
    pub control_plane: String,
    /// Where the identity is kept.
    pub data_dir: PathBuf,
    /// The name under which operators know the replica.
    pub name: String,
    /// Where it runs.
    pub region: String,
    /// Admits it the first time. It carries the authority's certificate.
    pub join_token: Option<Secret>,
    /// Stands for a certificate on a loopback listener.
    pub fleet_token: Option<Secret>,
    /// A PEM file with the fleet's authority, which then stands before the one in the join token.
    pub authority: Option<PathBuf>,
}

/// Why a replica is not a member.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The address of the control plane is not one.
    #[error("control plane address: {0}")]
    Address(&'static str),
    /// A token is not one.
    #[error("token: {0}")]
    Token(&'static str),
    /// The identity or the authority on disk cannot be read or written.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate is not the one that was asked for.
    #[error("certificate: {0}")]
    Certificate(String),
    /// There is no identity, and no token to get one with.
    #[error("not a member of a fleet: set a join token")]
    NoToken,
    /// The control plane refused, or was not reached.
    #[error("control plane: {} ({:?})", .0.message(), .0.code())]
    Refused(#[source] Box<tonic::Status>),
}

/// The replica's connection to its control plane, with its proof of who it is. Cloning shares it. It survives renewals:
/// take [`Link::channel`] anew for each call or stream.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    address: Address,
    proof: Proof,
    channel: ArcSwap<Channel>,
    standing: watch::Sender<Standing>,
}

// What a request proves its origin with.
enum Proof {
    Certificate,
    Token { authorization: HeaderValue, name: HeaderValue },
}

/// Where membership stands.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Counts the identities; a higher number means that [`Link::channel`] returns another channel.
    pub generation: u64,
    /// The replica's id; `None` before it joined, and with a fleet token, where the control plane says it in its welcome.
    pub replica: Option<ReplicaId>,
    /// When the certificate ends.
    pub expires: Option<SystemTime>,
    /// Why the last attempt to join or renew failed.
    pub last_error: Option<String>,
    /// What this replica trusts in its control plane, in a fixed length; all zeros before it joined. What was learned from
    /// another one does not count here.
    pub anchor: [u8; 32],
}

// === impl Link ===

impl Link {
    /// Prepares the link from what is configured and what is on disk. Nothing is sent yet. Blocks shortly.
    ///
    /// # Errors
    /// When the address or a token is not one, or when the identity on disk is there and cannot be read.
    pub fn open(options: Options) -> Result<Self, MembershipError> {
        let address = Address::parse(&options.control_plane)?;
        let proof = proof(&options, &address)?;
        let mut standing = Standing { anchor: Sha256::digest(b"loopback").into(), ..Standing::default() };
        let mut channel = connect::plain(&address);
        if matches!(proof, Proof::Certificate) {
            // Without an identity every call fails at once, and says why.
            channel = connect::refusing(&address);
            standing.anchor = [0; 32];
            match Identity::load(&options.data_dir)?.filter(|found| meant(found, &options)) {
                Some(identity) if SystemTime::now() < identity.expires => {
                    channel = connect::mutual(&address, &identity)?;
                    standing = member(&identity, 1);
                }
                // It has ended, but says whose policy is on disk: the replica starts with that.
                Some(identity) => standing = Standing { last_error: Some(ENDED.into()), ..member(&identity, 0) },
                None if options.join_token.is_none() => return Err(MembershipError::NoToken),
                None => {}
            }
        }
        let standing = watch::Sender::new(standing);
        Ok(Self {
            shared: Arc::new(Shared { options, address, proof, channel: ArcSwap::from_pointee(channel), standing }),
        })
    }

    /// The connection as it is now. It connects when it is first used, and again when it breaks.
    #[must_use]
    pub fn channel(&self) -> Channel {
        Channel::clone(&self.shared.channel.load())
    }

    /// Makes a request of `message` with what proves who sends it.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        self.authorize(request.metadata_mut());
        request
    }

    /// Adds what proves who sends the request; nothing when the certificate does.
    pub fn authorize(&self, metadata: &mut tonic::metadata::MetadataMap) {
        if let Proof::Token { authorization, name } = &self.shared.proof {
            let mut headers = std::mem::take(metadata).into_headers();
            headers.insert(http::header::AUTHORIZATION, authorization.clone());
            headers.insert(HeaderName::from_static(push::REPLICA_NAME_METADATA), name.clone());
            *metadata = tonic::metadata::MetadataMap::from_headers(headers);
        }
    }

    /// Where membership stands, and a wake at each change.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.shared.standing.subscribe()
    }

    /// Whether calls can be made: with a fleet token at once, otherwise once the replica has joined.
    #[must_use]
    pub fn is_member(&self) -> bool {
        matches!(self.shared.proof, Proof::Token { .. }) || self.shared.standing.borrow().generation > 0
    }

    /// Joins when that is due, and renews the certificate at half its life, until `stop` is cancelled.
    pub async fn maintain(&self, stop: CancellationToken) {
        if matches!(self.shared.proof, Proof::Token { .. }) {
            return stop.cancelled().await;
        }
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        let mut due = self.renewal_due();
        loop {
            let left = due.duration_since(SystemTime::now()).unwrap_or_default();
            if !left.is_zero() {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(left.min(LOOK_INTERVAL)) => continue,
                }
            }
            let attempt = tokio::select! {
                () = stop.cancelled() => return,
                attempt = self.obtain() => attempt,
            };
            due = match attempt {
                Ok(()) => {
                    backoff.reset();
                    self.renewal_due()
                }
                Err(error) => {
                    tracing::warn!(%error, member = self.is_member(), "failed to obtain a certificate");
                    self.shared.standing.send_modify(|standing| standing.last_error = Some(error.to_string()));
                    SystemTime::now() + backoff.next()
                }
            };
        }
    }

    // Half of what is left of the certificate, more or less; at once without one.
    fn renewal_due(&self) -> SystemTime {
        let now = SystemTime::now();
        let expires = self.shared.standing.borrow().expires;
        let left = expires.and_then(|expires| expires.duration_since(now).ok()).unwrap_or_default();
        let jitter = 1.0 - RENEWAL_JITTER + 2.0 * RENEWAL_JITTER * backoff::random_fraction();
        now + left.div_f64(2.0).mul_f64(jitter)
    }

    async fn obtain(&self) -> Result<(), MembershipError> {
        let now = SystemTime::now();
        let valid = self.shared.standing.borrow().expires.is_some_and(|expires| now < expires);
        let (key, request) = certificate_request()?;
        let identity = if valid { self.renewed(key, request).await } else { self.joined(key, request).await }?;
        let channel = connect::mutual(&self.shared.address, &identity)?;
        let data_dir = self.shared.options.data_dir.clone();
        // The file is small, but fsync may take long; an identity that is not on disk is not used.
        let saved = tokio::task::spawn_blocking(move || identity.save(&data_dir).map(|()| identity)).await;
        let identity = saved.map_err(|error| MembershipError::Certificate(error.to_string()))??;
        self.shared.channel.store(Arc::new(channel));
        self.shared.standing.send_modify(|standing| *standing = member(&identity, standing.generation + 1));
        tracing::info!(replica = %identity.replica, renewed = valid, "obtained a certificate");
        Ok(())
    }

    async fn joined(&self, key: KeyPair, request: Vec<u8>) -> Result<Identity, MembershipError> {
        let options = &self.shared.options;
        let token = options.join_token.as_ref().ok_or(MembershipError::NoToken)?;
        let ticket = identity::Ticket::parse(token)?;
        let authority = match &options.authority {
            Some(path) => identity::read_authority(path)?,
            None => ticket.authority.clone(),
        };
        let channel = connect::pinned(&self.shared.address, &authority)?;
        let message = JoinRequest {
            token: ticket.secret.expose().to_owned(),
            certificate_request: request.into(),
            name: options.name.clone(),
            region: options.region.clone(),
        };
        let mut client = FleetServiceClient::new(channel);
        let answer = bounded(client.join(message)).await?;
        Identity::new(&answer.certificate_chain, &key, authority, digest_of(token), Some(&answer.replica))
    }

    async fn renewed(&self, key: KeyPair, request: Vec<u8>) -> Result<Identity, MembershipError> {
        let data_dir = self.shared.options.data_dir.clone();
        let loaded = tokio::task::spawn_blocking(move || Identity::load(&data_dir)).await;
        let old = loaded.map_err(|error| MembershipError::Certificate(error.to_string()))??;
        let old = old.ok_or(MembershipError::NoToken)?;
        let message = self.request(RenewRequest { certificate_request: request.into() });
        let mut client = FleetServiceClient::new(self.channel());
        let answer = bounded(client.renew(message)).await?;
        let replica = Some(old.replica.as_str());
        Identity::new(&answer.certificate_chain, &key, old.authority.clone(), old.token_digest, replica)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = self.shared.standing.borrow();
        f.debug_struct("Link").field("control_plane", &self.shared.address).field("standing", &*standing).finish()
    }
}

fn proof(options: &Options, address: &Address) -> Result<Proof, MembershipError> {
    let Some(token) = &options.fleet_token else {
        if !address.is_tls() {
            return Err(MembershipError::Address("http:// needs a fleet token; otherwise give an https:// address"));
        }
        return Ok(Proof::Certificate);
    };
    if address.is_tls() || !address.is_loopback() {
        return Err(MembershipError::Address("a fleet token travels only to an http:// address on loopback"));
    }
    let header = |text: &str| HeaderValue::from_str(text);
    let mut authorization = header(&format!("Bearer {}", token.expose()))
        .map_err(|_| MembershipError::Token("a fleet token has visible ASCII characters only"))?;
    authorization.set_sensitive(true);
    let name = header(&options.name).map_err(|_| MembershipError::Token("the replica's name is not ASCII"))?;
    Ok(Proof::Token { authorization, name })
}

// An identity that was obtained with another token than the one that is configured now is given up: the operator means to
// join anew.
fn meant(identity: &Identity, options: &Options) -> bool {
    options.join_token.as_ref().is_none_or(|token| digest_of(token) == identity.token_digest)
}

fn digest_of(token: &Secret) -> [u8; 32] {
    Sha256::digest(token.expose().as_bytes()).into()
}

fn member(identity: &Identity, generation: u64) -> Standing {
    Standing {
        generation,
        replica: Some(identity.replica.clone()),
        expires: Some(identity.expires),
        last_error: None,
        anchor: Sha256::digest(&identity.authority).into(),
    }
}

fn certificate_request() -> Result<(KeyPair, Vec<u8>), MembershipError> {
    let made = || {
        let key = KeyPair::generate()?;
        let request = CertificateParams::default().serialize_request(&key)?;
        Ok::<_, rcgen::Error>((key, request.der().to_vec()))
    };
    made().map_err(|error| MembershipError::Certificate(error.to_string()))
}

async fn bounded<T>(
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, MembershipError> {
    let answer = tokio::time::timeout(EXCHANGE_TIMEOUT, call).await;
    let answer = answer.unwrap_or_else(|_| Err(tonic::Status::deadline_exceeded("no answer in 10 s")));
    answer.map(tonic::Response::into_inner).map_err(|status| MembershipError::Refused(Box::new(status)))
}

#[cfg(test)]
mod tests;
