//! The decision: who is calling, and what may they reach.
//!
//! Unknown denies: a key whose team is missing from the snapshot is refused, and a restriction to a provider that does not
//! exist admits nothing.

use std::sync::Arc;

use crate::{
    credential::{Claims, Untimely, Verified},
    id::CredentialId,
    refusal::{Refusal, RefusalKind},
    snapshot::{Dialect, Key, Model, Provider, Quota, Snapshot},
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
}

/// What was granted: where the request may go. Only [`authorize`] makes one.
#[derive(Clone, Debug)]
pub struct Granted {
    targets: Vec<Target>,
}

/// One place where the request may go.
#[derive(Clone, Debug)]
pub struct Target {
    /// The provider.
    pub provider: Arc<Provider>,
    /// Its credentials that the key may use, enabled ones only; never empty.
    pub credentials: Vec<CredentialId>,
    /// The model's row in the catalogue; `None`: unknown, therefore unpriced.
    pub model: Option<Arc<Model>>,
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
/// Refuses a model that the key may not use, and a model that no reachable provider serves.
pub fn authorize(snapshot: &Snapshot, caller: &Caller, ask: &Ask<'_>) -> Result<Granted, Refusal> {
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
    let targets: Vec<Target> = targets(snapshot, &caller.key, ask).collect();
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
    Ok(Granted { targets })
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

/// The models of the catalogue that the caller may ask for, in the caller's dialect, by name.
#[must_use]
pub fn models(snapshot: &Snapshot, caller: &Caller, dialect: Dialect) -> Vec<Arc<Model>> {
    let mut models: Vec<Arc<Model>> = reachable(snapshot, &caller.key, dialect)
        .flat_map(|provider| {
            let served = move |model: &&Arc<Model>| provider.models.admit(&model.name);
            snapshot.models().of_vendor(&provider.vendor).filter(served)
        })
        .filter(|model| caller.key.models.admit(&model.name))
        .cloned()
        .collect();
    models.sort_by(|a, b| a.name.cmp(&b.name));
    models.dedup_by(|a, b| a.name == b.name);
    models
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

fn reachable<'s>(snapshot: &'s Snapshot, key: &'s Key, dialect: Dialect) -> impl Iterator<Item = &'s Arc<Provider>> {
    snapshot.providers().iter().filter(move |provider| {
        !provider.disabled
            && provider.dialect == dialect
            && (key.providers.is_empty() || key.providers.contains(&provider.id))
    })
}

fn targets<'s>(snapshot: &'s Snapshot, key: &'s Key, ask: &'s Ask<'_>) -> impl Iterator<Item = Target> {
    reachable(snapshot, key, ask.dialect).filter(|provider| provider.models.admit(ask.model)).filter_map(|provider| {
        let usable = |id: &CredentialId| key.credentials.is_empty() || key.credentials.contains(id);
        let credentials: Vec<CredentialId> = provider
            .credentials
            .iter()
            .filter(|credential| !credential.disabled && usable(&credential.id))
            .map(|credential| credential.id.clone())
            .collect();
        let model = snapshot.models().find(&provider.vendor, ask.model).cloned();
        (!credentials.is_empty()).then(|| Target { provider: Arc::clone(provider), credentials, model })
    })
}

// What a client sent comes back bounded and without control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::{CustomerId, KeyId, ProviderId, TeamId, UserId},
        pattern::Patterns,
        snapshot::{AuditMode, Credential, Customer, Object, ObjectRef, Team, User},
    };

    const NOW: UnixMillis = UnixMillis::new(1_000);

    fn ulid(last: char) -> String {
        format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")
    }

    fn key() -> Key {
        Key {
            id: KeyId::from_ulid(&ulid('k')).unwrap(),
            name: "dev".into(),
            hash: KeyHash::new([1; 32]),
            team: TeamId::from_ulid(&ulid('t')).unwrap(),
            user: Some(UserId::from_ulid(&ulid('v')).unwrap()),
            revoked: false,
            expires: None,
            models: Patterns::parse(&["claude-*", "!*opus*"]).unwrap(),
            providers: Arc::new([]),
            credentials: Arc::new([]),
            quota: None,
            audit: AuditMode::Required,
        }
    }

    fn provider(last: char, priority: i32) -> Provider {
        let credential = |name: &str, last: char, disabled: bool| Credential {
            id: CredentialId::from_ulid(&ulid(last)).unwrap(),
            name: name.into(),
            weight: 1,
            disabled,
            reference: None,
        };
        Provider {
            id: ProviderId::from_ulid(&ulid(last)).unwrap(),
            name: format!("provider-{last}").into(),
            dialect: Dialect::Anthropic,
            base_url: "https://api.example.com".into(),
            allow_private: false,
            models: Patterns::default(),
            vendor: "anthropic".into(),
            disabled: false,
            priority,
            credentials: vec![
                credential("one", '1', false),
                credential("two", '2', false),
                credential("off", '3', true),
            ],
        }
    }

