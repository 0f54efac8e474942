//! References of a file: ids become names, a credential's name alone becomes that of every provider it can mean, and what
//! refers to nothing is a mistake.

use std::collections::BTreeSet;

use crate::declare::{
    document::{
        Document, Key, Kind, access::Binding, guardrail::Guardrail, mcp::McpServer, quota::Quota, route::Route,
    },
    state::State,
    tree::{Mistake, Place},
};
use crate::{
    access::{Scope, Subject},
    quota::ordered,
};

/// What can be referred to once the file has been applied.
struct Known {
    customers: BTreeSet<String>,
    teams: BTreeSet<String>,
    users: BTreeSet<String>,
    providers: BTreeSet<String>,
    keys: BTreeSet<String>,
    roles: BTreeSet<String>,
    service_accounts: BTreeSet<String>,
    /// `provider/credential`.
    credentials: BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

/// Returns the document with names for references, and lists in the order in which they are compared.
pub(super) fn resolve(state: &State, document: &Document, prune: bool) -> Result<Document, Vec<Mistake>> {
    let mut document = document.clone();
    for provider in &mut document.providers {
        let usual = provider.usual.take().filter(|_| !state.providers.contains_key(&provider.name));
        provider.credentials = provider.credentials.take().or_else(|| usual.map(|usual| vec![usual]));
    }
    let mut known = Known::after(state, &document, prune);
    for customer in &mut document.customers {
        known.quota(state, &mut customer.quota, (Kind::Customer, &customer.name, customer.place));
    }
    for team in &mut document.teams {
        known.quota(state, &mut team.quota, (Kind::Team, &team.name, team.place));
        known.one(state, team.customer.as_mut(), (Kind::Team, &team.name, team.place), Kind::Customer);
        for provider in team.providers.iter_mut().flatten() {
            known.one(state, Some(provider), (Kind::Team, &team.name, team.place), Kind::Provider);
        }
        team.providers = team.providers.take().map(ordered);
        team.regions = team.regions.take().map(ordered);
    }
    for user in &mut document.users {
        known.quota(state, &mut user.quota, (Kind::User, &user.name, user.place));
        known.one(state, user.team.as_mut(), (Kind::User, &user.name, user.place), Kind::Team);
    }
    for provider in &mut document.providers {
        provider.models = provider.models.take().map(ordered);
        provider.quirks = provider.quirks.take().map(ordered);
    }
    for model in &mut document.models {
        model.aliases = model.aliases.take().map(ordered);
    }
    for key in &mut document.keys {
        known.key(state, key);
    }
    for route in &mut document.routes {
        known.route(state, route);
    }
    for guardrail in &mut document.guardrails {
        known.guardrail(state, guardrail);
    }
    for server in &mut document.mcp_servers {
        known.mcp_server(state, server);
    }
    for role in &mut document.roles {
        role.permissions = role.permissions.take().map(ordered);
    }
    let mut titles = BTreeSet::new();
    for binding in &mut document.bindings {
        known.binding(state, binding);
        // An id and a name may mean the same, which the text does not show.
        if !titles.insert(binding.title()) {
            let text = format!("the binding {:?} is declared already", binding.title());
            known.mistakes.push(Mistake { place: binding.place, text });
        }
    }
    let Known { mut mistakes, .. } = known;
    mistakes.sort();
    if mistakes.is_empty() { Ok(document) } else { Err(mistakes) }
}

impl Known {
    fn after(state: &State, document: &Document, prune: bool) -> Self {
        // What is pruned is not there afterwards, and cannot be referred to.
        let stays = |kind: Kind| !(prune && document.sections.contains(&kind));
        let both = |kind: Kind, held: Vec<&String>, declared: Vec<&String>| -> BTreeSet<String> {
            held.into_iter().filter(|_| stays(kind)).chain(declared).cloned().collect()
        };
        let providers = both(
            Kind::Provider,
            state.providers.keys().collect(),
            document.providers.iter().map(|provider| &provider.name).collect(),
        );
        let credentials = providers.iter().flat_map(|provider| credentials_of(state, document, provider)).collect();
        Self {
            customers: both(
                Kind::Customer,
                state.customers.keys().collect(),
                document.customers.iter().map(|each| &each.name).collect(),
            ),
            teams: both(
                Kind::Team,
                state.teams.keys().collect(),
                document.teams.iter().map(|each| &each.name).collect(),
            ),
            users: both(
                Kind::User,
                state.users.keys().collect(),
                document.users.iter().map(|each| &each.name).collect(),
            ),
            keys: both(Kind::Key, state.keys.keys().collect(), document.keys.iter().map(|each| &each.name).collect()),
            // The program's roles are there whatever a file says.
            roles: state
                .roles
                .iter()
                .filter(|held| held.1.system || stays(Kind::Role))
                .map(|held| held.0)
                .chain(document.roles.iter().map(|each| &each.name))
                .cloned()
                .collect(),
            service_accounts: both(
                Kind::ServiceAccount,
                state.service_accounts.keys().collect(),
                document.service_accounts.iter().map(|each| &each.name).collect(),
            ),
            providers,
            credentials,
            mistakes: Vec::new(),
        }
    }

