//! The decision: who is calling, and what may they reach.
//!
//! Unknown denies: a key whose team is missing from the snapshot is refused, and a restriction to a provider that does not
//! exist admits nothing.

use std::sync::Arc;

use tollgate_rule::Facts;

use crate::{
    credential::{Claims, Untimely, Verified},
    id::{CredentialId, ProviderId},
    pattern::Patterns,
    refusal::{Refusal, RefusalKind},
    route::{Conditions, Route},
    snapshot::{Dialect, Key, Model, Provider, Quota, Snapshot, Team},
    time::UnixMillis,
    token::KeyHash,
    usage::Attribution,
};

/// Who is calling. Only [`authenticate`] and [`authenticate_credential`] make one.
#[derive(Clone, Debug)]
pub struct Caller {
    key: Arc<Key>,
    customer: crate::id::CustomerId,
    // By which the caller acts as the key, if not by the key itself.
    credential: Option<Arc<Verified>>,
}

/// What is asked for, as far as policy cares.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The dialect that the client speaks.
    pub dialect: Dialect,
    /// The model that it names.
    pub model: &'a str,
    /// Where the replica runs; empty: it does not say.
    pub region: &'a str,
    /// What the rules of routes are about.
    pub facts: &'a dyn Facts,
}

/// What was granted: where the request may go. Only [`authorize`] makes one.
#[derive(Clone, Debug)]
pub struct Granted {
    targets: Vec<Target>,
    route: Option<Arc<Route>>,
}

/// One place where the request may go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The provider.
    pub provider: Arc<Provider>,
    /// Its credentials that the key may use, enabled ones only; never empty.
    pub credentials: Vec<CredentialId>,
    /// The model, as the provider names it.
    pub name: Arc<str>,
    /// The model's row in the catalogue; `None`: unknown, therefore unpriced.
    pub model: Option<Arc<Model>>,
    /// Among the targets of one tier is chosen, by weight; the next tier comes after them.
    pub tier: usize,
    /// How often it is chosen relative to the others of its tier, at least 1.
    pub weight: u32,
    /// After which failures of an earlier tier it is tried.
    pub on: Conditions,
}

/// What an owner may spend and how fast, and who that is.
#[derive(Clone, Copy, Debug)]
pub struct Owned<'s> {
    /// `customer`, `team`, `user` or `key`.
    pub noun: &'static str,
    /// Its id.
    pub id: &'s str,
    /// Its name.
    pub name: &'s str,
    /// What it may do.
    pub quota: &'s Arc<Quota>,
}

/// Decides who presents a key with this hash.
///
/// # Errors
/// Refuses an unknown, revoked or expired key, and one whose user, team or customer is missing or disabled.
pub fn authenticate(snapshot: &Snapshot, now: UnixMillis, hash: &KeyHash) -> Result<Caller, Refusal> {
    let Some(key) = snapshot.key(hash) else {
        return Err(Refusal::new(
            RefusalKind::Unauthenticated,
            "This Tollgate key is not known here. It may have been rotated or deleted: ask your platform team for a new one.",
        ));
    };
    let customer = standing(snapshot, now, key)?;
    Ok(Caller { key: Arc::clone(key), customer, credential: None })
}

/// Decides whom a developer's credential stands for: the user's own key, with all that holds for it. That the key itself was
/// rotated changes nothing.
///
/// # Errors
/// Refuses a credential that does not hold at this instant, whose signing key was withdrawn, whose session has ended, or whose
/// key is not its user's; otherwise as [`authenticate`] does.
pub fn authenticate_credential(
    snapshot: &Snapshot,
    now: UnixMillis,
    verified: &Arc<Verified>,
) -> Result<Caller, Refusal> {
    let claims = verified.claims();
    if !snapshot.token_keys().iter().any(|key| verified.was_signed_by(key)) {
        return Err(unsigned());
    }
    claims.check(now).map_err(untimely)?;
    let (key, customer) = represented(snapshot, now, claims)?;
    Ok(Caller { key: Arc::clone(key), customer, credential: Some(Arc::clone(verified)) })
}

