//! The state that every decision reads: immutable, swapped whole.

use std::{collections::HashMap, sync::Arc};

use self::keys::Keys;
pub use crate::provider::{Credential, Dialect, Provider};
use crate::{
    budget::Budget,
    credential::TokenKey,
    guardrail::Guardrail,
    id::{CredentialId, CustomerId, GuardrailId, KeyId, McpServerId, ProviderId, RouteId, SessionId, TeamId, UserId},
    limit::{RateLimit, SessionLimit},
    mcp::{Access, McpServer, ToolRule},
    pattern::{Pattern, Patterns},
    price::Price,
    route::Route,
    time::UnixMillis,
    token::KeyHash,
};

mod keys;

/// What an owner may spend and how fast.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quota {
    /// Its budgets.
    pub budgets: Vec<Arc<Budget>>,
    /// Its rate limits.
    pub limits: Vec<RateLimit>,
    /// What one agent session may do.
    pub session: Option<SessionLimit>,
}

/// A customer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Customer {
    /// Its id.
    pub id: CustomerId,
    /// Its name.
    pub name: Arc<str>,
    /// Whether its keys are refused.
    pub disabled: bool,
    /// What it may spend; `None`: no limit.
    pub quota: Option<Arc<Quota>>,
}

/// A team.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// Its name.
    pub name: Arc<str>,
    /// The customer that owns it.
    pub customer: CustomerId,
    /// Whether its keys are refused.
    pub disabled: bool,
    /// What it may spend; `None`: no limit.
    pub quota: Option<Arc<Quota>>,
    /// The providers that its keys may reach; empty: all.
    pub providers: Arc<[ProviderId]>,
    /// Where its requests may be received and answered.
    pub regions: Patterns,
}

/// A user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// Their name.
    pub name: Arc<str>,
    /// Whether their keys are refused.
    pub disabled: bool,
    /// What they may spend; `None`: no limit.
    pub quota: Option<Arc<Quota>>,
}

/// A virtual key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// Its name.
    pub name: Arc<str>,
    /// The hash under which it is looked up.
    pub hash: KeyHash,
    /// The team that owns it.
    pub team: TeamId,
    /// The user to whom it is attributed.
    pub user: Option<UserId>,
    /// Whether it is refused.
    pub revoked: bool,
    /// The instant from which it is refused.
    pub expires: Option<UnixMillis>,
    /// The models that it may ask for.
    pub models: Patterns,
    /// The providers that it may reach; empty: all.
    pub providers: Arc<[ProviderId]>,
    /// The credentials that it may use; empty: all.
    pub credentials: Arc<[CredentialId]>,
    /// What it may spend; `None`: no limit.
    pub quota: Option<Arc<Quota>>,
    /// Whether its requests go on that the audit log may miss.
    pub audit: AuditMode,
    /// Where its requests may be received and answered, within what its team allows.
    pub regions: Patterns,
    /// The tools that it may use.
    pub tools: Access,
    /// What must hold of its calls of tools.
    pub tool_rules: Arc<[ToolRule]>,
}

/// Whether a request goes on that the audit log may miss.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum AuditMode {
    /// It is refused.
    #[default]
    Required,
    /// It goes on, unless a budget is charged for it: what is not written is counted.
    BestEffort,
}

/// A model of the catalogue.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Model {
    /// The vendor.
    pub vendor: Arc<str>,
    /// The vendor's name of the model.
    pub name: Arc<str>,
    /// What people read.
    pub display_name: Arc<str>,
    /// Further names.
    pub aliases: Vec<Pattern>,
    /// In tokens; 0 when unknown.
    pub context_window: u64,
    /// The most output tokens; 0 when unknown.
    pub output_max: u64,
    /// `None`: unpriced, which is not free.
    pub price: Option<Price>,
}

/// A user's session that was ended: the credentials that were issued in it no longer hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EndedSession {
    /// Its id.
    pub id: SessionId,
    /// The instant at which the last credential of it has expired, and it may be forgotten.
    pub until: UnixMillis,
}

