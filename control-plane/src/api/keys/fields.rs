//! The fields of a virtual key, between wire and domain.

use std::collections::BTreeMap;

use serde_json::json;
use tollgate_audit::Fields;
use tollgate_policy::{
    id::{CredentialId, KeyId, ProviderId, TeamId, UserId},
    mcp::{self, Access, TOOL_RULES_MAX},
    name::Name,
    rbac::{Place, Reach},
    rule::CallRule,
    snapshot::AuditMode,
};
use tollgate_proto::admin::v1;

use super::super::{
    authorize::Authorized,
    failure::Failure,
    mask::Mask,
    providers,
    quotas::{self, Asked},
    teams,
    violations::Violations,
    wire,
};
use crate::{
    change::Change,
    store::{
        StoreError, Txn,
        keys::{Key, ToolRule},
        organisation::Team,
    },
};

/// What is said of a reference to a user who does not exist, or not for the caller.
const NO_USER: &str = "is not the id or the name of a user";
/// How much of a key's hash the log shows, to tell two secrets apart: 12 hexadecimal digits.
const FINGERPRINT_BYTES: usize = 6;

/// The fields that need no look at the database.
#[derive(Debug)]
pub(super) struct Plain {
    pub(super) name: Name,
    pub(super) display_name: String,
    pub(super) expires_ms: Option<i64>,
    pub(super) models: Vec<String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) audit: AuditMode,
    pub(super) regions: Vec<String>,
    pub(super) tools: Vec<String>,
    pub(super) tool_rules: Vec<ToolRule>,
}

/// The fields that name other objects, as they were written.
#[derive(Debug)]
pub(super) struct References<'a> {
    user: &'a str,
    providers: &'a [String],
    credentials: &'a [String],
}

/// The objects that were named.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) user: Option<UserId>,
    pub(super) providers: Vec<ProviderId>,
    pub(super) credentials: Vec<CredentialId>,
}

impl Plain {
    pub(super) fn read(wire: &v1::Key, now: i64, violations: &mut Violations) -> Option<Self> {
        let name = wire::name(&wire.name, violations);
        let display_name = wire::display_name(&wire.display_name, violations);
        let expires_ms = read_expiry(wire, now, violations);
        let models = wire::patterns("models", &wire.models, violations);
        let tags = wire::tags(&wire.tags, violations);
        let audit = read_audit(wire, violations);
        let regions = wire::patterns("regions", &wire.regions, violations);
        let tools = read_tools(&wire.tools, violations);
        let tool_rules = read_rules(&wire.tool_rules, violations);
        Some(Self {
            name: name?,
            display_name: display_name?,
            expires_ms,
            models: models?,
            tags: tags?,
            audit: audit?,
            regions: regions?,
            tools: tools?,
            tool_rules: tool_rules?,
        })
    }
}

impl<'a> References<'a> {
    pub(super) fn of(wire: &'a v1::Key) -> Self {
        Self { user: &wire.user, providers: &wire.providers, credentials: &wire.credentials }
    }

    pub(super) async fn resolve(
        self,
        txn: &mut Txn,
        by: &Authorized,
        violations: &mut Violations,
    ) -> Result<Resolved, StoreError> {
        let user = resolve_user(txn, by, self.user, violations).await?;
        let providers = providers::listed(txn, self.providers, violations).await?;
        let credentials = resolve_credentials(txn, self.credentials, violations).await?;
        ensure_reachable(&providers, &credentials, violations);
        Ok(Resolved { user, providers, credentials: credentials.into_iter().map(|(id, _)| id).collect() })
    }
}

/// The key with its masked fields changed. References that stay are not looked up again.
pub(super) async fn merged(
    change: &mut Change<'_>,
    old: &Key,
    wire: &v1::Key,
    mask: &Mask,
    violations: &mut Violations,
) -> Result<Key, Failure> {
    let mut new = old.clone();
    if let Some(name) = mask.of("name", || wire::name(&wire.name, violations)) {
        new.name = name;
    }
    if let Some(display_name) = mask.of("display_name", || wire::display_name(&wire.display_name, violations)) {
        new.display_name = display_name;
    }
    // What it is already is no new promise: a key that has expired can be read, changed elsewhere, and written back.
    if mask.has("expire_time") && expiry_differs(old, wire) {
        new.expires_ms = read_expiry(wire, change.now, violations);
    }
    if let Some(models) = mask.of("models", || wire::patterns("models", &wire.models, violations)) {
        new.models = models;
    }
    if let Some(tags) = mask.of("tags", || wire::tags(&wire.tags, violations)) {
        new.tags = tags;
    }
    if let Some(audit) = mask.of("audit", || read_audit(wire, violations)) {
        new.audit = audit;
    }
    if let Some(regions) = mask.of("regions", || wire::patterns("regions", &wire.regions, violations)) {
        new.regions = regions;
    }
    if let Some(tools) = mask.of("tools", || read_tools(&wire.tools, violations)) {
        new.tools = tools;
    }
    if let Some(rules) = mask.of("tool_rules", || read_rules(&wire.tool_rules, violations)) {
        new.tool_rules = rules;
    }
    if mask.has("user") {
        let by = change.by();
        new.user = resolve_user(&mut change.txn, by, &wire.user, violations).await?;
    }
    if mask.has("providers") || mask.has("credentials") {
        let own: Vec<_> = old.credentials.iter().map(CredentialId::to_string).collect();
        let credentials = if mask.has("credentials") { &wire.credentials } else { &own };
        if mask.has("providers") {
            new.providers = providers::listed(&mut change.txn, &wire.providers, violations).await?;
        }
        let credentials = resolve_credentials(&mut change.txn, credentials, violations).await?;
        ensure_reachable(&new.providers, &credentials, violations);
        new.credentials = credentials.into_iter().map(|(id, _)| id).collect();
    }
    let asked = Asked::new(&wire.budgets, &wire.limits, wire.session_limit.as_ref()).masked(mask);
    new.quota = asked.read(change, &old.quota, violations).await?;
    Ok(new)
}

