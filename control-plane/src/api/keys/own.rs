//! Keys that somebody may create and change because they are their own: within what their team lets its developers do.

use tollgate_policy::{
    id::UserId,
    pattern::{Pattern, Patterns},
    rbac::Place,
    snapshot::AuditMode,
};
use tollgate_proto::admin::v1;

use super::{
    super::{authorize::Authorized, failure::Failure, mask::Mask, teams, violations::Violations, wire},
    fields::Plain,
};
use crate::{
    change::Change,
    store::{
        keys::{Key, KeyFilter},
        organisation::Team,
        self_service::SelfService,
    },
};

/// What people may change of their own keys.
const CHANGEABLE: [&str; 5] = ["name", "display_name", "expire_time", "models", "tags"];

/// Fits a new key to what its team allows, when it is created by nobody but its owner. What was left open is filled in.
///
/// # Errors
/// [`Failure::Denied`] when the team lets its developers do nothing.
pub(super) async fn constrain(
    change: &mut Change<'_>,
    wire: &v1::Key,
    team: &Team,
    plain: &mut Plain,
    violations: &mut Violations,
) -> Result<(), Failure> {
    let by = change.by();
    let Some(user) = by.user().cloned() else { return Ok(()) };
    if !by.is_mere_owner(&Place { user: Some(user.clone()), ..teams::place(team) }) {
        return Ok(());
    }
    let allowed = allowed(change, team, &user).await?;
    let given = [
        ("providers", !wire.providers.is_empty()),
        ("credentials", !wire.credentials.is_empty()),
        ("budgets", !wire.budgets.is_empty()),
        ("limits", !wire.limits.is_empty()),
        ("session_limit", wire.session_limit.is_some()),
        ("audit", plain.audit != AuditMode::default()),
        // Where their data may go is not theirs to say.
        ("regions", !wire.regions.is_empty()),
        // Nor what may act for them.
        ("tools", !wire.tools.is_empty()),
        ("tool_rules", !wire.tool_rules.is_empty()),
    ];
    for (field, _) in given.into_iter().filter(|(_, given)| *given) {
        violations.add(field, "is not for the owner of a key to set: leave it empty");
    }
    if plain.models.is_empty() {
        plain.models.clone_from(&allowed.models);
    }
    if plain.expires_ms.is_none() {
        plain.expires_ms = latest(&allowed, change.now);
    }
    check(&allowed, change.now, &plain.models, plain.expires_ms, violations);
    let own = KeyFilter {
        team: Some(team.id.clone()),
        user: Some(user),
        revoked: Some(false),
        reach: by.reach(),
        ..KeyFilter::default()
    };
    let keys_max = i64::from(allowed.keys_max);
    let owned = change.txn.key_list(&own, None, keys_max).await?.len();
    if i64::try_from(owned).unwrap_or(i64::MAX) >= keys_max {
        let sentence = format!(
            "team '{}' allows {} to each developer: revoke or delete one first",
            team.name,
            wire::count(keys_max, "key")
        );
        return Err(Failure::Blocked { subject: format!("team/{}", team.id), sentence });
    }
    Ok(())
}

/// Refuses a change of what the owner of a key may not change, when the caller is nothing but that.
///
/// # Errors
/// [`Failure::Denied`].
pub(super) fn ensure_changeable(by: &Authorized, place: &Place, mask: &Mask) -> Result<(), Failure> {
    let denied = super::CHANGEABLE.iter().find(|field| mask.has(field) && !CHANGEABLE.contains(field));
    match denied.filter(|_| by.is_mere_owner(place)) {
        Some(field) => Err(Failure::Denied(format!("the owner of a key may not change its {field}"))),
        None => Ok(()),
    }
}

/// Checks that a key that its owner changed is still within what the team allows.
///
/// # Errors
/// [`Failure::Denied`] when the team lets its developers do nothing.
pub(super) async fn ensure_within(
    change: &mut Change<'_>,
    key: &Key,
    violations: &mut Violations,
) -> Result<(), Failure> {
    let Some(user) = change.by().user().cloned() else { return Ok(()) };
    let team = change.txn.team_find(key.team.as_str()).await?;
    let team = team.ok_or_else(|| Failure::NotFound { kind: "team", name: key.team.to_string() })?;
    let allowed = allowed(change, &team, &user).await?;
    check(&allowed, change.now, &key.models, key.expires_ms, violations);
    Ok(())
}

// What the team allows to a member of it.
async fn allowed(change: &mut Change<'_>, team: &Team, user: &UserId) -> Result<SelfService, Failure> {
    let member = change.txn.user_find(user.as_str()).await?.and_then(|user| user.team);
    let allowed = team.self_service.clone().filter(|_| member.as_ref() == Some(&team.id));
    let denied = || {
        let name = &team.name;
        Failure::Denied(format!(
            "team '{name}' does not let you manage keys of your own: ask its lead or your platform team"
        ))
    };
    allowed.ok_or_else(denied)
}

fn latest(allowed: &SelfService, now: i64) -> Option<i64> {
    let life = i64::try_from(allowed.key_life_max_s?).unwrap_or(i64::MAX);
    Some(now.saturating_add(life.saturating_mul(1_000)))
}

fn check(allowed: &SelfService, now: i64, models: &[String], expires: Option<i64>, violations: &mut Violations) {
    if latest(allowed, now).is_some_and(|latest| expires.is_none_or(|expires| expires > latest)) {
        violations.add("expire_time", "is later than the team allows");
    }
    if !within(models, &allowed.models) {
        violations.add("models", format!("must be among those that the team allows: {}", allowed.models.join(" ")));
    }
}

// Whether every model that `asked` admits is one that `allowed` admits. A pattern is, when the team has it too, or when it is
// the name of one model; whatever the team denies must be denied.
fn within(asked: &[String], allowed: &[String]) -> bool {
    if allowed.is_empty() {
        return true;
    }
    let Ok(admitted) = Patterns::parse(allowed) else { return false };
    let denied = allowed.iter().filter(|pattern| pattern.starts_with('!'));
    let mut positive = asked.iter().filter(|pattern| !pattern.starts_with('!')).peekable();
    let names = positive.clone().all(|pattern| Pattern::parse(pattern).is_ok() && !pattern.contains('*'));
    positive.peek().is_some()
        && positive.all(|pattern| allowed.contains(pattern) || (!pattern.contains('*') && admitted.admit(pattern)))
        && (names || denied.into_iter().all(|pattern| asked.contains(pattern)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_asks_for_no_more_than_its_team_allows() {
        for (asked, allowed, expect) in [
            (&["claude-*"][..], &["claude-*"][..], true),
            (&["claude-haiku-4-5"], &["claude-*"], true),
            (&["gpt-5"], &["claude-*"], false),
            (&[], &["claude-*"], false),
            (&["!gpt-*"], &["claude-*"], false),
            (&["claude-haiku-*"], &["claude-*"], false),
            (&["*"], &["claude-*"], false),
            (&["*"], &[], true),
            (&[], &[], true),
            (&["claude-*"], &["claude-*", "!*opus*"], false),
            (&["claude-*", "!*opus*"], &["claude-*", "!*opus*"], true),
            (&["claude-opus-5"], &["claude-*", "!*opus*"], false),
            (&["claude-sonnet-5"], &["claude-*", "!*opus*"], true),
            (&["claude-sonnet-5", "claude-*"], &["claude-*", "!*opus*"], false),
        ] {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            assert_eq!(within(&owned(asked), &owned(allowed)), expect, "{asked:?} in {allowed:?}");
        }
    }
}
