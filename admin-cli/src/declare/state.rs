//! What the control plane has, in the words of the declarative file: every field set, names instead of ids, lists in order.

mod access;
mod guardrail;
mod mcp;
mod route;

use std::collections::BTreeMap;

use tollgate_policy::money::NanoUsd;
use tollgate_proto::admin::v1;

use super::document::{
    Credential, Customer, Document, Dollars, Expires, Key, LongContext, Model, Provider, Rates, Secret, Team, Tier,
    ToolRule, User,
    access::{Binding, SelfServed, ServiceAccount},
    guardrail::Guardrail,
    mcp::McpServer,
    quota::Quota,
    route::Route,
};
use crate::{
    commands::names::provider_names,
    literals::{audit::Audit, from_wire},
    quota::ordered,
};
use access::{ExistingRole, existing_role, existing_self_service, existing_service_account};
use route::existing_provider;

/// How the catalogue says that a price was set here.
const OVERRIDE: &str = "override";

/// What the control plane returned.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    pub(crate) customers: Vec<v1::Customer>,
    pub(crate) teams: Vec<v1::Team>,
    pub(crate) users: Vec<v1::User>,
    pub(crate) providers: Vec<v1::Provider>,
    pub(crate) models: Vec<v1::Model>,
    pub(crate) keys: Vec<v1::Key>,
    pub(crate) routes: Vec<v1::Route>,
    pub(crate) guardrails: Vec<v1::Guardrail>,
    pub(crate) mcp_servers: Vec<v1::McpServer>,
    pub(crate) roles: Vec<v1::Role>,
    pub(crate) service_accounts: Vec<v1::ServiceAccount>,
    pub(crate) bindings: Vec<v1::Binding>,
}

/// The objects by name.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) customers: BTreeMap<String, Existing<Customer>>,
    pub(crate) teams: BTreeMap<String, Existing<Team>>,
    pub(crate) users: BTreeMap<String, Existing<User>>,
    pub(crate) providers: BTreeMap<String, Existing<Provider>>,
    pub(crate) models: BTreeMap<String, ExistingModel>,
    pub(crate) keys: BTreeMap<String, Existing<Key>>,
    pub(crate) routes: BTreeMap<String, Existing<Route>>,
    pub(crate) guardrails: BTreeMap<String, Existing<Guardrail>>,
    pub(crate) mcp_servers: BTreeMap<String, Existing<McpServer>>,
    pub(crate) roles: BTreeMap<String, ExistingRole>,
    pub(crate) service_accounts: BTreeMap<String, Existing<ServiceAccount>>,
    /// By what tells them apart, as people read it.
    pub(crate) bindings: BTreeMap<String, Existing<Binding>>,
    names: BTreeMap<String, String>,
}

/// An object, and what it takes to change it.
#[derive(Debug)]
pub(crate) struct Existing<T> {
    pub(crate) id: String,
    pub(crate) etag: String,
    pub(crate) value: T,
}

/// A model. One of the catalogue can be compared with, and only one that was set here is exported or reset.
#[derive(Debug)]
pub(crate) struct ExistingModel {
    pub(crate) overridden: bool,
    /// Whether it has a price.
    pub(crate) priced: bool,
    pub(crate) value: Model,
}

impl State {
    /// Reads what the control plane returned.
    pub(crate) fn new(lists: Lists) -> Self {
        let Lists {
            customers,
            teams,
            users,
            providers,
            models,
            keys,
            routes,
            guardrails,
            mcp_servers,
            roles,
            service_accounts,
            bindings,
        } = lists;
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        names.extend(customers.iter().map(|each| (each.id.clone(), each.name.clone())));
        names.extend(teams.iter().map(|each| (each.id.clone(), each.name.clone())));
        names.extend(users.iter().map(|each| (each.id.clone(), each.name.clone())));
        names.extend(keys.iter().map(|each| (each.id.clone(), each.name.clone())));
        names.extend(roles.iter().map(|each| (each.id.clone(), each.name.clone())));
        names.extend(service_accounts.iter().map(|each| (each.id.clone(), each.name.clone())));
        names.extend(providers.iter().cloned().flat_map(provider_names));
        let mut state = Self { names, ..Self::default() };
        state.customers =
            customers.into_iter().map(|each| (each.name.clone(), state.existing_customer(each))).collect();
        state.teams = teams.into_iter().map(|each| (each.name.clone(), state.existing_team(each))).collect();
        state.users = users.into_iter().map(|each| (each.name.clone(), state.existing_user(each))).collect();
        state.providers = providers.into_iter().map(|each| (each.name.clone(), existing_provider(each))).collect();
        state.models = models.into_iter().map(existing_model).map(|each| (each.value.name.clone(), each)).collect();
        state.roles = roles.into_iter().map(|each| (each.name.clone(), existing_role(each))).collect();
        state.service_accounts =
            service_accounts.into_iter().map(|each| (each.name.clone(), existing_service_account(each))).collect();
        let bindings = bindings.into_iter().filter_map(|each| state.existing_binding(each));
        let bindings = bindings.map(|each| (each.value.title(), each)).collect();
        state.bindings = bindings;
        state.routes = routes.into_iter().map(|each| (each.name.clone(), state.existing_route(each))).collect();
        state.guardrails =
            guardrails.into_iter().map(|each| (each.name.clone(), state.existing_guardrail(each))).collect();
        state.mcp_servers =
            mcp_servers.into_iter().map(|each| (each.name.clone(), state.existing_mcp_server(each))).collect();
        state.keys = keys.into_iter().map(|each| (each.name.clone(), state.existing_key(each))).collect();
        state
    }

