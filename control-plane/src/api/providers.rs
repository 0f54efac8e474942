//! ProviderService.

pub(super) mod credentials;
mod health;
mod references;

use serde_json::{Value, json};
use tollgate_audit::Fields;
use tollgate_policy::{
    id::ProviderId,
    name::Name,
    provider::{Auth, Quirk},
    snapshot::Dialect,
};
use tollgate_proto::admin::v1::{self, provider_service_server::ProviderService};
use tonic::{Request, Response, Status};

pub(super) use self::references::{bounded, listed, referred};
use self::{credentials::Secrets, health::Health};
use super::{
    Admin, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask, page::Page, routes,
    violations::Violations, wire,
};
use crate::{
    base_url,
    change::{Change, Done},
    store::{
        Txn,
        organisation::Stamp,
        providers::{Credential, Provider, ProviderFilter},
    },
};

const CHANGEABLE: [&str; 11] = [
    "name",
    "base_url",
    "allow_private",
    "models",
    "vendor",
    "disabled",
    "priority",
    "credentials",
    "auth",
    "region",
    "quirks",
];
/// The longest name of a region, in bytes.
const REGION_BYTES_MAX: usize = 64;

#[tonic::async_trait]
impl ProviderService for Admin {
    async fn create_provider(
        &self,
        request: Request<v1::CreateProviderRequest>,
    ) -> Result<Response<v1::Provider>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.provider_create(&by, message.provider.unwrap_or_default()).await?))
    }

    async fn get_provider(&self, request: Request<v1::GetProviderRequest>) -> Result<Response<v1::Provider>, Status> {
        let (_, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let provider = find(&mut txn, &message.provider).await?;
        let health = Health::read(&mut txn).await.map_err(Failure::from)?;
        Ok(Response::new(written(&provider, &health)))
    }

    async fn list_providers(
        &self,
        request: Request<v1::ListProvidersRequest>,
    ) -> Result<Response<v1::ListProvidersResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.provider_list(message).await?))
    }

    async fn update_provider(
        &self,
        request: Request<v1::UpdateProviderRequest>,
    ) -> Result<Response<v1::Provider>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.provider_update(&by, message).await?))
    }

    async fn delete_provider(&self, request: Request<v1::DeleteProviderRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.provider_delete(&by, &message.provider, &message.etag).await?;
        Ok(Response::new(()))
    }
}

