//! `tollgate provider`: where models are served, and the credentials with which they are called.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{Changed, Context, done, filter::Filter, pages, switched};
use crate::{
    arguments::{Deletion, Listing, Named, NewName, Switch},
    failure::Failure,
    literals::{CredentialArgument, name, pattern, printed, reference},
    output::{Answer, View},
};

/// What to do with providers.
#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// Create a provider with its credentials
    #[command(
        after_help = "Example: tollgate provider create anthropic --dialect anthropic --base-url https://api.anthropic.com --credential primary=env://ANTHROPIC_API_KEY,weight=2"
    )]
    Create(Box<Create>),
    /// Show one provider, without secrets
    #[command(after_help = "Example: tollgate provider get anthropic -o yaml")]
    Get(Named),
    /// List providers and their credentials, without secrets
    #[command(after_help = "Example: tollgate provider list --filter dialect=anthropic")]
    List(Listing),
    /// Change a provider or its credentials
    #[command(
        after_help = "Example: tollgate provider update anthropic --credential spare=env://SPARE_KEY --remove-credential old"
    )]
    Update(Box<Update>),
    /// Delete a provider that no key names, and its credentials
    #[command(after_help = "Example: tollgate provider delete anthropic")]
    Delete(Deletion),
}

/// A new provider.
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    name: NewName,
    /// The dialect that it speaks, such as anthropic; fixed after creation
    #[arg(long)]
    dialect: String,
    /// Where it is: https://host[:port][/path]
    #[arg(long, value_name = "URL")]
    base_url: String,
    /// Permit a loopback or private address, and plain http
    #[arg(long)]
    allow_private: bool,
    #[command(flatten)]
    rest: Rest,
}

/// What a new provider and a changed one take.
#[derive(Args, Debug)]
pub(crate) struct Rest {
    /// A credential: NAME=env://VARIABLE, NAME=file:///path or NAME=literal, then ',weight=N' and ',disabled' as needed; a literal is seen by other users of this machine [may be repeated]
    #[arg(long = "credential", value_name = "NAME=SECRET")]
    credentials: Vec<CredentialArgument>,
    /// A model that it serves; '*' stands for any run of characters, a leading '!' denies [may be repeated; none: every model]
    #[arg(long = "model", value_name = "PATTERN", value_parser = pattern)]
    models: Vec<String>,
    /// The vendor under which the price catalogue lists its models
    #[arg(long)]
    vendor: Option<String>,
    /// When several providers serve a model, the lowest number is tried first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,
}

/// A changed provider.
#[derive(Args, Debug)]
pub(crate) struct Update {
    /// The id or the name
    #[arg(value_parser = reference)]
    provider: String,
    /// A new name
    #[arg(long, value_name = "NAME", value_parser = name)]
    name: Option<String>,
    /// Where it is: https://host[:port][/path]
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Whether a loopback or private address, and plain http, are permitted
    #[arg(long, value_name = "BOOLEAN")]
    allow_private: Option<bool>,
    #[command(flatten)]
    rest: Rest,
    /// Delete a credential [may be repeated]
    #[arg(long, value_name = "NAME")]
    remove_credential: Vec<String>,
    /// Empty a field [may be repeated]
    #[arg(long, value_name = "FIELD")]
    clear: Vec<Clearable>,
    #[command(flatten)]
    switch: Switch,
}

/// A field that can be emptied.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Clearable {
    Models,
    Vendor,
}

/// A provider as it is shown.
#[derive(Serialize)]
struct ProviderView {
    id: String,
    name: String,
    dialect: String,
    base_url: String,
    allow_private: bool,
    models: Vec<String>,
    vendor: String,
    disabled: bool,
    priority: i32,
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

impl ProviderCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.providers();
        let provider = match self {
            Self::Create(create) => {
                client.create_provider(v1::CreateProviderRequest { provider: Some(create.provider()) }).await?
            }
            Self::Get(Named { name }) => client.get_provider(v1::GetProviderRequest { provider: name }).await?,
            Self::List(Listing { filter, limit }) => {
                let found = all(context, limit, Filter::new(filter).text()).await?;
                return context.format.list(&found.into_iter().map(ProviderView::from).collect::<Vec<_>>());
            }
            Self::Update(update) => {
                update.check()?;
                let found = client.get_provider(v1::GetProviderRequest { provider: update.provider.clone() }).await?;
                client.update_provider(update.request(found.into_inner())?).await?
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteProviderRequest { provider: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_provider(request).await?;
                return done(context.format, "deleted", "provider", &name);
            }
        };
        context.format.item(&ProviderView::from(provider.into_inner()))
    }
}

impl Create {
    fn provider(self) -> v1::Provider {
        let Self { name, dialect, base_url, allow_private, rest } = self;
        let Rest { credentials, models, vendor, priority } = rest;
        v1::Provider {
            name: name.into_name(),
            dialect,
            base_url,
            allow_private,
            models,
            vendor: vendor.unwrap_or_default(),
            priority: priority.unwrap_or_default(),
            credentials: credentials.into_iter().map(wire).collect(),
            ..v1::Provider::default()
        }
    }
}

impl Update {
    /// Refuses what can be refused without asking anybody.
    fn check(&self) -> Result<(), Failure> {
        let both = |field, set: bool| set && self.clear.contains(&field);
        if both(Clearable::Models, !self.rest.models.is_empty()) || both(Clearable::Vendor, self.rest.vendor.is_some())
        {
            return Err(Failure::usage("a field cannot be set and cleared at once"));
        }
        Ok(())
    }

