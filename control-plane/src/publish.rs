//! Publishing: the rows that changed become items, and the items a push that every stream sends on.
//!
//! One task owns the state. It wakes when a revision is committed, here or elsewhere, and once a second in any case, reads
//! what changed, and tells the streams that there is something newer. What a stream then sends depends on where its replica
//! is: the last step, a delta over several steps, or everything. Each of these is encoded and signed once.
//!
//! Several control planes over one database publish the same items and digests under the same revision, since both follow
//! from the rows alone. They may publish other steps: a delta therefore fits whoever has its base or more.
//!
//! **When a database is restored from a backup**, revisions that replicas already have are given out again, for other content.
//! A control plane that sees such a revision begins a new epoch, and every replica takes a full snapshot. It sees it when it
//! has published it itself, or when a replica shows a head of that epoch with a higher revision and the fleet's signature.
//!
//! Reading order: [`items`], rows to items; [`encode`], items to a push; [`signer`]; [`state`], what the task owns; then
//! [`Publisher`].

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use prost::bytes::Bytes;
use serde_json::json;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};
use tokio_util::sync::CancellationToken;
use tollgate_audit::{Entry, Facts, Outcome};
use tollgate_proto::fleet::v1::{CredentialSecret, Credentials, Push};
use zeroize::Zeroizing;

use self::{encode::Lazy, signer::Signer, state::State};
use crate::{
    audit, clock,
    seal::{Keyring, Place, SealError},
    store::{
        Store, StoreError, Txn,
        changes::Changes,
        providers::{CREDENTIAL, Provider},
    },
};

pub(crate) mod encode;
pub(crate) mod items;
pub(crate) mod signer;
mod state;

/// The poll is the truth, the wake a hint.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The most streams that wait for an answer at a time; more wait to ask.
const ASKS_MAX: usize = 256;

/// Why something was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The database cannot be read.
    #[error("the database failed")]
    Store(#[from] StoreError),
    /// A sealed secret does not open.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The signing key is not one.
    #[error("the signing key {0}")]
    SigningKey(&'static str),
    /// The policy is larger than a replica takes.
    #[error("revision {revision} takes {bytes} bytes, more than a replica accepts")]
    TooLarge {
        /// The revision.
        revision: i64,
        /// The length of the payload before compression.
        bytes: u64,
    },
    /// A push could not be compressed.
    #[error("a push could not be encoded")]
    Encoding,
    /// The task that publishes has ended.
    #[error("the control plane stops")]
    Stopped,
}

/// What is newest.
#[derive(Clone, Debug)]
pub(crate) struct Latest {
    /// Names the history.
    pub(crate) epoch: Arc<str>,
    /// The revision.
    pub(crate) revision: i64,
    /// Leads there from the revision before; `None` for the first one of this process or of a history.
    pub(crate) step: Option<Arc<Lazy>>,
    /// The literal secrets of credentials.
    pub(crate) secrets: Arc<Secrets>,
    /// Signs pushes.
    pub(crate) signer: Arc<Signer>,
}

/// The literal secrets of enabled credentials.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    /// Goes up with each change.
    pub(crate) version: u64,
    /// As they are sent.
    pub(crate) message: Credentials,
}

/// What streams ask the publisher for. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    asks: mpsc::Sender<Ask>,
    latest: watch::Receiver<Option<Arc<Latest>>>,
    refused: watch::Receiver<Vec<String>>,
}

#[derive(Debug)]
enum Ask {
    /// A delta from this revision, if what changed since is remembered.
    Delta { base: i64, reply: oneshot::Sender<Option<Arc<Lazy>>> },
    /// A full snapshot of this revision or a later one.
    Full { least: i64, reply: oneshot::Sender<Arc<Lazy>> },
    /// A replica has a revision that is not known here; it may be newer, or from before a restore.
    Ahead { head: Box<Push> },
}

/// The task that publishes.
#[derive(Debug)]
pub(crate) struct Publisher {
    store: Store,
    keyring: Arc<Keyring>,
    state: State,
    literals: BTreeMap<String, Zeroizing<Vec<u8>>>,
    secrets: Arc<Secrets>,
    signer: Option<Arc<Signer>>,
    asks: mpsc::Receiver<Ask>,
    latest: watch::Sender<Option<Arc<Latest>>>,
    refused: watch::Sender<Vec<String>>,
}

// === impl Handle ===

impl Handle {
    /// What is newest, and a wake at each change; `None` before the database was first read.
    pub(crate) fn latest(&self) -> watch::Receiver<Option<Arc<Latest>>> {
        self.latest.clone()
    }