/// What is said of a credential that none of the keys in force has signed, or that is damaged.
#[must_use]
pub fn unsigned() -> Refusal {
    Refusal::new(
        RefusalKind::Unauthenticated,
        "The Tollgate credential is damaged, or was not issued by this Tollgate. Run `tollgate token` again.",
    )
}

/// Decides again for a caller that was admitted under an older snapshot.
///
/// # Errors
/// As [`readmit`].
pub fn reconsider(snapshot: &Snapshot, now: UnixMillis, caller: &Caller) -> Result<(), Refusal> {
    readmit(snapshot, now, caller).map(|_| ())
}

/// Decides again, and returns the caller as this snapshot has it.
///
/// # Errors
/// Refuses as [`authenticate`] and [`authenticate_credential`] do; a rotated key counts as revoked, except for a credential.
pub fn readmit(snapshot: &Snapshot, now: UnixMillis, caller: &Caller) -> Result<Caller, Refusal> {
    if let Some(verified) = &caller.credential {
        return authenticate_credential(snapshot, now, verified);
    }
    match snapshot.key_by_id(&caller.key.id) {
        Some(key) if key.hash == caller.key.hash => {
            let customer = standing(snapshot, now, key)?;
            Ok(Caller { key: Arc::clone(key), customer, credential: None })
        }
        _ => Err(Refusal::new(RefusalKind::KeyRevoked, revoked(&caller.key))),
    }
}

/// Decides where the request may go.
///
/// # Errors
/// Refuses a region in which the key may not be used, a model that it may not use, a model that no reachable provider serves, and what
/// a route's rule cannot be decided for.
pub fn authorize(snapshot: &Snapshot, caller: &Caller, ask: &Ask<'_>) -> Result<Granted, Refusal> {
    admit_region(snapshot, caller, ask.region)?;
    if !caller.key.models.admit(ask.model) {
        return Err(Refusal::new(
            RefusalKind::ModelDenied,
            format!(
                "The model \"{}\" is not allowed for the Tollgate key \"{}\". Choose another with /model or --model, or ask \
                 your platform team for access.",
                shown(ask.model),
                caller.key.name,
            ),
        ));
    }
    let route = route(snapshot, caller, ask)?;
    let reach = Reach::of(snapshot, caller);
    let targets: Vec<Target> = match route {
        Some(route) => routed(snapshot, &reach, ask.model, route).collect(),
        None => targets(snapshot, &reach, ask).collect(),
    };
    if targets.is_empty() {
        return Err(Refusal::new(
            RefusalKind::NoProvider,
            format!(
                "No provider that the Tollgate key \"{}\" may use serves the model \"{}\". Choose another model, or ask your \
                 platform team.",
                caller.key.name,
                shown(ask.model),
            ),
        ));
    }
    Ok(Granted { targets, route: route.cloned() })
}

/// Decides whether a request of the caller may be received in a region; empty: in one that nobody named.
///
/// # Errors
/// Refuses a region that the key or its team does not admit.
pub fn admit_region(snapshot: &Snapshot, caller: &Caller, region: &str) -> Result<(), Refusal> {
    let reach = Reach::of(snapshot, caller);
    if reach.admits(region) {
        return Ok(());
    }
    let here = if region.is_empty() { "here".to_owned() } else { format!("in the region \"{}\"", shown(region)) };
    Err(Refusal::new(
        RefusalKind::RegionDenied,
        format!(
            "The Tollgate key \"{}\" may not be used {here}: its data stays in {}. Call a replica there, or ask your platform team.",
            caller.key.name,
            reach.regions(),
        ),
    ))
}