    fn world() -> Snapshot {
        let customer = CustomerId::from_ulid(&ulid('c')).unwrap();
        let team =
            Team { id: key().team, name: "platform".into(), customer: customer.clone(), disabled: false, quota: None };
        let objects = vec![
            Object::Customer(Customer { id: customer, name: "acme".into(), disabled: false, quota: None }),
            Object::Team(team),
            Object::User(User { id: key().user.unwrap(), name: "ada".into(), disabled: false, quota: None }),
            Object::Key(key()),
            Object::Provider(provider('b', 2)),
            Object::Provider(provider('a', 1)),
        ];
        Snapshot::default().next(1, objects, vec![])
    }

    fn refused(snapshot: &Snapshot, now: UnixMillis) -> Option<RefusalKind> {
        authenticate(snapshot, now, &KeyHash::new([1; 32])).err().map(|refusal| refusal.kind())
    }

    #[test]
    fn a_key_needs_everything_above_it_to_stand() {
        let world = world();
        assert_eq!(refused(&world, NOW), None);
        let changed = |change: &dyn Fn(&mut Key)| {
            let mut key = key();
            change(&mut key);
            world.next(2, vec![Object::Key(key)], vec![])
        };
        let team = world.team(&key().team).unwrap().clone();
        let user = world.user(&key().user.unwrap()).unwrap().clone();
        let customer = world.customer(&team.customer).unwrap().clone();
        for (name, snapshot, expect) in [
            ("revoked", changed(&|key| key.revoked = true), RefusalKind::KeyRevoked),
            ("expired", changed(&|key| key.expires = Some(NOW)), RefusalKind::KeyExpired),
            ("unknown", changed(&|key| key.hash = KeyHash::new([2; 32])), RefusalKind::Unauthenticated),
            ("team gone", world.next(2, vec![], vec![ObjectRef::Team(team.id.clone())]), RefusalKind::OwnerDisabled),
            (
                "team off",
                put(&world, Object::Team(Team { disabled: true, ..team.clone() })),
                RefusalKind::OwnerDisabled,
            ),
            ("user off", put(&world, Object::User(User { disabled: true, ..user })), RefusalKind::OwnerDisabled),
            (
                "customer off",
                put(&world, Object::Customer(Customer { disabled: true, ..customer })),
                RefusalKind::OwnerDisabled,
            ),
        ] {
            assert_eq!(refused(&snapshot, NOW), Some(expect), "{name}");
            let caller = authenticate(&world, NOW, &KeyHash::new([1; 32])).unwrap();
            assert!(reconsider(&snapshot, NOW, &caller).is_err(), "{name}: an open stream is decided the same way");
        }
    }

    fn put(world: &Snapshot, object: Object) -> Snapshot {
        world.next(2, vec![object], vec![])
    }

    fn granted(snapshot: &Snapshot, model: &str) -> Result<Vec<String>, RefusalKind> {
        let caller = authenticate(snapshot, NOW, &KeyHash::new([1; 32])).unwrap();
        let granted = authorize(snapshot, &caller, &Ask { dialect: Dialect::Anthropic, model });
        granted
            .map(|granted| granted.targets().iter().map(|target| target.provider.name.to_string()).collect())
            .map_err(|r| r.kind())
    }

    #[test]
    fn targets_come_in_the_order_of_priority_and_only_where_the_key_may_go() {
        let world = world();
        assert_eq!(granted(&world, "claude-sonnet-5-5"), Ok(vec!["provider-a".into(), "provider-b".into()]));
        assert_eq!(granted(&world, "claude-opus-5-5"), Err(RefusalKind::ModelDenied));
        let only = |providers: Vec<ProviderId>, credentials: Vec<CredentialId>| {
            put(&world, Object::Key(Key { providers: providers.into(), credentials: credentials.into(), ..key() }))
        };
        assert_eq!(granted(&only(vec![provider('b', 0).id], vec![]), "claude-x"), Ok(vec!["provider-b".into()]));
        let nowhere = ProviderId::from_ulid(&ulid('z')).unwrap();
        assert_eq!(granted(&only(vec![nowhere], vec![]), "claude-x"), Err(RefusalKind::NoProvider));
        let disabled = CredentialId::from_ulid(&ulid('3')).unwrap();
        assert_eq!(granted(&only(vec![], vec![disabled]), "claude-x"), Err(RefusalKind::NoProvider));
    }
}
