//! Where the requests of a key go: asked of the decision that proxies make, over the state that they would have.

use std::sync::Arc;

use tollgate_policy::{
    decide::{self, Ask, Target},
    snapshot::{Dialect, Object, Snapshot},
    time::UnixMillis,
};
use tollgate_proto::{admin::v1, fleet::v1::Item};

use super::{super::keys, Admin, Authorized, Failure, Violations, facts::Supposed, find, losses, written};
use crate::{
    clock,
    publish::items,
    store::{StoreError, Txn, keys::Key},
};

/// The longest name of a model that is asked for, in bytes.
const MODEL_BYTES_MAX: usize = 256;

impl Admin {
    pub(super) async fn route_explain(
        &self,
        by: &Authorized,
        message: v1::ExplainRouteRequest,
    ) -> Result<v1::ExplainRouteResponse, Failure> {
        let v1::ExplainRouteRequest { key, model, dialect, .. } = &message;
        let mut violations = Violations::default();
        if key.is_empty() {
            violations.add("key", "is required: name the key, by id or name");
        }
        if model.is_empty() || model.len() > MODEL_BYTES_MAX || model.chars().any(char::is_control) {
            violations.add("model", format!("must be 1 to {MODEL_BYTES_MAX} bytes without control characters"));
        }
        let dialect = match dialect.as_str() {
            "" => Some(Dialect::Anthropic),
            word => {
                let words = || Dialect::ALL.map(Dialect::word).join(", ");
                let dialect = Dialect::of_word(word).ok_or_else(|| format!("must be one of: {}", words()));
                violations.take("dialect", dialect)
            }
        };
        let supposed = Supposed::read(&message, dialect.unwrap_or(Dialect::Anthropic), &mut violations);
        let (dialect, supposed) = violations.finish(dialect.zip(supposed))?;
        let mut txn = self.store.begin_read().await?;
        let key = keys::find(&mut txn, by, key).await?;
        let snapshot = snapshot(&mut txn, &key).await?;
        let now = clock::now_ms();
        let granted = decide::authenticate(&snapshot, UnixMillis::new(now), &key.hash).and_then(|caller| {
            let region = Arc::clone(&supposed.region);
            let facts = supposed.sent(&snapshot, &caller, now);
            decide::authorize(&snapshot, &caller, &Ask { dialect, model, region: &region, facts: &facts })
        });
        let granted = match granted {
            Ok(granted) => granted,
            Err(refusal) => {
                let refusal = refusal.public().to_owned();
                return Ok(v1::ExplainRouteResponse { refusal, ..v1::ExplainRouteResponse::default() });
            }
        };
        let route = match granted.route() {
            Some(route) => Some(written(&find(&mut txn, route.id.as_str()).await?)),
            None => None,
        };
        txn.end().await?;
        let targets = granted.targets().iter().map(|target| explained(dialect, target)).collect();
        Ok(v1::ExplainRouteResponse { route, targets, refusal: String::new() })
    }
}

// What a decision about the key reads, made as a replica makes it: of the same items. An item that a replica would not be
// sent is not there either.
async fn snapshot(txn: &mut Txn, key: &Key) -> Result<Snapshot, StoreError> {
    let (_, revision) = txn.fleet().await?;
    let mut snapshot = Snapshot::empty(u64::try_from(revision).unwrap_or_default());
    let mut add = |item: Item| {
        if let Ok(object) = Object::try_from(&item) {
            snapshot.add(object);
        }
    };
    add(items::key(key));
    if let Some(team) = txn.team_find(key.team.as_str()).await? {
        add(items::team(&team));
        if let Some(customer) = txn.customer_find(team.customer.as_str()).await? {
            add(items::customer(&customer));
        }
    }
    if let Some(user) = &key.user
        && let Some(user) = txn.user_find(user.as_str()).await?
    {
        add(items::user(&user));
    }
    let mut vendors = items::Vendors::new();
    for model in txn.models_changed(0).await? {
        *vendors.entry(model.vendor.to_string()).or_default() += 1;
        add(items::model(&model));
    }
    for provider in txn.changed_providers(0).await? {
        add(items::provider(&provider, &vendors));
    }
    for route in txn.routes_changed(0).await? {
        add(items::route(&route));
    }
    Ok(snapshot)
}

fn explained(client: Dialect, target: &Target) -> v1::ExplainedTarget {
    let Target { provider, credentials: _, name, model, tier, weight, on } = target;
    v1::ExplainedTarget {
        provider: provider.id.to_string(),
        provider_name: provider.name.to_string(),
        dialect: provider.dialect.word().to_owned(),
        model: name.to_string(),
        tier: i32::try_from(*tier).unwrap_or(i32::MAX),
        weight: i32::try_from(*weight).unwrap_or(i32::MAX),
        on: super::fields::words(*tier, *on),
        priced: model.as_ref().is_some_and(|model| model.price.is_some()),
        losses: losses::of(client, provider, name),
    }
}
