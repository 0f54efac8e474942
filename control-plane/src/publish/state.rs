//! The items of the newest revision, and which of them changed lately. One task owns it; nothing here does I/O.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use prost::bytes::Bytes;
use tollgate_policy::id::ProviderId;
use tollgate_proto::{
    fleet::v1::{Item, ItemKind},
    push::{self, Digest, ItemHash},
};

use super::{
    encode::{Lazy, Parts},
    items::{self, Name, Vendors},
    signer::Signer,
};
use crate::store::{changes::Changes, providers::Provider};

/// The most steps that are remembered: at ten changes a second, the last two minutes.
const STEPS_MAX: usize = 1_024;
/// So many revisions are read again when a control plane starts.
pub(crate) const RECENT_MAX: i64 = 1_024;
/// The most names in all steps: a replica that is behind by more is better served with everything.
const NAMES_MAX: usize = 200_000;
/// The most deltas to one revision that are kept encoded, each for replicas that come from another revision.
const DELTAS_MAX: usize = 64;
/// A full snapshot that is at most so many changed items old is sent again, followed by a delta.
const FULL_AGE_MAX: usize = 10_000;

/// The state.
#[derive(Debug, Default)]
pub(crate) struct State {
    epoch: String,
    revision: i64,
    items: BTreeMap<Name, Held>,
    digest: Digest,
    providers: HashMap<ProviderId, Provider>,
    vendors: Vendors,
    steps: VecDeque<Step>,
    names: usize,
    deltas: HashMap<i64, Arc<Lazy>>,
    full: Option<Arc<Lazy>>,
    /// Objects that are not published, since a replica would refuse them; with the reason.
    refused: BTreeMap<Name, String>,
}

#[derive(Debug)]
struct Held {
    id: Arc<str>,
    body: Bytes,
    hash: ItemHash,
}

// What changed between two revisions, by name: whether it is there is a question to the items.
#[derive(Debug)]
struct Step {
    from: i64,
    to: i64,
    names: BTreeSet<Name>,
}

impl State {
    /// Names the history.
    pub(crate) fn epoch(&self) -> &str {
        &self.epoch
    }

    /// The newest revision.
    pub(crate) const fn revision(&self) -> i64 {
        self.revision
    }

    /// The digest of the items.
    #[cfg(test)]
    pub(crate) const fn digest(&self) -> Digest {
        self.digest
    }

    /// What is wrong with objects that are not published.
    pub(crate) fn refused(&self) -> impl Iterator<Item = &str> {
        self.refused.values().map(String::as_str)
    }

    /// The providers as they will be after these changes.
    pub(crate) fn providers_after<'a>(&'a self, changes: &'a Changes, same: bool) -> Vec<&'a Provider> {
        let fresh = |id: &ProviderId| changes.providers.iter().any(|provider| provider.id == *id);
        let gone =
            |id: &ProviderId| changes.tombstones.iter().any(|gone| items::gone(gone) == items::provider_name(id));
        let kept = self.providers.values().filter(|provider| same && !fresh(&provider.id) && !gone(&provider.id));
        kept.chain(&changes.providers).collect()
    }

    /// Takes what changed. Changes since 0, or of another history, are the whole state and replace what was.
    pub(crate) fn take(&mut self, changes: &Changes, whole: bool) {
        let from = if whole { 0 } else { self.revision };
        if whole {
            *self = Self { epoch: changes.epoch.clone(), ..Self::default() };
        }
        let names = self.put_all(changes);
        self.revision = changes.revision;
        self.deltas.clear();
        if whole {
            return;
        }
        self.names += names.len();
        self.steps.push_back(Step { from, to: changes.revision, names });
        while self.steps.len() > STEPS_MAX || self.names > NAMES_MAX {
            let Some(step) = self.steps.pop_front() else { break };
            self.names -= step.names.len();
        }
        let full = self.full.as_ref().map(|full| full.revision());
        if full.is_some_and(|revision| self.changed_since(revision).is_none_or(|names| names.len() > FULL_AGE_MAX)) {
            self.full = None;
        }
    }

