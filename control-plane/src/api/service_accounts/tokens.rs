//! The tokens of service accounts: named, expiring, and two at a time, so that one can replace the other.

use tollgate_policy::{
    name::Name,
    rbac::{Place, Scope},
};
use tollgate_proto::{admin::v1, permission};

use super::{
    super::{
        Admin, authorize::Authorized, failure::Failure, teams::self_service::within, violations::Violations, wire,
    },
    fields_of, find, target, written as account_written,
};
use crate::{
    change::{Change, Done},
    keys::AdminToken,
    store::{
        Txn,
        service_accounts::{ServiceAccount, Token},
    },
};

/// The most tokens of an account that are valid at a time: the one in use, and its successor.
const TOKENS_MAX: usize = 2;
/// How long a token may be good, in seconds: an hour to 366 days.
const LIFE_S: (u64, u64) = (3_600, 366 * 86_400);
/// How long a token is good when nothing else is said, in seconds: 90 days.
const LIFE_DEFAULT_S: u64 = 90 * 86_400;

impl Admin {
    pub(super) async fn service_account_token_create(
        &self,
        by: &Authorized,
        message: v1::CreateServiceAccountTokenRequest,
    ) -> Result<v1::ServiceAccountTokenSecret, Failure> {
        let v1::CreateServiceAccountTokenRequest { service_account, name, life } = message;
        let mut violations = Violations::default();
        let life_s = life.map_or(Some(LIFE_DEFAULT_S), |life| {
            violations.take("life", within(&life, LIFE_S).ok_or("must be an hour to 366 days"))
        });
        let mut change = Change::begin(&self.store, by).await?;
        let now = change.now;
        let old = find(&mut change.txn, &service_account).await?;
        let valid: Vec<&Token> = old.tokens.iter().filter(|token| token.expires_ms > now).collect();
        let name = if name.is_empty() { free_name(&valid) } else { name };
        let name = wire::name(&name, &mut violations);
        let (name, life_s) = violations.finish(wire::both((name, life_s)))?;
        if valid.iter().any(|token| token.name == name) {
            return Err(wire::taken("token", &name));
        }
        if valid.len() >= TOKENS_MAX {
            let account = &old.name;
            let sentence =
                format!("service account '{account}' has two tokens that are valid: delete one of them first");
            return Err(Failure::Blocked { subject: target(&old), sentence });
        }
        ensure_held(&mut change.txn, by, &old).await?;
        let secret = AdminToken::mint_service()?;
        let token = Token {
            name,
            hash: self.minter.service_hash(secret.expose()),
            prefix: secret.public_prefix().to_owned(),
            expires_ms: now.saturating_add(i64::try_from(life_s).unwrap_or(i64::MAX).saturating_mul(1_000)),
            create_time: now,
            used_time: None,
        };
        change.txn.service_account_token_insert(&old.id, &token, now).await?;
        let new = self.renewed(change, &old).await?;
        Ok(v1::ServiceAccountTokenSecret {
            service_account: Some(account_written(&new)),
            token: Some(written(&token)),
            secret: secret.expose().to_owned(),
        })
    }

    pub(super) async fn service_account_token_delete(
        &self,
        by: &Authorized,
        message: v1::DeleteServiceAccountTokenRequest,
    ) -> Result<ServiceAccount, Failure> {
        let v1::DeleteServiceAccountTokenRequest { service_account, name } = message;
        let mut change = Change::begin(&self.store, by).await?;
        let old = find(&mut change.txn, &service_account).await?;
        if !change.txn.service_account_token_delete(&old.id, &name).await? {
            return Ok(old);
        }
        self.renewed(change, &old).await
    }

    // The account as it is after its tokens changed.
    async fn renewed(&self, mut change: Change<'_>, old: &ServiceAccount) -> Result<ServiceAccount, Failure> {
        let renewed = ServiceAccount { stamp: change.updated(old.stamp), ..old.clone() };
        change.txn.service_account_update(&renewed).await?;
        let new = find(&mut change.txn, old.id.as_str()).await?;
        let (before, after) = (Some(fields_of(old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        Ok(new)
    }
}

// Who has the token of an account is that account: nobody takes on what they do not hold.
async fn ensure_held(txn: &mut Txn, by: &Authorized, account: &ServiceAccount) -> Result<(), Failure> {
    for grant in txn.grants_of_account(&account.id).await? {
        let place = match &grant.scope {
            Scope::Customer(customer) => Place { customer: Some(customer.clone()), ..Place::default() },
            Scope::Team(team) => txn.place_of_team(team).await?,
            Scope::Everything | Scope::Own => Place::default(),
        };
        if !by.holder().covers(by.now(), &grant.permissions, &place, &permission::all()) {
            let text =
                format!("the account holds the role '{}', which you do not hold and so cannot take on", grant.role);
            return Err(Failure::Denied(text));
        }
    }
    Ok(())
}

fn free_name(taken: &[&Token]) -> String {
    let is_free = |name: &String| taken.iter().all(|token| token.name.as_str() != name);
    (1..).map(|number| format!("token-{number}")).find(is_free).unwrap_or_default()
}

pub(super) fn written(token: &Token) -> v1::ServiceAccountToken {
    let Token { name, hash: _, prefix, expires_ms, create_time, used_time } = token;
    v1::ServiceAccountToken {
        name: Name::to_string(name),
        expire_time: Some(wire::timestamp(*expires_ms)),
        prefix: prefix.clone(),
        create_time: Some(wire::timestamp(*create_time)),
        used_time: used_time.map(wire::timestamp),
    }
}