/// One object, new or changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Object {
    /// A customer.
    Customer(Customer),
    /// A team.
    Team(Team),
    /// A user.
    User(User),
    /// A key.
    Key(Key),
    /// A provider.
    Provider(Provider),
    /// A route.
    Route(Route),
    /// A guardrail.
    Guardrail(Guardrail),
    /// A server of tools.
    McpServer(McpServer),
    /// A model.
    Model(Model),
    /// A key that signs developers' credentials.
    TokenKey(TokenKey),
    /// A session that was ended.
    EndedSession(EndedSession),
}

/// Names one object.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ObjectRef {
    /// A customer.
    Customer(CustomerId),
    /// A team.
    Team(TeamId),
    /// A user.
    User(UserId),
    /// A key.
    Key(KeyId),
    /// A provider.
    Provider(ProviderId),
    /// A route.
    Route(RouteId),
    /// A guardrail.
    Guardrail(GuardrailId),
    /// A server of tools.
    McpServer(McpServerId),
    /// A model, by vendor and name.
    Model(Arc<str>, Arc<str>),
    /// A key that signs developers' credentials, by its id.
    TokenKey(Arc<str>),
    /// A session that was ended.
    EndedSession(SessionId),
}

/// The state of one revision. Cloning shares every map that does not change.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    revision: u64,
    customers: Arc<HashMap<CustomerId, Customer>>,
    teams: Arc<HashMap<TeamId, Team>>,
    users: Arc<HashMap<UserId, User>>,
    keys: Keys,
    providers: Arc<Vec<Arc<Provider>>>,
    routes: Arc<Vec<Arc<Route>>>,
    guardrails: Arc<Vec<Arc<Guardrail>>>,
    mcp_servers: Arc<Vec<Arc<McpServer>>>,
    models: Arc<Catalogue>,
    // One, and during a rotation two: they are looked through in order.
    token_keys: Arc<Vec<Arc<TokenKey>>>,
    ended_sessions: Arc<HashMap<SessionId, EndedSession>>,
}

/// Models by vendor, by name and by alias.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    vendors: HashMap<Arc<str>, Vendor>,
}

#[derive(Clone, Debug, Default)]
struct Vendor {
    models: HashMap<Arc<str>, Arc<Model>>,
    // Longest pattern first: the most specific one decides.
    aliases: Vec<(Pattern, Arc<str>)>,
}

// === impl Snapshot ===

impl Snapshot {
    /// The revision.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The state that follows from this one. Work is proportional to the change, and to the size of each kind that it
    /// touches.
    #[must_use]
    pub fn next(&self, revision: u64, upserts: Vec<Object>, deletes: Vec<ObjectRef>) -> Self {
        let mut next = Self { revision, ..self.clone() };
        for gone in deletes {
            next.remove(gone);
        }
        for object in upserts {
            next.put(object);
        }
        next
    }

    /// A state of that revision without any object, to be filled with [`Self::add`].
    #[must_use]
    pub fn empty(revision: u64) -> Self {
        Self { revision, ..Self::default() }
    }

    /// Adds an object in place: for filling a state that nobody reads yet, object by object.
    pub fn add(&mut self, object: Object) {
        self.put(object);
    }

    /// The key with this hash.
    #[must_use]
    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<Key>> {
        self.keys.of_hash(hash)
    }

    /// The key with this id.
    #[must_use]
    pub fn key_by_id(&self, id: &KeyId) -> Option<&Arc<Key>> {
        self.keys.of_id(id)
    }

    /// The keys that sign developers' credentials.
    #[must_use]
    pub fn token_keys(&self) -> &[Arc<TokenKey>] {
        &self.token_keys
    }

    /// Whether the session was ended. It stays ended until it is forgotten: its credentials have expired by then.
    #[must_use]
    pub fn has_ended(&self, session: &SessionId) -> bool {
        self.ended_sessions.contains_key(session)
    }

    /// The team with this id.
    #[must_use]
    pub fn team(&self, id: &TeamId) -> Option<&Team> {
        self.teams.get(id)
    }

    /// The customer with this id.
    #[must_use]
    pub fn customer(&self, id: &CustomerId) -> Option<&Customer> {
        self.customers.get(id)
    }

    /// The user with this id.
    #[must_use]
    pub fn user(&self, id: &UserId) -> Option<&User> {
        self.users.get(id)
    }