    /// Remembers what changed after `since`, which is in the state already.
    pub(crate) fn remember(&mut self, since: i64, changes: &Changes) {
        let Changes {
            epoch: _,
            revision,
            customers,
            teams,
            users,
            keys,
            providers,
            routes,
            guardrails,
            mcp_servers,
            models,
            token_keys,
            ended_sessions,
            tombstones,
        } = changes;
        let name = |kind: ItemKind, id: &dyn ToString| (i32::from(kind), id.to_string());
        let mut names: BTreeSet<Name> = tombstones.iter().map(items::gone).collect();
        names.extend(customers.iter().map(|row| name(ItemKind::Customer, &row.id)));
        names.extend(teams.iter().map(|row| name(ItemKind::Team, &row.id)));
        names.extend(users.iter().map(|row| name(ItemKind::User, &row.id)));
        names.extend(keys.iter().map(|row| name(ItemKind::Key, &row.id)));
        names.extend(routes.iter().map(|row| name(ItemKind::Route, &row.id)));
        names.extend(guardrails.iter().map(|row| name(ItemKind::Guardrail, &row.id)));
        names.extend(mcp_servers.iter().map(|row| name(ItemKind::McpServer, &row.server.id)));
        names.extend(models.iter().map(|row| name(ItemKind::Model, &push::model_id(&row.vendor, &row.name))));
        names.extend(token_keys.iter().map(|row| name(ItemKind::TokenKey, &row.id())));
        names.extend(ended_sessions.iter().map(|row| name(ItemKind::EndedSession, &row.id)));
        // A provider may have changed with the models of its vendor; there are few of them.
        names.extend(self.providers.keys().map(items::provider_name));
        names.extend(providers.iter().map(|row| items::provider_name(&row.id)));
        if names.len() <= NAMES_MAX && self.steps.is_empty() && *revision == self.revision {
            self.names = names.len();
            self.steps.push_back(Step { from: since, to: *revision, names });
        }
    }

    /// The push that leads from `base` to the newest revision. `None` when what changed since is not remembered.
    pub(crate) fn delta(&mut self, base: i64, signer: &Arc<Signer>) -> Option<Arc<Lazy>> {
        if let Some(known) = self.deltas.get(&base) {
            return Some(Arc::clone(known));
        }
        let names = self.changed_since(base)?;
        let (mut upserts, mut deletes) = (Vec::new(), Vec::new());
        for name in names {
            match self.items.get(name) {
                Some(held) => upserts.push((name.0, Arc::clone(&held.id), held.body.clone())),
                None => deletes.push((name.0, Arc::from(name.1.as_str()))),
            }
        }
        let delta = Lazy::new(self.parts(base, upserts, deletes, signer));
        if self.deltas.len() < DELTAS_MAX {
            self.deltas.insert(base, Arc::clone(&delta));
        }
        Some(delta)
    }

    /// A full snapshot of `least` or a later revision. It may be older than the newest one; a delta then leads on.
    pub(crate) fn full(&mut self, least: i64, signer: &Arc<Signer>) -> Arc<Lazy> {
        if let Some(full) = self.full.as_ref().filter(|full| full.revision() >= least) {
            return Arc::clone(full);
        }
        let upserts = self.items.iter().map(|(name, held)| (name.0, Arc::clone(&held.id), held.body.clone()));
        let full = Lazy::new(self.parts(0, upserts.collect(), Vec::new(), signer));
        self.full = Some(Arc::clone(&full));
        full
    }

    /// Forgets what was encoded: it is signed with a key that no longer signs.
    pub(crate) fn forget_encoded(&mut self) {
        self.deltas.clear();
        self.full = None;
    }