/// The quotas that hold for a caller, the outermost first: those of its customer, its team, its user and its key. An owner
/// without one is left out.
#[must_use]
pub fn quotas<'s>(snapshot: &'s Snapshot, caller: &'s Caller) -> Vec<Owned<'s>> {
    let key = &*caller.key;
    let customer = snapshot.customer(&caller.customer);
    let team = snapshot.team(&key.team);
    let user = key.user.as_ref().and_then(|id| snapshot.user(id));
    let owned = |noun, id, name, quota: &'s Option<Arc<Quota>>| Some(Owned { noun, id, name, quota: quota.as_ref()? });
    [
        customer.and_then(|it| owned("customer", it.id.as_str(), &it.name, &it.quota)),
        team.and_then(|it| owned("team", it.id.as_str(), &it.name, &it.quota)),
        user.and_then(|it| owned("user", it.id.as_str(), &it.name, &it.quota)),
        owned("key", key.id.as_str(), &key.name, &key.quota),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The models that the caller may ask for, by name: those of the catalogue that a provider within reach serves, and those that a
/// route gives a name to.
#[must_use]
pub fn models(snapshot: &Snapshot, caller: &Caller) -> Vec<Arc<Model>> {
    let reach = Reach::of(snapshot, caller);
    let served = reach.providers(snapshot).flat_map(|provider| {
        let served = move |model: &&Arc<Model>| provider.models.admit(&model.name);
        snapshot.models().of_vendor(&provider.vendor).filter(served).cloned()
    });
    let named = snapshot.routes().iter().filter(|route| !route.disabled && is_for(route, caller));
    let named = named.flat_map(|route| route.models.names().map(|name| alias(snapshot, route, name)));
    // A route that gives a name to a model of the catalogue comes first, and is the one that stays.
    let mut models: Vec<Arc<Model>> =
        named.chain(served).filter(|model| caller.key.models.admit(&model.name)).collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models.dedup_by(|a, b| a.name == b.name);
    models
}

// A name that a route gives has the bounds of what its first target is.
fn alias(snapshot: &Snapshot, route: &Route, name: &Arc<str>) -> Arc<Model> {
    let first = route.tiers.first().and_then(|tier| tier.targets.first());
    let row = first.and_then(|target| {
        let provider = snapshot.providers().iter().find(|provider| provider.id == target.provider)?;
        snapshot.models().find(&provider.vendor, target.model.as_ref().unwrap_or(name))
    });
    Arc::new(Model {
        vendor: row.map_or_else(|| "tollgate".into(), |row| Arc::clone(&row.vendor)),
        name: Arc::clone(name),
        display_name: Arc::clone(name),
        aliases: Vec::new(),
        context_window: row.map_or(0, |row| row.context_window),
        output_max: row.map_or(0, |row| row.output_max),
        price: row.and_then(|row| row.price),
    })
}

// === impl Caller ===

impl Caller {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// What the caller's credential says; `None`: the caller presented the key itself.
    #[must_use]
    pub fn credential(&self) -> Option<&Claims> {
        self.credential.as_ref().map(|verified| verified.claims())
    }

    /// To whom a visit of this caller is attributed.
    #[must_use]
    pub fn attribution(&self, session: Arc<str>, agent: Arc<str>, parent_agent: Arc<str>) -> Attribution {
        Attribution {
            key: self.key.id.clone(),
            team: self.key.team.clone(),
            customer: self.customer.clone(),
            user: self.key.user.clone(),
            session,
            agent,
            parent_agent,
        }
    }
}

// === impl Granted ===

impl Granted {
    /// Where the request may go, in the order in which to try; never empty.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The route that decided; `None`: there is none for the model.
    #[must_use]
    pub fn route(&self) -> Option<&Route> {
        self.route.as_deref()
    }
}

fn untimely(untimely: Untimely) -> Refusal {
    match untimely {
        Untimely::Expired => Refusal::new(
            RefusalKind::KeyExpired,
            "The Tollgate credential has expired. Run `tollgate token` again, or have your client run it (apiKeyHelper).",
        ),
        Untimely::Early => Refusal::new(
            RefusalKind::Unauthenticated,
            "The Tollgate credential does not hold yet: the clocks of Tollgate's machines differ. Tell your platform team.",
        ),
        Untimely::Long => unsigned(),
    }
}

// The key as which a credential acts, in good standing.
fn represented<'s>(
    snapshot: &'s Snapshot,
    now: UnixMillis,
    claims: &Claims,
) -> Result<(&'s Arc<Key>, crate::id::CustomerId), Refusal> {
    let revoked = |sentence| Refusal::new(RefusalKind::KeyRevoked, sentence);
    if snapshot.has_ended(&claims.session) {
        return Err(revoked(
            "The session of the Tollgate credential has ended. Run `tollgate login`, then `tollgate token` again.",
        ));
    }
    let Some(key) = snapshot.key_by_id(&claims.key) else {
        return Err(revoked(
            "The Tollgate key of the credential is gone. Run `tollgate token` again to choose another.",
        ));
    };
    if key.user.as_ref() != Some(&claims.user) {
        return Err(revoked(
            "The Tollgate key of the credential is not yours any more. Run `tollgate token` again to choose another.",
        ));
    }
    Ok((key, standing(snapshot, now, key)?))
}

// Whether the key is in good standing, and which customer answers for it.
fn standing(snapshot: &Snapshot, now: UnixMillis, key: &Key) -> Result<crate::id::CustomerId, Refusal> {
    if key.revoked {
        return Err(Refusal::new(RefusalKind::KeyRevoked, revoked(key)));
    }
    if key.expires.is_some_and(|expires| expires <= now) {
        return Err(Refusal::new(
            RefusalKind::KeyExpired,
            format!("The Tollgate key \"{}\" has expired. Ask your platform team for a new one.", key.name),
        ));
    }
    let disabled = |what: &str| {
        let sentence = format!("The {what} of the Tollgate key \"{}\" is disabled. Ask your platform team.", key.name);
        Refusal::new(RefusalKind::OwnerDisabled, sentence)
    };
    if let Some(user) = &key.user
        && snapshot.user(user).is_none_or(|user| user.disabled)
    {
        return Err(disabled("user"));
    }
    let team = snapshot.team(&key.team).filter(|team| !team.disabled).ok_or_else(|| disabled("team"))?;
    let customer = snapshot.customer(&team.customer).filter(|customer| !customer.disabled);
    Ok(customer.ok_or_else(|| disabled("customer"))?.id.clone())
}

fn revoked(key: &Key) -> String {
    format!("The Tollgate key \"{}\" was revoked. Ask your platform team for a new one.", key.name)
}

// What a caller may reach: what its key allows, within what the key's team does.
struct Reach<'s> {
    key: &'s Key,
    team: Option<&'s Team>,
}

