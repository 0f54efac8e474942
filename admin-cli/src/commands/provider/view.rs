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
        } = provider;
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
        let v1::Credential { id, name, secret: _, reference, weight, disabled, fingerprint } = credential;
        Self { id, name, reference, fingerprint, weight, disabled }
    }
}

impl View for ProviderView {
    const PLURAL: &'static str = "providers";
    const LISTED: &'static [&'static str] = &["name", "dialect", "base_url", "state", "credentials", "id"];

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
            ("credentials", credentials.join(" ")),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]
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