    /// What is wrong with objects that are not published.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.borrow().clone()
    }

    /// The push that leads from `base` to the newest revision, if what changed since is remembered.
    pub(crate) async fn delta(&self, base: i64) -> Result<Option<Arc<Lazy>>, PublishError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Delta { base, reply }).await?;
        answer.await.map_err(|_| PublishError::Stopped)
    }

    /// A full snapshot of the revision `least` or a later one.
    pub(crate) async fn full(&self, least: i64) -> Result<Arc<Lazy>, PublishError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Full { least, reply }).await?;
        answer.await.map_err(|_| PublishError::Stopped)
    }

    /// Tells that a replica shows this head, of a revision that is not known here.
    pub(crate) async fn ahead(&self, head: Push) -> Result<(), PublishError> {
        self.ask(Ask::Ahead { head: Box::new(head) }).await
    }

    async fn ask(&self, ask: Ask) -> Result<(), PublishError> {
        self.asks.send(ask).await.map_err(|_| PublishError::Stopped)
    }
}

// === impl Publisher ===

impl Publisher {
    /// Prepares the task, and makes the signing keys when there are none yet.
    ///
    /// # Errors
    /// When they cannot be made or stored.
    pub(crate) async fn new(store: Store, keyring: Arc<Keyring>) -> Result<(Self, Handle), PublishError> {
        Signer::ensure(&store, &keyring).await?;
        let (sender, asks) = mpsc::channel(ASKS_MAX);
        let (latest, refused) = (watch::Sender::new(None), watch::Sender::new(Vec::new()));
        let handle = Handle { asks: sender, latest: latest.subscribe(), refused: refused.subscribe() };
        let publisher = Self {
            store,
            keyring,
            state: State::default(),
            literals: BTreeMap::new(),
            secrets: Arc::default(),
            signer: None,
            asks,
            latest,
            refused,
        };
        Ok((publisher, handle))
    }

