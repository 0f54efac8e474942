//! A provider as it is shown.

use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{commands::switched, literals::printed, output::View};

/// A provider as it is shown.
#[derive(Serialize)]
pub(super) struct ProviderView {
    id: String,
    name: String,
    dialect: String,
    base_url: String,
    allow_private: bool,
    models: Vec<String>,
    vendor: String,
    disabled: bool,
    priority: i32,
    auth: String,
    region: String,
    quirks: Vec<String>,
    health: Option<HealthView>,
    credentials: Vec<CredentialView>,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

/// A credential as it is shown: where its secret lies, never the secret.
#[derive(Serialize)]
struct CredentialView {
    id: String,
    name: String,
    reference: String,
    fingerprint: String,
    weight: i32,
    disabled: bool,
    health: Option<HealthView>,
}

/// How the connected replicas find a provider or a credential.
#[derive(Serialize)]
struct HealthView {
    replicas: i32,
    resting: i32,
    cause: String,
    until: Option<String>,
}

impl From<v1::Provider> for ProviderView {
    fn from(provider: v1::Provider) -> Self {
        let v1::Provider {
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
            etag,
            create_time,
            update_time,
            auth,
            region,
            quirks,
            health,
        } = provider;
        let health = health.map(HealthView::from);
        let credentials = credentials.into_iter().map(CredentialView::from).collect();
        let (create_time, update_time) = (printed(create_time.as_ref()), printed(update_time.as_ref()));
        Self {
            id,
            name,
            dialect,
            base_url,
            allow_private,
            models,
            vendor,
            disabled,
            priority,
            auth,
            region,
            quirks,
            health,
            credentials,
            etag,
            create_time,
            update_time,
        }
    }
}

impl From<v1::Credential> for CredentialView {
    fn from(credential: v1::Credential) -> Self {
        // The secret is input only; should a control plane ever return one, it is dropped here.
        let v1::Credential { id, name, secret: _, reference, weight, disabled, fingerprint, health } = credential;
        Self { id, name, reference, fingerprint, weight, disabled, health: health.map(HealthView::from) }
    }
}

impl From<v1::ProviderHealth> for HealthView {
    fn from(health: v1::ProviderHealth) -> Self {
        let v1::ProviderHealth { replicas, resting, cause, until } = health;
        Self { replicas, resting, cause, until: printed(until.as_ref()) }
    }
}

impl View for ProviderView {
    const PLURAL: &'static str = "providers";
    const LISTED: &'static [&'static str] = &["name", "dialect", "base_url", "state", "health", "credentials", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let credentials: Vec<_> = self.credentials.iter().map(CredentialView::text).collect();
        vec![
            ("name", self.name.clone()),
            ("dialect", self.dialect.clone()),
            ("base_url", self.base_url.clone()),
            ("private", if self.allow_private { "allowed".to_owned() } else { String::new() }),
            ("models", if self.models.is_empty() { "(all)".to_owned() } else { self.models.join(" ") }),
            ("vendor", self.vendor.clone()),
            ("priority", self.priority.to_string()),
            ("auth", self.auth.clone()),
            ("region", self.region.clone()),
            ("quirks", self.quirks.join(" ")),
            ("state", switched(self.disabled)),
            ("health", self.health()),
            ("credentials", credentials.join(" ")),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]
    }
}

impl ProviderView {
    // The provider's own, and then that of each credential which rests. Without a replica nobody can tell.
    fn health(&self) -> String {
        let Some(own) = &self.health else { return String::new() };
        if own.replicas == 0 {
            return "unknown".to_owned();
        }
        let resting = |credential: &CredentialView| {
            Some(format!("{} {}", credential.name, credential.health.as_ref()?.resting()?))
        };
        let all: Vec<_> = own.resting().into_iter().chain(self.credentials.iter().filter_map(resting)).collect();
        if all.is_empty() { "ok".to_owned() } else { all.join("; ") }
    }
}

impl HealthView {
    // `resting 2/3 (limited)`; `None`: nowhere.
    fn resting(&self) -> Option<String> {
        let Self { replicas, resting, cause, until: _ } = self;
        let cause = if cause.is_empty() { String::new() } else { format!(" ({cause})") };
        (*resting > 0).then(|| format!("resting {resting}/{replicas}{cause}"))
    }
}

impl CredentialView {
    fn text(&self) -> String {
        let source =
            if self.reference.is_empty() { format!("literal#{}", self.fingerprint) } else { self.reference.clone() };
        let weight = if self.weight > 1 { format!(",weight={}", self.weight) } else { String::new() };
        let disabled = if self.disabled { ",disabled" } else { "" };
        format!("{}={source}{weight}{disabled}", self.name)
    }
}
