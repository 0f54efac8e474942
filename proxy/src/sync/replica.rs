//! What the replica knows, and what it does with each thing that it hears.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use tokio::sync::watch;
use tollgate_policy::{
    id::{BudgetId, CredentialId},
    rate::Share,
    time::UnixMillis,
    token::{Pepper, ShortPepper},
};
use tollgate_proto::{
    fleet::v1::{self, Ack, Credentials, Hello, Nack, Resync, Welcome},
    push,
};
use zeroize::Zeroizing;

use super::{
    Options, Status,
    assembly::Whole,
    keeper::Keeper,
    pins::{InvalidKeys, Pins},
    secrets::{self, InvalidCredentials, Secrets},
    state::{Refused, State, Touched},
};
use crate::{
    cache::{Cache, Context, Loaded, Stored},
    clock,
    current::{Current, Holder},
    guard::GuardKeys,
    health::Resting,
};

/// The replica's part of the stream.
#[derive(Debug)]
pub(super) struct Replica {
    options: Options,
    holder: Arc<Holder>,
    status: Arc<watch::Sender<Status>>,
    keeper: Arc<Keeper>,
    secrets: Secrets,
    trust: Option<Trust>,
    state: Option<State>,
    warned: HashSet<CredentialId>,
}

/// What the replica answers to a push.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Ack(Ack),
    Nack(Nack),
    Resync(Resync),
}