impl<'s> Reach<'s> {
    fn of(snapshot: &'s Snapshot, caller: &'s Caller) -> Self {
        Self { key: &caller.key, team: snapshot.team(&caller.key.team) }
    }

    fn providers(&self, snapshot: &'s Snapshot) -> impl Iterator<Item = &'s Arc<Provider>> {
        snapshot.providers().iter().filter(move |provider| self.has(provider))
    }

    fn has(&self, provider: &Provider) -> bool {
        let lists = [Some(&self.key.providers), self.team.map(|team| &team.providers)];
        let is_listed = |list: &Arc<[ProviderId]>| list.is_empty() || list.contains(&provider.id);
        !provider.disabled && lists.into_iter().flatten().all(is_listed) && self.admits(&provider.region)
    }

    // What does not say where it is, is in none of the regions that a list names.
    fn admits(&self, region: &str) -> bool {
        self.lists().all(|list| list.is_empty() || (!region.is_empty() && list.admit(region)))
    }

    fn lists(&self) -> impl Iterator<Item = &'s Patterns> {
        [Some(&self.key.regions), self.team.map(|team| &team.regions)].into_iter().flatten()
    }

    fn regions(&self) -> String {
        let lists = self.lists().filter(|list| !list.is_empty()).map(|list| list.texts().join(", "));
        lists.collect::<Vec<_>>().join(", and within ")
    }
}

