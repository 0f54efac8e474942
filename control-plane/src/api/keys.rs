//! KeyService.

mod fields;
mod own;

use tollgate_policy::{id::KeyId, name::Name, rbac::Place, token::Token};
use tollgate_proto::admin::v1::{self, key_service_server::KeyService};
use tonic::{Request, Response, Status};

pub(super) use self::fields::target;
use self::fields::{References, fields_of, written};
use super::{
    Admin, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask, page::Page, quotas::Asked, routes,
    teams, users, violations::Violations, wire,
};
use crate::{
    change::{Change, Done},
    store::{
        StoreError, Txn,
        keys::{Key, KeyFilter},
        quotas::Quota,
    },
};

const CHANGEABLE: [&str; 15] = [
    "name",
    "display_name",
    "user",
    "expire_time",
    "models",
    "providers",
    "credentials",
    "tags",
    "audit",
    "regions",
    "tools",
    "tool_rules",
    "budgets",
    "limits",
    "session_limit",
];

/// The longest reason of a revocation, in characters.
const REASON_MAX: usize = 500;

#[tonic::async_trait]
impl KeyService for Admin {
    async fn create_key(&self, request: Request<v1::CreateKeyRequest>) -> Result<Response<v1::KeySecret>, Status> {
        let (by, message) = Authorized::take(request)?;
        let (key, token) = self.key_create(&by, message.key.unwrap_or_default()).await?;
        Ok(Response::new(v1::KeySecret { key: Some(written(&key)), secret: token.expose().to_owned() }))
    }

    async fn get_key(&self, request: Request<v1::GetKeyRequest>) -> Result<Response<v1::Key>, Status> {
        let (by, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let key = find(&mut txn, &by, &message.key).await?;
        Ok(Response::new(written(&key)))
    }

    async fn list_keys(&self, request: Request<v1::ListKeysRequest>) -> Result<Response<v1::ListKeysResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.key_list(&by, message).await?))
    }

    async fn update_key(&self, request: Request<v1::UpdateKeyRequest>) -> Result<Response<v1::Key>, Status> {
        let (by, message) = Authorized::take(request)?;
        let key = self.key_update(&by, message).await?;
        Ok(Response::new(written(&key)))
    }

    async fn delete_key(&self, request: Request<v1::DeleteKeyRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.key_delete(&by, &message.key, &message.etag).await?;
        Ok(Response::new(()))
    }

    async fn rotate_key(&self, request: Request<v1::RotateKeyRequest>) -> Result<Response<v1::KeySecret>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.key_rotate(&by, &message.key).await?))
    }

    async fn revoke_key(&self, request: Request<v1::RevokeKeyRequest>) -> Result<Response<v1::Key>, Status> {
        let (by, message) = Authorized::take(request)?;
        let mut violations = Violations::default();
        let reason = wire::prose("reason", &message.reason, REASON_MAX, &mut violations);
        let reason = violations.finish(reason)?;
        let key = self.key_set_revoked(&by, &message.key, true, &reason).await?;
        Ok(Response::new(written(&key)))
    }

    async fn enable_key(&self, request: Request<v1::EnableKeyRequest>) -> Result<Response<v1::Key>, Status> {
        let (by, message) = Authorized::take(request)?;
        let key = self.key_set_revoked(&by, &message.key, false, "").await?;
        Ok(Response::new(written(&key)))
    }
}

impl Admin {
    /// Creates a key, and returns it with its secret.
    pub(super) async fn key_create(&self, by: &Authorized, wire: v1::Key) -> Result<(Key, Token), Failure> {
        let mut violations = Violations::default();
        fields::refuse_output_only(&wire, &mut violations);
        let mut change = Change::begin(&self.store, by).await?;
        let mut plain = fields::Plain::read(&wire, change.now, &mut violations);
        let references = References::of(&wire).resolve(&mut change.txn, by, &mut violations).await?;
        let team = fields::owner(&mut change.txn, by, &wire.team, references.user.as_ref(), &mut violations).await?;
        if let (Some(team), Some(plain)) = (&team, &mut plain) {
            own::constrain(&mut change, &wire, team, plain, &mut violations).await?;
        }
        let asked = Asked::new(&wire.budgets, &wire.limits, wire.session_limit.as_ref());
        let quota = asked.read(&mut change, &Quota::default(), &mut violations).await?;
        let (plain, team) = violations.finish(plain.zip(team))?;
        ensure_free(&mut change.txn, &plain.name, None).await?;
        let id = wire::new_id(KeyId::from_ulid)?;
        let (token, hash) = self.minter.mint(&id)?;
        let key = Key {
            id,
            name: plain.name,
            display_name: plain.display_name,
            team: team.id,
            user: references.user,
            revoked: false,
            expires_ms: plain.expires_ms,
            models: plain.models,
            providers: references.providers,
            credentials: references.credentials,
            tags: plain.tags,
            audit: plain.audit,
            regions: plain.regions,
            tools: plain.tools,
            tool_rules: plain.tool_rules,
            prefix: token.public_prefix().to_owned(),
            hash,
            quota,
            stamp: change.created(),
        };
        change.txn.key_insert(&key).await?;
        change.finish(Done { target: &target(&key), after: Some(fields_of(&key)), ..Done::default() }).await?;
        Ok((key, token))
    }