    fn key(&mut self, state: &State, key: &mut Key) {
        let Key { name, team, user, models, providers, credentials, regions, tools, quota, place, .. } = key;
        self.quota(state, quota, (Kind::Key, name, *place));
        self.one(state, team.as_mut(), (Kind::Key, name, *place), Kind::Team);
        self.one(state, user.as_mut(), (Kind::Key, name, *place), Kind::User);
        for provider in providers.iter_mut().flatten() {
            self.one(state, Some(provider), (Kind::Key, name, *place), Kind::Provider);
        }
        *models = models.take().map(ordered);
        *regions = regions.take().map(ordered);
        *tools = tools.take().map(ordered);
        *providers = providers.take().map(ordered);
        // Without a list of its own the key keeps the providers that it has.
        let held = state.keys.get(name).and_then(|held| held.value.providers.clone());
        let allowed = providers.clone().or(held).unwrap_or_default();
        let meant = credentials.take().map(|list| {
            let list: Vec<_> =
                list.iter().flat_map(|named| self.credential(state, named, &allowed, (name, *place))).collect();
            ordered(list)
        });
        *credentials = meant;
    }

    fn route(&mut self, state: &State, route: &mut Route) {
        let (name, place) = (route.name.clone(), route.place);
        let about = (Kind::Route, name.as_str(), place);
        for provider in route.providers_mut() {
            self.one(state, Some(provider), about, Kind::Provider);
        }
        let Route { models, customers, teams, keys, .. } = route;
        for (list, kind) in [(customers, Kind::Customer), (teams, Kind::Team), (keys, Kind::Key)] {
            for named in list.iter_mut().flatten() {
                self.one(state, Some(named), about, kind);
            }
            *list = list.take().map(ordered);
        }
        *models = models.take().map(ordered);
    }

    fn guardrail(&mut self, state: &State, guardrail: &mut Guardrail) {
        let Guardrail { name, customers, teams, place, .. } = guardrail;
        self.owners(state, customers, teams, (Kind::Guardrail, name, *place));
        *guardrail = std::mem::take(guardrail).in_order();
    }

    fn mcp_server(&mut self, state: &State, server: &mut McpServer) {
        let McpServer { name, customers, teams, place, .. } = server;
        self.owners(state, customers, teams, (Kind::McpServer, name, *place));
        *server = std::mem::take(server).in_order();
    }

    fn owners(
        &mut self,
        state: &State,
        customers: &mut Option<Vec<String>>,
        teams: &mut Option<Vec<String>>,
        about: (Kind, &str, Place),
    ) {
        for (list, kind) in [(customers, Kind::Customer), (teams, Kind::Team)] {
            for named in list.iter_mut().flatten() {
                self.one(state, Some(named), about, kind);
            }
        }
    }

    fn binding(&mut self, state: &State, binding: &mut Binding) {
        let title = binding.title();
        let about = (Kind::Binding, title.as_str(), binding.place);
        self.one(state, Some(&mut binding.role), about, Kind::Role);
        match &mut binding.subject {
            Subject::User(user) => self.one(state, Some(user), about, Kind::User),
            Subject::ServiceAccount(account) => self.one(state, Some(account), about, Kind::ServiceAccount),
            // Groups live at the identity provider, and may be there before anybody who is in them.
            Subject::Group(_) => {}
        }
        match &mut binding.scope {
            Scope::Customer(customer) => self.one(state, Some(customer), about, Kind::Customer),
            Scope::Team(team) => self.one(state, Some(team), about, Kind::Team),
            Scope::Everywhere | Scope::Own => {}
        }
    }

    // Only with names can budgets be put in order.
    fn quota(&mut self, state: &State, quota: &mut Quota, about: (Kind, &str, Place)) {
        for budget in quota.budgets.iter_mut().flatten() {
            self.one(state, budget.provider_mut(), about, Kind::Provider);
        }
        *quota = std::mem::take(quota).in_order();
    }

    fn credential(&mut self, state: &State, named: &str, allowed: &[String], about: (&str, Place)) -> Vec<String> {
        let named = state.name_of(named);
        let means = |known: &&String| match known.split_once('/') {
            // An id of the provider stands for its name.
            Some((provider, name)) => match named.split_once('/') {
                Some((said, credential)) => state.name_of(said) == provider && credential == name,
                None => name == named && (allowed.is_empty() || allowed.iter().any(|allowed| allowed == provider)),
            },
            None => false,
        };
        let meant: Vec<String> = self.credentials.iter().filter(means).cloned().collect();
        if meant.is_empty() {
            let (key, place) = about;
            let text =
                format!("the key {key:?} names the credential {named:?}, which no provider that it may reach has");
            self.mistakes.push(Mistake { place, text });
        }
        meant
    }

    fn one(&mut self, state: &State, reference: Option<&mut String>, about: (Kind, &str, Place), kind: Kind) {
        let Some(reference) = reference.filter(|reference| !reference.is_empty()) else { return };
        *reference = state.name_of(reference);
        let known = match kind {
            Kind::Customer => &self.customers,
            Kind::Team => &self.teams,
            Kind::User => &self.users,
            Kind::Role => &self.roles,
            Kind::ServiceAccount => &self.service_accounts,
            Kind::Key => &self.keys,
            Kind::Provider | Kind::Model | Kind::Route | Kind::Guardrail | Kind::McpServer | Kind::Binding => {
                &self.providers
            }
        };
        if !known.contains(reference) {
            let (from, name, place) = about;
            let text = format!(
                "the {} {name:?} names the {} {reference:?}, which is neither in the file nor there already",
                from.noun(),
                kind.noun()
            );
            self.mistakes.push(Mistake { place, text });
        }
    }
}

fn credentials_of(state: &State, document: &Document, provider: &str) -> Vec<String> {
    let declared =
        document.providers.iter().find(|each| each.name == provider).and_then(|each| each.credentials.as_ref());
    let held = state.providers.get(provider).and_then(|each| each.value.credentials.as_ref());
    let credentials = declared.or(held).map(Vec::as_slice).unwrap_or_default();
    credentials.iter().map(|credential| format!("{provider}/{}", credential.name)).collect()
}