/// What the control plane says that ends the stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwelcome {
    #[error(transparent)]
    Keys(#[from] InvalidKeys),
    #[error(transparent)]
    Pepper(#[from] ShortPepper),
    #[error(transparent)]
    Credentials(#[from] InvalidCredentials),
}

// What a Welcome established, and by what anchor the control plane was known then.
#[derive(Clone, Debug)]
struct Trust {
    anchor: [u8; 32],
    pins: Pins,
    pepper: Pepper,
}

// What a blocking thread hands back.
struct Applied {
    state: Option<State>,
    outcome: Result<Installed, Refused>,
}

#[derive(Default)]
struct Installed {
    // `None`: the secrets were left as they were.
    missing: Option<HashMap<CredentialId, String>>,
    cut: usize,
}

// What a control plane reads of one message.
const RESTING_MAX: usize = 1_000;

impl Replica {
    pub(super) fn new(options: Options, holder: Arc<Holder>, status: Arc<watch::Sender<Status>>) -> Self {
        let secrets = Secrets::new(Arc::clone(&options.environment), &options.data_dir);
        let keeper = Arc::new(Keeper::default());
        Self { options, holder, status, keeper, secrets, trust: None, state: None, warned: HashSet::new() }
    }

    /// What this replica leaves alone, for operators.
    pub(super) fn resting(&self) -> Vec<v1::Resting> {
        let resting = self.options.health.resting().into_iter().take(RESTING_MAX);
        let told = |Resting { id, cause, left_ms }: Resting| v1::Resting {
            id,
            cause: cause.to_owned(),
            left_ms: i64::try_from(left_ms).unwrap_or(i64::MAX),
        };
        resting.map(told).collect()
    }

    /// Opens the disk cache and installs what it has, when that is young enough and of this fleet.
    pub(super) async fn start(&mut self) -> Option<Cache> {
        let data_dir = self.options.data_dir.clone();
        let anchor = self.anchor();
        let age_max = i64::try_from(self.options.snapshot_age_max.as_millis()).unwrap_or(i64::MAX);
        let oldest = UnixMillis::new(clock::wall().get().saturating_sub(age_max));
        let opened = tokio::task::spawn_blocking(move || {
            let mut cache = Cache::open(&data_dir)?;
            let loaded = cache.load(|loaded| replay(loaded, anchor, oldest));
            Ok::<_, std::io::Error>((cache, loaded))
        });
        let (cache, loaded) = match opened.await.map_err(std::io::Error::other).flatten() {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(%error, "no disk cache: this replica does not start without its control plane");
                return None;
            }
        };
        if let Some((trust, state, heard)) = loaded {
            tracing::info!(revision = state.revision(), "policy loaded from disk");
            self.trust = Some(trust);
            self.keeper.heard(heard);
            self.state = Some(state);
            self.reinstall().await;
            self.note(|status| status.heard = Some(heard));
        }
        Some(cache)
    }

    pub(super) fn keeper(&self) -> Arc<Keeper> {
        Arc::clone(&self.keeper)
    }

    /// Who follows, and what it has.
    pub(super) fn hello(&self) -> Hello {
        let Options { name, region, version, incarnation, .. } = &self.options;
        let head = self.state.as_ref().filter(|_| self.is_known()).map(|state| state.head.clone());
        Hello {
            name: name.clone(),
            region: region.clone(),
            version: version.clone(),
            incarnation: i64::try_from(*incarnation).unwrap_or(i64::MAX),
            epoch: head.as_ref().map(|head| head.epoch.clone()).unwrap_or_default(),
            revision: head.as_ref().map_or(0, |head| head.revision),
            digest: head.as_ref().map(|head| head.digest.clone()).unwrap_or_default(),
            head,
        }
    }

    /// Takes the welcome: pins its signing keys, or checks them against those that are pinned.
    pub(super) async fn welcome(&mut self, welcome: &Welcome) -> Result<(), Unwelcome> {
        let Welcome { replica, pepper, signing_keys } = welcome;
        let anchor = self.anchor();
        let known = self.trust.as_ref().filter(|trust| trust.anchor == anchor);
        let pins = match known {
            Some(trust) => trust.pins.next(signing_keys)?,
            None => Pins::first(signing_keys)?,
        };
        let pepper = Pepper::new(pepper.to_vec())?;
        let changed = known.is_none_or(|trust| trust.pepper.expose() != pepper.expose());
        if known.is_none() {
            // Another fleet: what was learned before does not build up to what comes now.
            self.state = None;
        }
        self.trust = Some(Trust { anchor, pins, pepper });
        if changed && self.state.is_some() {
            self.reinstall().await;
        }
        self.options.witness.writer(replica);
        tracing::info!(%replica, "following the control plane");
        self.note(|status| status.connected = true);
        Ok(())
    }

    /// Keeps what the control plane says of the audit log.
    pub(super) fn checkpoint(&self, checkpoint: v1::Checkpoint) {
        self.options.witness.checkpoint(checkpoint);
    }

    /// Takes the literal secrets, whole.
    pub(super) async fn credentials(&mut self, credentials: &Credentials) -> Result<(), Unwelcome> {
        self.secrets.take(credentials)?;
        self.reinstall().await;
        Ok(())
    }

    /// Applies a push, off the runtime that serves requests, and says what to answer.
    pub(super) async fn apply(&mut self, whole: Whole) -> Reply {
        let revision = whole.head.revision;
        let Some(trust) = self.trust.clone() else {
            return Reply::Nack(nack(revision, "it came before a welcome"));
        };
        let stored = Stored { head: whole.head.clone(), chunks: whole.chunks.clone() };
        let (mut state, holder, secrets) = (self.state.take(), Arc::clone(&self.holder), self.secrets.clone());
        let began = Instant::now();
        let work = move || {
            let outcome = State::apply(&mut state, &trust.pins, whole);
            let outcome = outcome.and_then(|touched| {
                let Some(state) = &state else { return Ok(Installed::default()) };
                install(&holder, &secrets, &trust.pepper, state, touched)
                    .map_err(|_| Refused::Misfit("has no random bytes for the keys of its guardrails"))
            });
            Applied { state, outcome }
        };
        let applied = match tokio::task::spawn_blocking(work).await {
            Ok(applied) => applied,
            // What holds is still the last good policy; only what the next delta would build on is lost.
            Err(error) => return self.refuse(revision, &Refused::Misfit("failed to apply"), &error.to_string()),
        };
        self.state = applied.state;
        let apply_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        match applied.outcome {
            Err(refused) => self.refuse(revision, &refused, &refused.to_string()),
            Ok(Installed { missing, cut }) => {
                missing.iter().for_each(|missing| secrets::warn(missing, &mut self.warned));
                self.keep(Some(stored));
                self.installed(|status| {
                    (status.apply_us, status.cut, status.last_error) = (apply_us, cut, None);
                });
                tracing::info!(revision, apply_us, cut, "policy installed");
                Reply::Ack(Ack { revision, apply_us: i64::try_from(apply_us).unwrap_or(i64::MAX) })
            }
        }
    }

    /// Looks at files again that references name: a secret that was exchanged there is used from now on.
    pub(super) async fn refresh_secrets(&mut self) {
        if self.state.as_ref().is_some_and(|state| secrets::has_files(&state.snapshot)) {
            self.reinstall().await;
        }
    }

    /// Notes that the control plane was heard, and which revision it has.
    pub(super) fn heard(&self, head_revision: Option<i64>) {
        let now = clock::wall();
        self.keeper.heard(now);
        self.note(|status| {
            status.heard = Some(now);
            let head = head_revision.and_then(|revision| u64::try_from(revision).ok());
            status.head_revision = head.unwrap_or(status.head_revision).max(status.revision);
        });
    }

    /// Starts or ends draining.
    pub(super) fn drain(&self, drain: bool) {
        if self.holder.is_draining() != drain {
            tracing::info!(drain, "the operator changed draining");
            self.holder.set_draining(drain);
        }
    }

    /// Gives back what is not held of a budget, since somebody needs it.
    pub(super) fn recall(&self, budget: &str) {
        match BudgetId::parse(budget) {
            Ok(budget) => self.options.funds.recall(&budget),
            Err(error) => tracing::debug!(%error, "recall of what is no budget"),
        }
    }

    /// Takes this replica's part of each rate limit.
    pub(super) fn share(&self, share: &v1::Share) {
        let v1::Share { replicas, rank } = *share;
        let (replicas, rank) = (u32::try_from(replicas).unwrap_or(1), u32::try_from(rank).ok());
        self.options.rates.set_share(Share::new(replicas, rank));
    }

    /// Notes a refusal that came before a push was whole.
    pub(super) fn refuse_early(&self, revision: i64, reason: &str) -> Reply {
        self.note_refusal(revision, reason);
        Reply::Nack(nack(revision, reason))
    }

    pub(super) fn note(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }

    fn refuse(&self, revision: i64, refused: &Refused, reason: &str) -> Reply {
        self.note_refusal(revision, reason);
        match refused {
            Refused::Invalid(_) => Reply::Nack(nack(revision, reason)),
            Refused::Misfit(_) => Reply::Resync(Resync { reason: push::bounded_reason(reason) }),
        }
    }

    fn note_refusal(&self, revision: i64, reason: &str) {
        tracing::warn!(revision, reason, "push refused");
        self.note(|status| status.last_error = Some(format!("push of revision {revision} refused: {reason}")));
    }

    // Installs what holds again, with other secrets or another pepper.
    async fn reinstall(&mut self) {
        let (Some(state), Some(trust)) = (&self.state, &self.trust) else { return };
        let (snapshot, guards, pepper) = (state.snapshot.clone(), Arc::clone(&state.guards), trust.pepper.clone());
        let (holder, secrets) = (Arc::clone(&self.holder), self.secrets.clone());
        let work = move || {
            let resolved = secrets.resolve(&snapshot);
            let guard_keys = guard_keys(&holder, &pepper)?;
            let current = Current { snapshot, pepper, guards, guard_keys, secrets: resolved.secrets };
            holder.install(Arc::new(current), clock::wall());
            Ok::<_, std::io::Error>(resolved.missing)
        };
        match tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other).flatten() {
            Ok(missing) => secrets::warn(&missing, &mut self.warned),
            Err(error) => tracing::error!(%error, "failed to install secrets"),
        }
        self.keep(None);
        self.installed(|_| {});
    }

    // One change of the status: whoever waits for a revision sees all that is known of it.
    fn installed(&self, also: impl FnOnce(&mut Status)) {
        let Some(state) = &self.state else { return };
        let revision = state.snapshot.revision();
        self.note(|status| {
            if status.revision != revision || status.epoch != state.head.epoch || status.since.is_none() {
                status.since = Some(clock::wall());
            }
            status.epoch.clone_from(&state.head.epoch);
            status.revision = revision;
            status.head_revision = status.head_revision.max(revision);
            also(status);
        });
    }

    fn keep(&self, stored: Option<Stored>) {
        let Some(trust) = &self.trust else { return };
        let context = Context {
            anchor: trust.anchor,
            pepper: Zeroizing::new(trust.pepper.expose().to_vec()),
            signing_keys: trust.pins.keys().to_vec(),
            heard: clock::wall(),
        };
        self.keeper.keep(context, stored);
    }

    fn anchor(&self) -> [u8; 32] {
        self.options.link.standing().borrow().anchor
    }

    fn is_known(&self) -> bool {
        self.trust.as_ref().is_some_and(|trust| trust.anchor == self.anchor())
    }
}