/// The team that owns a new key of a user. Where the caller may not create such a key, there is no team for them.
pub(super) async fn owner(
    txn: &mut Txn,
    by: &Authorized,
    named: &str,
    user: Option<&UserId>,
    violations: &mut Violations,
) -> Result<Option<Team>, StoreError> {
    if named.is_empty() {
        violations.add("team", "is required: name the team that owns the key, by id or name");
        return Ok(None);
    }
    let reached = |team: &Team| by.reaches(&Place { user: user.cloned(), ..teams::place(team) });
    let team = txn.team_find(named).await?.filter(reached);
    Ok(violations.take(TeamId::NOUN, team.ok_or(teams::NO_TEAM)))
}

pub(super) fn refuse_output_only(wire: &v1::Key, violations: &mut Violations) {
    violations.output_only([
        ("id", !wire.id.is_empty()),
        ("state", wire.state != 0),
        ("prefix", !wire.prefix.is_empty()),
        ("etag", !wire.etag.is_empty()),
        ("create_time", wire.create_time.is_some()),
        ("update_time", wire.update_time.is_some()),
    ]);
}

pub(super) fn revoked_of_word(word: &str) -> Option<bool> {
    match word {
        "active" => Some(false),
        "revoked" => Some(true),
        _ => None,
    }
}

fn expiry_differs(old: &Key, wire: &v1::Key) -> bool {
    wire.expire_time != old.expires_ms.map(wire::timestamp)
}

fn read_expiry(wire: &v1::Key, now: i64, violations: &mut Violations) -> Option<i64> {
    let at = wire::instant("expire_time", wire.expire_time.as_ref()?, violations)?;
    violations.take("expire_time", (at > now).then_some(at).ok_or("is in the past"))
}

// A key without a user is nobody's own: whoever may create only their own gets theirs.
async fn resolve_user(
    txn: &mut Txn,
    by: &Authorized,
    named: &str,
    violations: &mut Violations,
) -> Result<Option<UserId>, StoreError> {
    if named.is_empty() {
        let Reach { everything, customers, teams, own } = by.reach();
        return Ok(own.filter(|_| !everything && customers.is_empty() && teams.is_empty()));
    }
    let Some(user) = txn.user_find(named).await? else {
        violations.add("user", NO_USER);
        return Ok(None);
    };
    let place = txn.place_of_user(&user.id, user.team.as_ref()).await?;
    Ok(violations.take("user", by.reaches(&place).then_some(user.id).ok_or(NO_USER)))
}

async fn resolve_credentials(
    txn: &mut Txn,
    list: &[String],
    violations: &mut Violations,
) -> Result<Vec<(CredentialId, ProviderId)>, StoreError> {
    let mut found: Vec<(CredentialId, ProviderId)> = Vec::new();
    for (at, named) in providers::bounded("credentials", list, violations).iter().enumerate() {
        let credential = txn.credential_find(named).await?;
        let credential = credential.ok_or("is not the id of a credential, and not 'provider/name' of one");
        let credential = violations.take(&format!("credentials[{at}]"), credential);
        found.extend(credential.filter(|credential| !found.contains(credential)));
    }
    Ok(found)
}

// A credential of a provider that the key may not reach would be a promise that is never kept.
fn ensure_reachable(providers: &[ProviderId], credentials: &[(CredentialId, ProviderId)], violations: &mut Violations) {
    if providers.is_empty() {
        return;
    }
    for (at, (_, provider)) in credentials.iter().enumerate() {
        if !providers.contains(provider) {
            violations.add(format!("credentials[{at}]"), "belongs to a provider that the key may not reach");
        }
    }
}

// In the one order in which replicas read them.
fn read_tools(list: &[String], violations: &mut Violations) -> Option<Vec<String>> {
    let list = wire::patterns("tools", list, violations)?;
    // What is no pattern only without its `prompt:` or `resource:`.
    let wrong = list.iter().enumerate().filter(|(_, text)| Access::parse(std::slice::from_ref(text)).is_err());
    let mut sound = true;
    for (at, _) in wrong {
        sound = false;
        violations.add(format!("tools[{at}]"), "must have a pattern behind 'prompt:' or 'resource:'");
    }
    let access = if sound { violations.take("tools", Access::parse(&list)) } else { None };
    access.map(|access| access.texts())
}