impl Admin {
    async fn provider_create(&self, by: &Authorized, wire: v1::Provider) -> Result<v1::Provider, Failure> {
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !wire.id.is_empty()),
            ("etag", !wire.etag.is_empty()),
            ("create_time", wire.create_time.is_some()),
            ("update_time", wire.update_time.is_some()),
            ("health", wire.health.is_some()),
        ]);
        let mut secrets = Secrets::default();
        let read = self.read_new(wire, &mut secrets, &mut violations)?;
        let read = violations.finish(read)?;
        let mut change = Change::begin(&self.store, by).await?;
        ensure_free(&mut change.txn, &read.name, None).await?;
        let provider = Provider { stamp: change.created(), ..read };
        change.txn.provider_insert(&provider).await?;
        secrets.store(&mut change.txn, &self.keyring).await?;
        let health = Health::read(&mut change.txn).await?;
        let target = target(&provider);
        change.finish(Done { target: &target, after: Some(fields_of(&provider)), ..Done::default() }).await?;
        Ok(written(&provider, &health))
    }

    fn read_new(
        &self,
        wire: v1::Provider,
        secrets: &mut Secrets,
        violations: &mut Violations,
    ) -> Result<Option<Provider>, Failure> {
        let name = wire::name(&wire.name, violations);
        let dialect = Dialect::of_word(&wire.dialect).ok_or_else(unknown_dialect);
        let dialect = violations.take("dialect", dialect);
        let base_url = violations.take("base_url", base_url::parse(&wire.base_url, wire.allow_private));
        let models = wire::patterns("models", &wire.models, violations);
        let vendor = read_vendor(&wire.vendor, violations);
        let auth = violations.take("auth", Auth::parse(&wire.auth));
        let region = read_region(&wire.region, violations);
        let quirks = read_quirks(&wire.quirks, violations);
        for (at, credential) in wire.credentials.iter().enumerate() {
            let id = format!("credentials[{at}].id");
            violations.output_only([(id.as_str(), !credential.id.is_empty())]);
        }
        let credentials = credentials::read(&self.minter, &wire.credentials, &[], secrets, violations)?;
        let (Some(name), Some(dialect), Some(base_url), Some(models), Some(vendor)) =
            (name, dialect, base_url, models, vendor)
        else {
            return Ok(None);
        };
        let (Some(auth), Some(region), Some(quirks)) = (auth, region, quirks) else { return Ok(None) };
        ensure_signable(&auth, &region, violations);
        Ok(Some(Provider {
            id: wire::new_id(ProviderId::from_ulid)?,
            name,
            dialect,
            base_url,
            allow_private: wire.allow_private,
            models,
            vendor,
            disabled: wire.disabled,
            priority: wire.priority,
            credentials,
            auth,
            region,
            quirks,
            stamp: Stamp { created: 0, revision: 0, create_time: 0, update_time: 0 },
        }))
    }

    async fn provider_list(&self, message: v1::ListProvidersRequest) -> Result<v1::ListProvidersResponse, Failure> {
        let v1::ListProvidersRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("providers", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "dialect", "disabled"], &mut violations);
        let filter = ProviderFilter {
            name: terms.text_match("name"),
            dialect: terms.word("dialect", Dialect::of_word, &mut violations),
            disabled: terms.flag("disabled", &mut violations),
        };
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.provider_list(&filter, after.as_ref(), page.limit()).await?;
        let health = Health::read(&mut txn).await?;
        txn.end().await?;
        let written = |row: &Provider| written(row, &health);
        let (providers, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListProvidersResponse { providers, next_page_token })
    }

    async fn provider_update(
        &self,
        by: &Authorized,
        message: v1::UpdateProviderRequest,
    ) -> Result<v1::Provider, Failure> {
        let wire = message.provider.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let named = wire::named(ProviderId::NOUN, &wire.id, &wire.name, &mask, &mut violations);
        let mut change = Change::begin(&self.store, by).await?;
        // Whether a URL is good depends on `allow_private`, which may stay as it is: the object is read before it is checked.
        let old = match &named {
            Some(named) => find(&mut change.txn, named).await?,
            None => return violations.finish(None),
        };
        wire::ensure_fresh(ProviderId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let mut secrets = Secrets::default();
        let new = self.merged(&old, &wire, &mask, &mut secrets, &mut violations)?;
        let new = violations.finish(Some(new))?;
        let health = Health::read(&mut change.txn).await?;
        if new == old && secrets.is_empty() {
            return Ok(written(&old, &health));
        }
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        let new = Provider { stamp: change.updated(old.stamp), ..new };
        let gone = old.credentials.iter().filter(|old| !new.credentials.iter().any(|new| new.id == old.id));
        for credential in gone {
            remove(&mut change.txn, &old, credential).await?;
        }
        change.txn.provider_update(&new).await?;
        secrets.store(&mut change.txn, &self.keyring).await?;
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        Ok(written(&new, &health))
    }

    fn merged(
        &self,
        old: &Provider,
        wire: &v1::Provider,
        mask: &Mask,
        secrets: &mut Secrets,
        violations: &mut Violations,
    ) -> Result<Provider, Failure> {
        let allow_private = mask.of("allow_private", || Some(wire.allow_private)).unwrap_or(old.allow_private);
        let written = if mask.has("base_url") { &wire.base_url } else { &old.base_url };
        let base_url = violations.take("base_url", base_url::parse(written, allow_private));
        let name = mask.of("name", || wire::name(&wire.name, violations));
        let models = mask.of("models", || wire::patterns("models", &wire.models, violations));
        let vendor = mask.of("vendor", || read_vendor(&wire.vendor, violations));
        let credentials = if mask.has("credentials") {
            credentials::read(&self.minter, &wire.credentials, &old.credentials, secrets, violations)?
        } else {
            old.credentials.clone()
        };
        let auth = mask.of("auth", || violations.take("auth", Auth::parse(&wire.auth)));
        let region = mask.of("region", || read_region(&wire.region, violations));
        let quirks = mask.of("quirks", || read_quirks(&wire.quirks, violations));
        let auth = auth.unwrap_or_else(|| old.auth.clone());
        let region = region.unwrap_or_else(|| old.region.clone());
        ensure_signable(&auth, &region, violations);
        Ok(Provider {
            id: old.id.clone(),
            name: name.unwrap_or_else(|| old.name.clone()),
            dialect: old.dialect,
            base_url: base_url.unwrap_or_default(),
            allow_private,
            models: models.unwrap_or_else(|| old.models.clone()),
            vendor: vendor.unwrap_or_else(|| old.vendor.clone()),
            disabled: mask.of("disabled", || Some(wire.disabled)).unwrap_or(old.disabled),
            priority: mask.of("priority", || Some(wire.priority)).unwrap_or(old.priority),
            credentials,
            auth,
            region,
            quirks: quirks.unwrap_or_else(|| old.quirks.clone()),
            stamp: old.stamp,
        })
    }

    async fn provider_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let provider = find(&mut change.txn, named).await?;
        wire::ensure_fresh(ProviderId::NOUN, &provider.name, etag, &provider.stamp)?;
        let target = target(&provider);
        let keys = change.txn.provider_keys(&provider.id).await?;
        if !keys.is_empty() {
            let sentence = format!(
                "provider '{}' is named by {}: take it, and its credentials, out of these keys first",
                provider.name,
                wire::quoted("key", &keys)
            );
            return Err(Failure::Blocked { subject: target, sentence });
        }
        let teams = change.txn.provider_teams(&provider.id).await?;
        if !teams.is_empty() {
            let these = if teams.len() == 1 { "this team" } else { "these teams" };
            let (name, teams) = (&provider.name, wire::quoted("team", &teams));
            let sentence = format!("provider '{name}' is named by {teams}: take it out of {these} first");
            return Err(Failure::Blocked { subject: target, sentence });
        }
        let owners = change.txn.provider_budgets(&provider.id).await?;
        if !owners.is_empty() {
            let (name, owners) = (&provider.name, owners.join(", "));
            let sentence =
                format!("provider '{name}' is named by budgets of {owners}: take it out of these budgets first");
            return Err(Failure::Blocked { subject: target, sentence });
        }
        let named = format!("provider '{}'", provider.name);
        routes::ensure_unnamed(&mut change.txn, provider.id.as_str(), &named, &target).await?;
        for credential in &provider.credentials {
            remove(&mut change.txn, &provider, credential).await?;
        }
        change.txn.provider_delete(&provider.id, change.revision).await?;
        change.finish(Done { target: &target, before: Some(fields_of(&provider)), ..Done::default() }).await?;
        Ok(())
    }
}