fn install(
    holder: &Holder,
    secrets: &Secrets,
    pepper: &Pepper,
    state: &State,
    touched: Touched,
) -> std::io::Result<Installed> {
    let snapshot = state.snapshot.clone();
    // A push that leaves the providers alone leaves their secrets alone: no file is read on the way of a revocation.
    let before = if touched.providers { None } else { holder.load() };
    let (secrets, missing) = match before {
        Some(before) => (before.secrets.clone(), None),
        None => {
            let resolved = secrets.resolve(&snapshot);
            (resolved.secrets, Some(resolved.missing))
        }
    };
    let (guards, guard_keys) = (Arc::clone(&state.guards), guard_keys(holder, pepper)?);
    let current = Current { snapshot, pepper: pepper.clone(), guards, guard_keys, secrets };
    let cut = holder.install(Arc::new(current), clock::wall());
    Ok(Installed { missing, cut })
}

// As long as the pepper is the same, what was looked at is remembered.
fn guard_keys(holder: &Holder, pepper: &Pepper) -> std::io::Result<Arc<GuardKeys>> {
    match holder.load().filter(|before| before.guard_keys.are_of(pepper)) {
        Some(before) => Ok(Arc::clone(&before.guard_keys)),
        None => GuardKeys::new(pepper).map(Arc::new).map_err(std::io::Error::other),
    }
}

// Builds what a slot holds up again, with the checks that a stream passes.
fn replay(loaded: Loaded, anchor: [u8; 32], oldest: UnixMillis) -> Result<(Trust, State, UnixMillis), String> {
    let Loaded { context, pushes } = loaded;
    if context.anchor != anchor {
        return Err("it was learned from another control plane".to_owned());
    }
    if context.heard < oldest {
        return Err("it was confirmed too long ago".to_owned());
    }
    let pins = Pins::first(&context.signing_keys).map_err(|error| error.to_string())?;
    let pepper = Pepper::new(context.pepper.to_vec()).map_err(|error| error.to_string())?;
    let mut state = None;
    for Stored { head, chunks } in pushes {
        State::apply(&mut state, &pins, Whole { head, chunks }).map_err(|refused| refused.to_string())?;
    }
    let state = state.ok_or("it is empty")?;
    Ok((Trust { anchor, pins, pepper }, state, context.heard))
}

fn nack(revision: i64, reason: &str) -> Nack {
    Nack { revision, reason: push::bounded_reason(reason) }
}