    /// All providers, by priority, then by name.
    #[must_use]
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// All routes, by priority, then by name.
    #[must_use]
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// All guardrails, by name. As long as none changes this is the same allocation.
    #[must_use]
    pub fn guardrails(&self) -> &Arc<Vec<Arc<Guardrail>>> {
        &self.guardrails
    }

    /// All servers of tools, by name. As long as none changes this is the same allocation.
    #[must_use]
    pub fn mcp_servers(&self) -> &Arc<Vec<Arc<McpServer>>> {
        &self.mcp_servers
    }

    /// The catalogue.
    #[must_use]
    pub fn models(&self) -> &Catalogue {
        &self.models
    }

    /// How many keys there are.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    fn put(&mut self, object: Object) {
        match object {
            Object::Customer(customer) => {
                Arc::make_mut(&mut self.customers).insert(customer.id.clone(), customer);
            }
            Object::Team(team) => {
                Arc::make_mut(&mut self.teams).insert(team.id.clone(), team);
            }
            Object::User(user) => {
                Arc::make_mut(&mut self.users).insert(user.id.clone(), user);
            }
            Object::Key(key) => self.keys.put(key),
            Object::Provider(provider) => {
                let providers = Arc::make_mut(&mut self.providers);
                providers.retain(|other| other.id != provider.id);
                providers.push(Arc::new(provider));
                providers.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
            }
            Object::Route(route) => {
                let routes = Arc::make_mut(&mut self.routes);
                routes.retain(|other| other.id != route.id);
                routes.push(Arc::new(route));
                routes.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
            }
            Object::Guardrail(guardrail) => {
                let guardrails = Arc::make_mut(&mut self.guardrails);
                guardrails.retain(|other| other.id != guardrail.id);
                guardrails.push(Arc::new(guardrail));
                guardrails.sort_by(|a, b| a.name.cmp(&b.name));
            }
            Object::McpServer(server) => {
                let servers = Arc::make_mut(&mut self.mcp_servers);
                servers.retain(|other| other.id != server.id);
                servers.push(Arc::new(server));
                servers.sort_by(|a, b| a.name.cmp(&b.name));
            }
            Object::Model(model) => Arc::make_mut(&mut self.models).put(model),
            Object::TokenKey(key) => {
                let keys = Arc::make_mut(&mut self.token_keys);
                keys.retain(|other| other.id() != key.id());
                keys.push(Arc::new(key));
            }
            Object::EndedSession(ended) => {
                Arc::make_mut(&mut self.ended_sessions).insert(ended.id.clone(), ended);
            }
        }
    }

    fn remove(&mut self, gone: ObjectRef) {
        match gone {
            ObjectRef::Customer(id) => {
                Arc::make_mut(&mut self.customers).remove(&id);
            }
            ObjectRef::Team(id) => {
                Arc::make_mut(&mut self.teams).remove(&id);
            }
            ObjectRef::User(id) => {
                Arc::make_mut(&mut self.users).remove(&id);
            }
            ObjectRef::Key(id) => self.keys.remove(&id),
            ObjectRef::Provider(id) => Arc::make_mut(&mut self.providers).retain(|provider| provider.id != id),
            ObjectRef::Route(id) => Arc::make_mut(&mut self.routes).retain(|route| route.id != id),
            ObjectRef::Guardrail(id) => {
                Arc::make_mut(&mut self.guardrails).retain(|guardrail| guardrail.id != id);
            }
            ObjectRef::McpServer(id) => Arc::make_mut(&mut self.mcp_servers).retain(|server| server.id != id),
            ObjectRef::Model(vendor, name) => Arc::make_mut(&mut self.models).remove(&vendor, &name),
            ObjectRef::TokenKey(id) => Arc::make_mut(&mut self.token_keys).retain(|key| key.id() != &*id),
            ObjectRef::EndedSession(id) => {
                Arc::make_mut(&mut self.ended_sessions).remove(&id);
            }
        }
    }
}

// === impl Catalogue ===