    fn request(self, found: v1::Provider) -> Result<v1::UpdateProviderRequest, Failure> {
        let Self { provider: _, name, base_url, allow_private, rest, remove_credential, clear, switch } = self;
        let Rest { credentials, models, vendor, priority } = rest;
        let touched = !credentials.is_empty() || !remove_credential.is_empty();
        let merged = touched.then(|| merge(&found, credentials, &remove_credential)).transpose()?;
        let models = (!models.is_empty() || clear.contains(&Clearable::Models)).then_some(models);
        let vendor = if clear.contains(&Clearable::Vendor) { Some(String::new()) } else { vendor };
        let mut changed = Changed::default();
        let wanted = v1::Provider {
            id: found.id,
            name: changed.field("name", name),
            base_url: changed.field("base_url", base_url),
            allow_private: changed.field("allow_private", allow_private),
            models: changed.field("models", models),
            vendor: changed.field("vendor", vendor),
            disabled: changed.field("disabled", switch.disabled()),
            priority: changed.field("priority", priority),
            // The list was read and changed here: it must not overwrite another's change of it.
            etag: if touched { found.etag } else { String::new() },
            credentials: changed.field("credentials", merged),
            ..v1::Provider::default()
        };
        Ok(v1::UpdateProviderRequest { provider: Some(wanted), update_mask: Some(changed.mask()?) })
    }
}

/// The whole list after a change: those that are there keep their secrets, given ones are replaced or added.
fn merge(
    found: &v1::Provider,
    given: Vec<CredentialArgument>,
    removed: &[String],
) -> Result<Vec<v1::Credential>, Failure> {
    if let Some(unknown) =
        removed.iter().find(|name| !found.credentials.iter().any(|credential| credential.name == **name))
    {
        return Err(Failure::new("not_found", format!("the provider {:?} has no credential {unknown:?}", found.name)));
    }
    let untouched = |name: &String| !removed.contains(name) && !given.iter().any(|credential| credential.name == *name);
    let kept =
        found.credentials.iter().filter(|credential| untouched(&credential.name)).map(|credential| v1::Credential {
            name: credential.name.clone(),
            weight: credential.weight,
            disabled: credential.disabled,
            ..v1::Credential::default()
        });
    let mut all: Vec<_> = kept.collect();
    all.extend(given.into_iter().map(wire));
    Ok(all)
}

fn wire(credential: CredentialArgument) -> v1::Credential {
    let CredentialArgument { name, secret, weight, disabled } = credential;
    v1::Credential { name, secret: secret.to_string(), weight, disabled, ..v1::Credential::default() }
}

/// Follows the list of providers.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Provider>, Failure> {
    let mut client = context.client.providers();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListProvidersRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_providers(request).await?.into_inner();
        Ok((page.providers, page.next_page_token))
    })
    .await
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{arguments::Cli, commands::Command};

    fn found() -> v1::Provider {
        let credential = |name: &str| v1::Credential { name: name.to_owned(), weight: 3, ..v1::Credential::default() };
        v1::Provider {
            id: "provider-1".to_owned(),
            name: "anthropic".to_owned(),
            etag: "e1".to_owned(),
            credentials: vec![credential("a"), credential("b")],
            ..v1::Provider::default()
        }
    }

    fn request(line: &[&str]) -> Result<v1::UpdateProviderRequest, Failure> {
        let line = [&["tollgate", "provider", "update", "anthropic"], line].concat();
        let Command::Provider(ProviderCommand::Update(update)) = Cli::try_parse_from(line).unwrap().command else {
            panic!()
        };
        update.check()?;
        update.request(found())
    }

    #[test]
    fn credentials_are_added_replaced_and_removed_and_the_rest_keeps_its_secret() {
        let provider =
            request(&["--credential", "b=env://B", "--credential", "c=x,weight=2", "--remove-credential", "a"])
                .unwrap();
        let provider = provider.provider.unwrap();
        let shown: Vec<_> =
            provider.credentials.iter().map(|each| (each.name.as_str(), each.secret.as_str(), each.weight)).collect();
        assert_eq!(shown, [("b", "env://B", 1), ("c", "x", 2)]);
        assert_eq!(provider.etag, "e1");
        let kept = request(&["--credential", "c=x"]).unwrap().provider.unwrap().credentials;
        assert_eq!((kept[0].name.as_str(), kept[0].secret.as_str(), kept[0].weight), ("a", "", 3));
        assert_eq!(request(&["--remove-credential", "z"]).unwrap_err().code, "not_found");
    }

    #[test]
    fn an_update_masks_what_was_given() {
        for (line, paths) in [
            (&["--disable"][..], &["disabled"][..]),
            (&["--allow-private", "false", "--priority", "-1"], &["allow_private", "priority"]),
            (&["--clear", "models", "--vendor", "v"], &["models", "vendor"]),
        ] {
            let request = request(line).unwrap();
            assert_eq!(request.update_mask.unwrap().paths, paths, "{line:?}");
            assert_eq!(request.provider.unwrap().etag, "", "{line:?}");
        }
        assert_eq!(request(&[]).unwrap_err().code, "usage");
        assert_eq!(request(&["--clear", "models", "--model", "x"]).unwrap_err().code, "usage");
    }

    #[test]
    fn a_secret_is_never_shown() {
        let mut provider = found();
        provider.credentials[0].secret = "canary".to_owned();
        let view = ProviderView::from(provider);
        assert!(!serde_json::to_string(&view).unwrap().contains("canary"));
        assert!(!format!("{:?}", view.fields()).contains("canary"));
    }
}