    fn parts(
        &self,
        base: i64,
        upserts: Vec<(i32, Arc<str>, Bytes)>,
        deletes: Vec<(i32, Arc<str>)>,
        signer: &Arc<Signer>,
    ) -> Parts {
        let (epoch, revision, digest) = (self.epoch.clone(), self.revision, self.digest);
        Parts { epoch, base, revision, digest, upserts, deletes, signer: Arc::clone(signer) }
    }

    // The union of the steps behind `base`; it may begin within a step, and then holds more than it must.
    fn changed_since(&self, base: i64) -> Option<BTreeSet<&Name>> {
        if base == self.revision {
            return Some(BTreeSet::new());
        }
        let covered = self.steps.front().is_some_and(|first| first.from <= base) && base < self.revision && base > 0;
        let behind = self.steps.iter().filter(|step| step.to > base);
        covered.then(|| behind.flat_map(|step| &step.names).collect())
    }

    fn put_all(&mut self, changes: &Changes) -> BTreeSet<Name> {
        let Changes {
            epoch: _,
            revision: _,
            customers,
            teams,
            users,
            keys,
            providers,
            routes,
            guardrails,
            mcp_servers,
            models,
            token_keys,
            ended_sessions,
            tombstones,
        } = changes;
        let mut names = BTreeSet::new();
        for gone in tombstones.iter().map(items::gone) {
            self.providers.retain(|id, _| gone != items::provider_name(id));
            self.remove(&gone);
            names.insert(gone);
        }
        let plain = customers.iter().map(items::customer).chain(teams.iter().map(items::team));
        let plain = plain.chain(users.iter().map(items::user)).chain(keys.iter().map(items::key));
        let plain = plain.chain(token_keys.iter().map(items::token_key));
        let plain = plain.chain(ended_sessions.iter().map(items::ended_session));
        let plain = plain.chain(routes.iter().map(items::route));
        let plain = plain.chain(guardrails.iter().map(items::guardrail));
        let plain = plain.chain(mcp_servers.iter().map(items::mcp_server));
        for item in plain.chain(models.iter().map(items::model)) {
            names.insert(self.put(item));
        }
        for provider in providers {
            self.providers.insert(provider.id.clone(), provider.clone());
        }
        let touched = providers.iter().map(|provider| items::provider_name(&provider.id));
        names.extend(touched);
        // Which vendor a provider without one has depends on the models, so each is made again; few change by it.
        let made: Vec<Item> =
            self.providers.values().map(|provider| items::provider(provider, &self.vendors)).collect();
        for item in made {
            let name = (item.kind, item.id.clone());
            if names.contains(&name) || self.items.get(&name).is_none_or(|held| held.body != item.body) {
                names.insert(self.put(item));
            }
        }
        names
    }

    fn put(&mut self, item: Item) -> Name {
        let name = (item.kind, item.id.clone());
        self.remove(&name);
        match items::checked(item) {
            Ok(item) => {
                let Item { kind, id, body } = item;
                let hash = push::item_hash(ItemKind::try_from(kind).unwrap_or_default(), &id, &body);
                self.digest.add(&hash);
                self.count_vendor(&name, 1);
                self.items.insert(name.clone(), Held { id: id.into(), body, hash });
            }
            Err(error) => {
                tracing::error!(%error, "object not published: replicas would refuse it");
                self.refused.insert(name.clone(), error.to_string());
            }
        }
        name
    }

    fn remove(&mut self, name: &Name) {
        self.refused.remove(name);
        if let Some(held) = self.items.remove(name) {
            self.digest.remove(&held.hash);
            self.count_vendor(name, -1);
        }
    }

    fn count_vendor(&mut self, (kind, id): &Name, by: isize) {
        let vendor = id.split_once('/').filter(|_| *kind == i32::from(ItemKind::Model));
        let Some((vendor, _)) = vendor else { return };
        let count = self.vendors.entry(vendor.to_owned()).or_default();
        *count = count.saturating_add_signed(by);
        if *count == 0 {
            self.vendors.remove(vendor);
        }
    }
}

#[cfg(test)]
mod tests;