// Each as it is written, but for spaces around it.
fn read_rules(list: &[v1::ToolRule], violations: &mut Violations) -> Option<Vec<ToolRule>> {
    if list.len() > TOOL_RULES_MAX {
        violations.add("tool_rules", format!("must be at most {TOOL_RULES_MAX}"));
        return None;
    }
    let mut read = Vec::with_capacity(list.len());
    for (at, v1::ToolRule { tools, when }) in list.iter().enumerate() {
        let pattern = mcp::rule_pattern(tools).ok_or(
            "must be a pattern over <server>.<tool>, such as github.create_*, of 1 to 200 visible characters, without '!'",
        );
        let pattern = violations.take(&format!("tool_rules[{at}].tools"), pattern);
        let rule = violations.take(&format!("tool_rules[{at}].when"), CallRule::parse(when));
        let both = wire::both((pattern, rule));
        read.extend(
            both.map(|(tools, when)| ToolRule { tools: tools.as_str().to_owned(), when: when.text().to_owned() }),
        );
    }
    (read.len() == list.len()).then_some(read)
}

fn read_audit(wire: &v1::Key, violations: &mut Violations) -> Option<AuditMode> {
    let audit = match v1::KeyAudit::try_from(wire.audit) {
        Ok(v1::KeyAudit::Unspecified | v1::KeyAudit::Required) => Ok(AuditMode::Required),
        Ok(v1::KeyAudit::BestEffort) => Ok(AuditMode::BestEffort),
        Err(_) => Err("is not known to this version"),
    };
    violations.take("audit", audit)
}

const fn written_audit(audit: AuditMode) -> v1::KeyAudit {
    match audit {
        AuditMode::Required => v1::KeyAudit::Required,
        AuditMode::BestEffort => v1::KeyAudit::BestEffort,
    }
}

/// What the log calls the key.
pub(in crate::api) fn target(key: &Key) -> String {
    format!("{}/{}", KeyId::NOUN, key.id)
}

/// The key as the log may show it: of its secret a fingerprint.
pub(super) fn fields_of(key: &Key) -> Fields {
    let Key {
        id: _,
        name,
        display_name,
        team,
        user,
        revoked,
        expires_ms,
        models,
        providers,
        credentials,
        tags,
        audit,
        regions,
        tools,
        tool_rules,
        prefix,
        hash,
        quota,
        stamp: _,
    } = key;
    let fingerprint = hex::encode(hash.as_bytes().get(..FINGERPRINT_BYTES).unwrap_or_default());
    let fields = wire::fields([
        ("name", json!(name.as_str())),
        ("display_name", json!(display_name)),
        ("team", json!(team.as_str())),
        ("user", json!(user.as_ref().map(UserId::as_str))),
        ("revoked", json!(revoked)),
        ("expire_time_ms", json!(expires_ms)),
        ("models", json!(models)),
        ("providers", json!(providers.iter().map(ProviderId::as_str).collect::<Vec<_>>())),
        ("credentials", json!(credentials.iter().map(CredentialId::as_str).collect::<Vec<_>>())),
        ("tags", json!(tags)),
        ("audit", json!(audit.word())),
        ("regions", json!(regions)),
        ("tools", json!(tools)),
        ("tool_rules", json!(tool_rules)),
        ("prefix", json!(prefix)),
        ("fingerprint", json!(fingerprint)),
    ]);
    quotas::with_fields(quota, fields)
}

/// The key on the wire, without its secret.
pub(super) fn written(key: &Key) -> v1::Key {
    let Key {
        id,
        name,
        display_name,
        team,
        user,
        revoked,
        expires_ms,
        models,
        providers,
        credentials,
        tags,
        audit,
        regions,
        tools,
        tool_rules,
        prefix,
        hash: _,
        quota,
        stamp,
    } = key;
    let (budgets, limits, session_limit) = quotas::written(quota);
    let rule = |ToolRule { tools, when }: &ToolRule| v1::ToolRule { tools: tools.clone(), when: when.clone() };
    let state = if *revoked { v1::KeyState::Revoked } else { v1::KeyState::Active };
    v1::Key {
        id: id.to_string(),
        name: name.to_string(),
        display_name: display_name.clone(),
        team: team.to_string(),
        user: user.as_ref().map(UserId::to_string).unwrap_or_default(),
        state: state.into(),
        expire_time: expires_ms.map(wire::timestamp),
        models: models.clone(),
        providers: providers.iter().map(ProviderId::to_string).collect(),
        credentials: credentials.iter().map(CredentialId::to_string).collect(),
        tags: tags.clone().into_iter().collect(),
        prefix: prefix.clone(),
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
        budgets,
        limits,
        session_limit,
        audit: written_audit(*audit).into(),
        regions: regions.clone(),
        tools: tools.clone(),
        tool_rules: tool_rules.iter().map(rule).collect(),
    }
}