fn is_for(route: &Route, caller: &Caller) -> bool {
    route.scope.has(&caller.customer, &caller.key.team, &caller.key.id)
}

// The route that decides about a model. A rule that cannot be decided is not passed over: the request would go where nobody wanted it.
fn route<'s>(snapshot: &'s Snapshot, caller: &Caller, ask: &Ask<'_>) -> Result<Option<&'s Arc<Route>>, Refusal> {
    let may_decide = |route: &&Arc<Route>| !route.disabled && route.models.admit(ask.model) && is_for(route, caller);
    for route in snapshot.routes().iter().filter(may_decide) {
        match route.rule.as_ref().map_or(Ok(true), |rule| rule.holds(ask.facts)) {
            Ok(true) => return Ok(Some(route)),
            Ok(false) => {}
            Err(undecided) => {
                return Err(Refusal::new(
                    RefusalKind::NoProvider,
                    format!(
                        "The rule of the route \"{}\" cannot be decided for this request: {undecided}. Ask your platform team.",
                        route.name,
                    ),
                ));
            }
        }
    }
    Ok(None)
}

fn routed<'s>(
    snapshot: &'s Snapshot,
    reach: &'s Reach<'s>,
    asked: &'s str,
    route: &'s Route,
) -> impl Iterator<Item = Target> + 's {
    let all =
        route.tiers.iter().enumerate().flat_map(|(at, tier)| tier.targets.iter().map(move |to| (at, tier.on, to)));
    all.filter_map(move |(tier, on, to)| {
        let provider = reach.providers(snapshot).find(|provider| provider.id == to.provider)?;
        let name = to.model.clone().unwrap_or_else(|| asked.into());
        provider.models.admit(&name).then_some(())?;
        target(snapshot, reach.key, provider, name, Place { tier, weight: to.weight, on })
    })
}

// Without a route: each provider that serves the model, one after the other. A provider of another dialect does so only where its
// row or the catalogue names the model: that it says nothing does not mean that it has everything.
fn targets<'s>(snapshot: &'s Snapshot, reach: &'s Reach<'s>, ask: &'s Ask<'_>) -> impl Iterator<Item = Target> {
    let serves = |provider: &&Arc<Provider>| {
        let is_named = || !provider.models.is_empty() || snapshot.models().find(&provider.vendor, ask.model).is_some();
        provider.models.admit(ask.model) && (provider.dialect == ask.dialect || is_named())
    };
    let places = reach.providers(snapshot).filter(serves).enumerate();
    places.filter_map(|(tier, provider)| {
        target(snapshot, reach.key, provider, ask.model.into(), Place { tier, weight: 1, on: Conditions::default() })
    })
}

struct Place {
    tier: usize,
    weight: u32,
    on: Conditions,
}

fn target(snapshot: &Snapshot, key: &Key, provider: &Arc<Provider>, name: Arc<str>, place: Place) -> Option<Target> {
    let usable = |id: &CredentialId| key.credentials.is_empty() || key.credentials.contains(id);
    let enabled = provider.credentials.iter().filter(|credential| !credential.disabled && usable(&credential.id));
    let credentials: Vec<CredentialId> = enabled.map(|credential| credential.id.clone()).collect();
    let model = snapshot.models().find(&provider.vendor, &name).cloned();
    let Place { tier, weight, on } = place;
    let provider = Arc::clone(provider);
    (!credentials.is_empty()).then_some(Target { provider, credentials, name, model, tier, weight, on })
}

// What a client sent comes back bounded and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests;