    async fn key_list(&self, by: &Authorized, message: v1::ListKeysRequest) -> Result<v1::ListKeysResponse, Failure> {
        let v1::ListKeysRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("keys", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "team", "user", "state"], &mut violations);
        let mut txn = self.store.begin_read().await?;
        let team = match terms.text("team") {
            Some(named) => {
                let team = txn.team_find(&named).await?.filter(|found| by.reaches(&teams::place(found)));
                let team = team.ok_or("names a team that does not exist");
                violations.take("filter", team).map(|team| team.id)
            }
            None => None,
        };
        let user = match terms.text("user") {
            Some(named) => {
                let user = users::find(&mut txn, by, &named).await.map_err(|_| "names a user that does not exist");
                violations.take("filter", user).map(|user| user.id)
            }
            None => None,
        };
        let revoked = terms.word("state", fields::revoked_of_word, &mut violations);
        let filter = violations.finish(Some(KeyFilter {
            name: terms.text_match("name"),
            team,
            user,
            revoked,
            reach: by.reach(),
        }))?;
        let rows = txn.key_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (keys, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListKeysResponse { keys, next_page_token })
    }

    async fn key_update(&self, by: &Authorized, message: v1::UpdateKeyRequest) -> Result<Key, Failure> {
        let wire = message.key.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named(KeyId::NOUN, &wire.id, &wire.name, &mask, &mut violations);
        let mut change = Change::begin(&self.store, by).await?;
        let old = match &named {
            Some(named) => find(&mut change.txn, by, named).await?,
            None => return violations.finish(None),
        };
        wire::ensure_fresh(KeyId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let place = place(&mut change.txn, &old).await?;
        own::ensure_changeable(by, &place, &mask)?;
        let new = fields::merged(&mut change, &old, &wire, &mask, &mut violations).await?;
        if by.is_mere_owner(&place) {
            own::ensure_within(&mut change, &new, &mut violations).await?;
        }
        let new = violations.finish(Some(new))?;
        if new == old {
            return Ok(old);
        }
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        self.key_replace(change, &old, new, "").await
    }

    async fn key_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let key = find(&mut change.txn, by, named).await?;
        wire::ensure_fresh(KeyId::NOUN, &key.name, etag, &key.stamp)?;
        let (target, named) = (target(&key), format!("key '{}'", key.name));
        routes::ensure_unnamed(&mut change.txn, key.id.as_str(), &named, &target).await?;
        change.txn.key_delete(&key.id, change.revision).await?;
        change.finish(Done { target: &target, before: Some(fields_of(&key)), ..Done::default() }).await?;
        Ok(())
    }

    async fn key_rotate(&self, by: &Authorized, named: &str) -> Result<v1::KeySecret, Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let old = find(&mut change.txn, by, named).await?;
        let (token, hash) = self.minter.mint(&old.id)?;
        let new = Key { hash, prefix: token.public_prefix().to_owned(), ..old.clone() };
        let key = self.key_replace(change, &old, new, "").await?;
        Ok(v1::KeySecret { key: Some(written(&key)), secret: token.expose().to_owned() })
    }

    async fn key_set_revoked(&self, by: &Authorized, named: &str, revoked: bool, reason: &str) -> Result<Key, Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let old = find(&mut change.txn, by, named).await?;
        if old.revoked == revoked {
            return Ok(old);
        }
        let new = Key { revoked, ..old.clone() };
        self.key_replace(change, &old, new, reason).await
    }

    async fn key_replace(&self, mut change: Change<'_>, old: &Key, new: Key, reason: &str) -> Result<Key, Failure> {
        let new = Key { stamp: change.updated(old.stamp), ..new };
        change.txn.key_update(&new).await?;
        let (before, after) = (Some(fields_of(old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, reason, ..Done::default() }).await?;
        Ok(new)
    }
}

/// The key with this id or name. One out of the caller's reach is not found.
pub(super) async fn find(txn: &mut Txn, by: &Authorized, named: &str) -> Result<Key, Failure> {
    let missing = || Failure::NotFound { kind: KeyId::NOUN, name: wire::shown(named) };
    let key = txn.key_find(named).await?.ok_or_else(missing)?;
    if by.reaches(&place(txn, &key).await?) { Ok(key) } else { Err(missing()) }
}

// Where a key is: in its team, and its user's.
async fn place(txn: &mut Txn, key: &Key) -> Result<Place, StoreError> {
    let place = txn.place_of_team(&key.team).await?;
    Ok(Place { user: key.user.clone(), ..place })
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&KeyId>) -> Result<(), Failure> {
    match txn.key_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(KeyId::NOUN, name)),
        _ => Ok(()),
    }
}