    /// The name behind a reference: an id becomes the name, a name stays.
    pub(crate) fn name_of(&self, reference: &str) -> String {
        self.names.get(reference).cloned().unwrap_or_else(|| reference.to_owned())
    }

    /// The declarative file of everything. What holds an object back is written, what does not is left out, so that applying
    /// an old file never switches on again what was switched off since.
    pub(crate) fn export(&self) -> Document {
        let braked = |brake: Option<bool>| brake.filter(|on| *on);
        let narrowed = |list: &Option<Vec<String>>| list.clone().filter(|list| !list.is_empty());
        let credential =
            |credential: &Credential| Credential { disabled: braked(credential.disabled), ..credential.clone() };
        let provider = |provider: &Provider| Provider {
            disabled: braked(provider.disabled),
            credentials: provider.credentials.as_ref().map(|all| all.iter().map(credential).collect()),
            ..provider.clone()
        };
        Document {
            customers: values(&self.customers)
                .map(|each| Customer {
                    disabled: braked(each.disabled),
                    quota: each.quota.clone().braking(),
                    ..each.clone()
                })
                .collect(),
            teams: values(&self.teams)
                .map(|each| Team {
                    disabled: braked(each.disabled),
                    providers: narrowed(&each.providers),
                    regions: narrowed(&each.regions),
                    quota: each.quota.clone().braking(),
                    self_service: each.self_service.clone().filter(|served| *served != SelfServed::None),
                    ..each.clone()
                })
                .collect(),
            users: values(&self.users)
                .map(|each| User {
                    disabled: braked(each.disabled),
                    quota: each.quota.clone().braking(),
                    ..each.clone()
                })
                .collect(),
            providers: values(&self.providers).map(provider).collect(),
            models: self.models.values().filter(|each| each.overridden).map(|each| each.value.clone()).collect(),
            keys: values(&self.keys)
                .map(|each| Key {
                    revoked: braked(each.revoked),
                    regions: narrowed(&each.regions),
                    tools: narrowed(&each.tools),
                    tool_rules: each.tool_rules.clone().filter(|rules| !rules.is_empty()),
                    quota: each.quota.clone().braking(),
                    ..each.clone()
                })
                .collect(),
            routes: values(&self.routes)
                .map(|each| Route { disabled: braked(each.disabled), ..each.clone() }.telling())
                .collect(),
            guardrails: values(&self.guardrails).cloned().map(Guardrail::telling).collect(),
            mcp_servers: values(&self.mcp_servers).cloned().map(McpServer::telling).collect(),
            roles: self.roles.values().filter(|each| !each.system).map(|each| each.held.value.clone()).collect(),
            service_accounts: values(&self.service_accounts)
                .map(|each| ServiceAccount { disabled: braked(each.disabled), ..each.clone() })
                .collect(),
            bindings: values(&self.bindings).cloned().collect(),
            sections: Vec::new(),
        }
    }

    fn quota(
        &self,
        budgets: Vec<v1::Budget>,
        limits: Vec<v1::RateLimit>,
        session_limit: Option<v1::SessionLimit>,
    ) -> Quota {
        Quota::held(budgets, limits, session_limit, |reference| self.name_of(reference))
    }

    fn existing_customer(&self, customer: v1::Customer) -> Existing<Customer> {
        let v1::Customer {
            id,
            name,
            display_name,
            disabled,
            etag,
            create_time: _,
            update_time: _,
            budgets,
            limits,
            session_limit,
        } = customer;
        let value = Customer {
            name,
            display_name: Some(display_name),
            disabled: Some(disabled),
            quota: self.quota(budgets, limits, session_limit),
            ..Customer::default()
        };
        Existing { id, etag, value }
    }