    /// Publishes until `stop` is cancelled. An outage of the database is logged when it begins and when it ends.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut changed = self.store.changed();
        let mut poll = tokio::time::interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing = false;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                Ok(()) = changed.changed() => {}
                _ = poll.tick() => {}
                Some(ask) = self.asks.recv() => {
                    self.answer(ask).await;
                    continue;
                }
            }
            changed.borrow_and_update();
            let read = self.read().await;
            match (&read, failing) {
                (Err(error), false) => tracing::error!(%error, "failed to publish"),
                (Ok(()), true) => tracing::info!("publishing again"),
                _ => {}
            }
            failing = read.is_err();
        }
    }

    // Reads what changed, if anything did, and tells the streams.
    async fn read(&mut self) -> Result<(), PublishError> {
        let mut txn = self.store.begin_read().await?;
        let (epoch, revision) = txn.fleet().await?;
        let same = self.signer.is_some() && epoch == self.state.epoch();
        if same && revision == self.state.revision() {
            txn.end().await?;
            return self.rotate_when_due().await;
        }
        if same && revision < self.state.revision() {
            txn.end().await?;
            return self.begin_history(&epoch, self.state.revision()).await;
        }
        let changes = txn.changes(if same { self.state.revision() } else { 0 }).await?;
        // What changed lately is remembered from the start, so that replicas that were here before need no full snapshot.
        let since = (revision - state::RECENT_MAX).max(1);
        let recent = if same || since >= revision { None } else { Some((since, txn.changes(since).await?)) };
        let literals = self.read_literals(&mut txn, &changes, same).await?;
        let signer = Signer::read(&mut txn, &self.keyring).await?;
        txn.end().await?;
        self.publish(&changes, same, literals, signer);
        if let Some((since, recent)) = recent {
            self.state.remember(since, &recent);
        }
        Ok(())
    }

    fn publish(
        &mut self,
        changes: &Changes,
        same: bool,
        literals: BTreeMap<String, Zeroizing<Vec<u8>>>,
        signer: Arc<Signer>,
    ) {
        let base = self.state.revision();
        if self.signer.as_ref().is_some_and(|before| before.announced() != signer.announced()) {
            self.state.forget_encoded();
        }
        self.state.take(changes, !same);
        if self.literals != literals {
            let secret = |(credential, secret): (&String, &Zeroizing<Vec<u8>>)| CredentialSecret {
                credential: credential.clone(),
                secret: Bytes::copy_from_slice(secret),
            };
            let message = Credentials { secrets: literals.iter().map(secret).collect() };
            self.secrets = Arc::new(Secrets { version: self.secrets.version + 1, message });
            self.literals = literals;
        }
        let step = if same { self.state.delta(base, &signer) } else { None };
        self.signer = Some(Arc::clone(&signer));
        let refused: Vec<String> = self.state.refused().map(str::to_owned).collect();
        self.refused.send_if_modified(|known| {
            let differs = *known != refused;
            *known = refused;
            differs
        });
        let (epoch, revision, secrets) = (self.state.epoch().into(), self.state.revision(), Arc::clone(&self.secrets));
        tracing::debug!(revision, "published");
        self.latest.send_replace(Some(Arc::new(Latest { epoch, revision, step, secrets, signer })));
    }

    // Of each enabled credential that is not a reference. A secret is sealed anew only with its provider or server.
    async fn read_literals(
        &self,
        txn: &mut Txn,
        changes: &Changes,
        same: bool,
    ) -> Result<BTreeMap<String, Zeroizing<Vec<u8>>>, PublishError> {
        let untouched = changes.providers.is_empty() && changes.mcp_servers.is_empty() && changes.tombstones.is_empty();
        if same && untouched {
            return Ok(self.literals.clone());
        }
        let providers = self.state.providers_after(changes, same);
        let mut ids = txn.mcp_literals().await?;
        ids.extend(providers.into_iter().flat_map(literal_ids).map(str::to_owned));
        let mut literals = BTreeMap::new();
        for id in ids {
            let place = Place { purpose: CREDENTIAL, id: &id };
            let Some(sealed) = txn.secret_get(place).await? else { continue };
            match self.keyring.open(place, &sealed) {
                Ok(secret) => drop(literals.insert(id, secret)),
                // One credential that does not open must not keep a revocation from being published.
                Err(error) => tracing::error!(credential = id, %error, "secret of a credential does not open"),
            }
        }
        Ok(literals)
    }

    async fn answer(&mut self, ask: Ask) {
        let Some(signer) = self.signer.clone() else { return };
        match ask {
            // The stream that asked may be gone.
            Ask::Delta { base, reply } => drop(reply.send(self.state.delta(base, &signer))),
            Ask::Full { least, reply } => drop(reply.send(self.state.full(least, &signer))),
            Ask::Ahead { head } => {
                if let Err(error) = self.examine(&head, &signer).await {
                    tracing::error!(%error, "failed to look for a revision that a replica has");
                }
            }
        }
    }

    // The database knows whether the revision is newer than what is published here, or is from before a restore.
    async fn examine(&mut self, head: &Push, signer: &Signer) -> Result<(), PublishError> {
        self.read().await?;
        if head.epoch != self.state.epoch() || head.revision <= self.state.revision() {
            return Ok(());
        }
        if !signer.has_signed(head) {
            tracing::warn!(revision = head.revision, "a replica claims a revision that this fleet has not signed");
            return Ok(());
        }
        self.begin_history(&head.epoch, head.revision).await
    }

    async fn begin_history(&self, old: &str, seen: i64) -> Result<(), PublishError> {
        let mut txn = self.store.begin().await?;
        let revision = txn.advance_revision().await?;
        // Committed meanwhile, here or on another control plane: the revision is no proof any more.
        if revision > seen || !txn.epoch_renew(old).await? {
            return Ok(txn.end().await?);
        }
        let mut detail = serde_json::Map::new();
        detail.insert("epoch".into(), json!(old));
        detail.insert("revision_seen".into(), json!(seen));
        detail.insert("revision".into(), json!(revision));
        let facts = Facts { initiator: "system", target: "fleet", detail, ..Facts::default() };
        audit::append(&mut txn, Entry::new(clock::now_ms(), "fleet.begin_epoch", Outcome::Allowed, facts)).await?;
        txn.commit().await?;
        tracing::warn!(seen, revision, "the database was restored from a backup: a new epoch begins");
        Ok(())
    }

    async fn rotate_when_due(&self) -> Result<(), PublishError> {
        let due = self.signer.as_ref().is_some_and(|signer| signer.is_due(clock::now_ms()));
        if due && Signer::rotate(&self.store, &self.keyring).await? {
            tracing::info!("the next signing key signs from now on");
        }
        Ok(())
    }
}

fn literal_ids(provider: &Provider) -> impl Iterator<Item = &str> {
    let literal =
        provider.credentials.iter().filter(|credential| !credential.disabled && credential.reference.is_none());
    literal.map(|credential| credential.id.as_str())
}