/// The provider with this id or name.
pub(super) async fn find(txn: &mut Txn, named: &str) -> Result<Provider, Failure> {
    let missing = || Failure::NotFound { kind: ProviderId::NOUN, name: wire::shown(named) };
    txn.provider_find(named).await?.ok_or_else(missing)
}

async fn remove(txn: &mut Txn, provider: &Provider, credential: &Credential) -> Result<(), Failure> {
    let keys = txn.credential_keys(&credential.id).await?;
    if !keys.is_empty() {
        let (name, keys) = (format!("{}/{}", provider.name, credential.name), wire::quoted("key", &keys));
        let sentence = format!("credential '{name}' is named by {keys}: take it out of these keys first");
        return Err(Failure::Blocked { subject: format!("credential/{}", credential.id), sentence });
    }
    txn.credential_delete(&credential.id).await?;
    txn.secret_delete(credentials::place(&credential.id)).await?;
    Ok(())
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&ProviderId>) -> Result<(), Failure> {
    match txn.provider_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(ProviderId::NOUN, name)),
        _ => Ok(()),
    }
}

fn unknown_dialect() -> String {
    let words: Vec<_> = Dialect::ALL.into_iter().map(Dialect::word).collect();
    format!("is required, and one of: {}", words.join(", "))
}

// Empty: the catalogue's vendor is found by the provider's name or dialect when a snapshot is made.
fn read_vendor(text: &str, violations: &mut Violations) -> Option<String> {
    if text.is_empty() {
        return Some(String::new());
    }
    violations.take("vendor", Name::parse(text)).map(|name| name.to_string())
}

/// Reads where something is, in its own words.
pub(super) fn read_region(text: &str, violations: &mut Violations) -> Option<String> {
    if text.len() > REGION_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        violations
            .add("region", format!("must be at most {REGION_BYTES_MAX} visible ASCII characters, without spaces"));
        return None;
    }
    Some(text.to_owned())
}

fn read_quirks(list: &[String], violations: &mut Violations) -> Option<Vec<Quirk>> {
    wire::words("quirks", list, &Quirk::ALL, Quirk::word, violations)
}

// A signature is made for a region.
fn ensure_signable(auth: &Auth, region: &str, violations: &mut Violations) {
    if *auth == Auth::SigV4 && region.is_empty() {
        violations.add("region", "is required for the auth sigv4, such as us-east-1");
    }
}

fn target(provider: &Provider) -> String {
    format!("{}/{}", ProviderId::NOUN, provider.id)
}

fn fields_of(provider: &Provider) -> Fields {
    let Provider {
        id: _,
        name,
        dialect,
        base_url,
        allow_private,
        models,
        vendor,
        disabled,
        priority,
        credentials,
        auth,
        region,
        quirks,
        stamp: _,
    } = provider;
    let quirks: Vec<_> = quirks.iter().map(|quirk| quirk.word()).collect();
    let credentials: Vec<Value> = credentials.iter().map(credentials::field_of).collect();
    wire::fields([
        ("name", json!(name.as_str())),
        ("dialect", json!(dialect.word())),
        ("base_url", json!(base_url)),
        ("allow_private", json!(allow_private)),
        ("models", json!(models)),
        ("vendor", json!(vendor)),
        ("disabled", json!(disabled)),
        ("priority", json!(priority)),
        ("credentials", json!(credentials)),
        ("auth", json!(auth.text())),
        ("region", json!(region)),
        ("quirks", json!(quirks)),
    ])
}

fn written(provider: &Provider, health: &Health) -> v1::Provider {
    let Provider {
        id,
        name,
        dialect,
        base_url,
        allow_private,
        models,
        vendor,
        disabled,
        priority,
        credentials,
        auth,
        region,
        quirks,
        stamp,
    } = provider;
    v1::Provider {
        id: id.to_string(),
        name: name.to_string(),
        dialect: dialect.word().into(),
        base_url: base_url.clone(),
        allow_private: *allow_private,
        models: models.clone(),
        vendor: vendor.clone(),
        disabled: *disabled,
        priority: *priority,
        credentials: credentials.iter().map(|credential| credentials::written(credential, health)).collect(),
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
        auth: auth.text(),
        region: region.clone(),
        quirks: quirks.iter().map(|quirk| quirk.word().to_owned()).collect(),
        health: Some(health.of(id.as_str())),
    }
}