impl Catalogue {
    /// The model that the vendor means by this name: the exact one, otherwise the one with the longest alias that matches.
    #[must_use]
    pub fn find(&self, vendor: &str, name: &str) -> Option<&Arc<Model>> {
        let vendor = self.vendors.get(vendor)?;
        vendor.models.get(name).or_else(|| {
            let (_, model) = vendor.aliases.iter().find(|(pattern, _)| pattern.matches(name))?;
            vendor.models.get(model)
        })
    }

    /// All models of a vendor, in no order.
    pub fn of_vendor(&self, vendor: &str) -> impl Iterator<Item = &Arc<Model>> {
        self.vendors.get(vendor).into_iter().flat_map(|vendor| vendor.models.values())
    }

    fn put(&mut self, model: Model) {
        let vendor = self.vendors.entry(Arc::clone(&model.vendor)).or_default();
        vendor.aliases.retain(|(_, name)| *name != model.name);
        vendor.aliases.extend(model.aliases.iter().map(|alias| (alias.clone(), Arc::clone(&model.name))));
        vendor.aliases.sort_by(|a, b| (b.0.as_str().len(), &a.1).cmp(&(a.0.as_str().len(), &b.1)));
        vendor.models.insert(Arc::clone(&model.name), Arc::new(model));
    }

    fn remove(&mut self, vendor: &str, name: &str) {
        if let Some(vendor) = self.vendors.get_mut(vendor) {
            vendor.models.remove(name);
            vendor.aliases.retain(|(_, model)| **model != *name);
        }
    }
}

// === impl AuditMode ===

impl AuditMode {
    /// Every mode.
    pub const ALL: [Self; 2] = [Self::Required, Self::BestEffort];

    /// The word for it in configuration and records.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::BestEffort => "best_effort",
        }
    }

    /// The mode of that word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01k9zq3v5m8c4t2n7r6x0w1y9b";

    fn key(hash: u8) -> Key {
        Key {
            id: KeyId::from_ulid(ULID).unwrap(),
            name: "one".into(),
            hash: KeyHash::new([hash; 32]),
            team: TeamId::from_ulid(ULID).unwrap(),
            user: None,
            revoked: false,
            expires: None,
            models: Patterns::default(),
            providers: Arc::new([]),
            credentials: Arc::new([]),
            quota: None,
            audit: AuditMode::Required,
            regions: Patterns::default(),
            tools: Access::default(),
            tool_rules: Arc::default(),
        }
    }

    fn model(name: &str, aliases: &[&str]) -> Model {
        Model {
            vendor: "anthropic".into(),
            name: name.into(),
            display_name: name.into(),
            aliases: aliases.iter().map(|text| Pattern::parse(text).unwrap()).collect(),
            context_window: 0,
            output_max: 0,
            price: None,
        }
    }

    #[test]
    fn a_rotated_key_is_no_longer_found_under_its_old_hash() {
        let first = Snapshot::default().next(1, vec![Object::Key(key(1))], vec![]);
        let second = first.next(2, vec![Object::Key(key(2))], vec![]);
        assert!(first.key(&KeyHash::new([1; 32])).is_some(), "a pinned snapshot does not change");
        assert!(second.key(&KeyHash::new([1; 32])).is_none());
        assert_eq!(second.key(&KeyHash::new([2; 32])).unwrap().name.as_ref(), "one");
        let third = second.next(3, vec![], vec![ObjectRef::Key(key(0).id)]);
        assert_eq!((third.key_count(), third.revision()), (0, 3));
    }

    #[test]
    fn the_longest_alias_decides_and_the_exact_name_before_it() {
        let objects = [
            model("claude-sonnet-4", &["claude-sonnet-4*"]),
            model("claude-sonnet-4-5", &["claude-sonnet-4-5*"]),
            model("claude-sonnet-4-5-special", &[]),
        ];
        let snapshot = Snapshot::default().next(1, objects.map(Object::Model).into(), vec![]);
        for (asked, found) in [
            ("claude-sonnet-4-20250514", Some("claude-sonnet-4")),
            ("claude-sonnet-4-5-20250929", Some("claude-sonnet-4-5")),
            ("claude-sonnet-4-5-special", Some("claude-sonnet-4-5-special")),
            ("gpt-5", None),
        ] {
            assert_eq!(snapshot.models().find("anthropic", asked).map(|model| &*model.name), found, "{asked}");
        }
    }
}