    fn existing_team(&self, team: v1::Team) -> Existing<Team> {
        let v1::Team {
            id,
            name,
            display_name,
            customer,
            disabled,
            etag,
            create_time: _,
            update_time: _,
            budgets,
            limits,
            session_limit,
            self_service,
            providers,
            regions,
        } = team;
        let quota = self.quota(budgets, limits, session_limit);
        let customer = Some(self.name_of(&customer));
        let value = Team {
            name,
            customer,
            display_name: Some(display_name),
            disabled: Some(disabled),
            quota,
            self_service: Some(existing_self_service(self_service)),
            providers: Some(ordered(providers.iter().map(|provider| self.name_of(provider)).collect())),
            regions: Some(ordered(regions)),
            ..Team::default()
        };
        Existing { id, etag, value }
    }

    fn existing_user(&self, user: v1::User) -> Existing<User> {
        let v1::User {
            id,
            name,
            email,
            display_name,
            team,
            disabled,
            etag,
            create_time: _,
            update_time: _,
            budgets,
            limits,
            session_limit,
        } = user;
        let value = User {
            name,
            email: Some(email),
            display_name: Some(display_name),
            team: Some(self.name_of(&team)),
            disabled: Some(disabled),
            quota: self.quota(budgets, limits, session_limit),
            ..User::default()
        };
        Existing { id, etag, value }
    }

    fn existing_key(&self, key: v1::Key) -> Existing<Key> {
        let (revoked, audit) = (key.state() == v1::KeyState::Revoked, Audit::from_wire(key.audit()));
        let v1::Key {
            id,
            name,
            display_name,
            team,
            user,
            state: _,
            expire_time,
            models,
            providers,
            credentials,
            tags,
            prefix: _,
            etag,
            create_time: _,
            update_time: _,
            budgets,
            limits,
            session_limit,
            audit: _,
            regions,
            tools,
            tool_rules,
        } = key;
        let named =
            |references: Vec<String>| ordered(references.iter().map(|reference| self.name_of(reference)).collect());
        let value = Key {
            name,
            team: Some(self.name_of(&team)),
            user: Some(self.name_of(&user)),
            display_name: Some(display_name),
            models: Some(ordered(models)),
            providers: Some(named(providers)),
            credentials: Some(named(credentials)),
            regions: Some(ordered(regions)),
            tools: Some(ordered(tools)),
            tool_rules: Some(
                tool_rules.into_iter().map(|v1::ToolRule { tools, when }| ToolRule { tools, when }).collect(),
            ),
            expires: Some(from_wire(expire_time.as_ref()).map_or(Expires::Never, Expires::At)),
            tags: Some(tags.into_iter().collect()),
            audit: Some(audit),
            revoked: Some(revoked),
            quota: self.quota(budgets, limits, session_limit),
            ..Key::default()
        };
        Existing { id, etag, value }
    }
}

fn values<T>(objects: &BTreeMap<String, Existing<T>>) -> impl Iterator<Item = &T> {
    objects.values().map(|existing| &existing.value)
}

fn existing_credential(credential: v1::Credential) -> Credential {
    let v1::Credential { id: _, name, secret: _, reference, weight, disabled, fingerprint, health: _ } = credential;
    let secret = if reference.is_empty() { Secret::Stored(fingerprint) } else { Secret::Reference(reference) };
    // The wire's 0 means 1.
    Credential { name, secret, weight: Some(weight.max(1)), disabled: Some(disabled), place: Default::default() }
}

/// Reads a row of the catalogue.
pub(super) fn existing_model(model: v1::Model) -> ExistingModel {
    let v1::Model {
        id,
        vendor: _,
        model: _,
        display_name,
        aliases,
        context_window,
        max_output,
        price,
        origin,
        as_of: _,
    } = model;
    let priced = price.is_some();
    let v1::Price { input, output, cache_read, cache_write_5m, cache_write_1h, long_context, web_search } =
        price.unwrap_or_default();
    let some = |amounts| if priced { rates(amounts) } else { Rates::default() };
    let value = Model {
        name: id,
        rates: some([input, output, cache_read, cache_write_5m, cache_write_1h]),
        web_search: priced.then(|| dollars(web_search)),
        long_context: priced.then(|| long_context.map_or(Tier::None, |tier| Tier::Above(existing_tier(tier)))),
        context_window: Some(context_window),
        max_output: Some(max_output),
        display_name: Some(display_name),
        aliases: Some(ordered(aliases)),
        ..Model::default()
    };
    ExistingModel { overridden: origin == OVERRIDE, priced, value }
}

fn existing_tier(tier: v1::LongContext) -> LongContext {
    let v1::LongContext { threshold, input, output, cache_read, cache_write_5m, cache_write_1h } = tier;
    LongContext { threshold, rates: rates([input, output, cache_read, cache_write_5m, cache_write_1h]) }
}

fn rates(amounts: [i64; 5]) -> Rates {
    let [input, output, cache_read, cache_write_5m, cache_write_1h] = amounts.map(|nano| Some(dollars(nano)));
    Rates { input, output, cache_read, cache_write_5m, cache_write_1h }
}

fn dollars(nano: i64) -> Dollars {
    Dollars(NanoUsd::new(nano))
}
