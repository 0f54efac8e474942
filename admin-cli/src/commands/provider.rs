//! `tollgate provider`: where models are served, and the credentials with which they are called.

pub(crate) mod presets;
mod view;

use clap::{Args, Subcommand, ValueEnum};
use tollgate_policy::preset::Preset;
use tollgate_proto::admin::v1;

use super::{Changed, Context, done, filter::Filter, pages};
use crate::{
    arguments::{Deletion, Listing, Named, Switch},
    failure::Failure,
    literals::{
        CredentialArgument, name, pattern, reference,
        route::{Setting, auth, dialect, quirk, region},
    },
    output::Answer,
};
use presets::preset;
use view::ProviderView;

/// What to do with providers.
#[derive(Debug, Subcommand)]
pub(crate) enum ProviderCommand {
    /// Create a provider with its credentials
    #[command(
        after_help = "Example: tollgate provider create anthropic --dialect anthropic --base-url https://api.anthropic.com --credential primary=env://ANTHROPIC_API_KEY,weight=2\n\
                      Example: tollgate provider create --preset groq\n\
                      Example: tollgate provider create --preset vertex --name gemini-eu --set region=europe-west1 --set project=acme-prod --credential primary=file:///etc/tollgate/google.json\n\n\
                      What is said beside a preset takes the place of what it has. Without --credential the provider has one that each replica finds in the variable that the preset names."
    )]
    Create(Box<Create>),
    /// Show one provider, without secrets
    #[command(after_help = "Example: tollgate provider get anthropic -o yaml")]
    Get(Named),
    /// List providers and their credentials, without secrets
    #[command(after_help = "Example: tollgate provider list --filter dialect=anthropic")]
    List(Listing),
    /// List the providers that are known by name, for --preset
    #[command(after_help = "Example: tollgate provider presets -o yaml")]
    Presets,
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
    /// The name: 1 to 63 of a-z 0-9 . _ -; that of the preset where it is left out
    #[arg(value_name = "NAME", value_parser = name, conflicts_with = "named", required_unless_present_any = ["named", "preset"])]
    name: Option<String>,
    /// The name, as an option
    #[arg(long = "name", value_name = "NAME", value_parser = name)]
    named: Option<String>,
    /// A provider that is known by name: see `tollgate provider presets`
    #[arg(long, value_name = "PRESET", value_parser = preset)]
    preset: Option<&'static Preset>,
    /// Fill in a placeholder of the preset's base URL [may be repeated]
    #[arg(long = "set", value_name = "NAME=VALUE", requires = "preset")]
    settings: Vec<Setting>,
    /// The dialect that it speaks: anthropic, openai_chat, openai_responses, gemini, bedrock_converse, bedrock_invoke, vertex_anthropic; fixed after creation
    #[arg(long, value_parser = dialect, required_unless_present = "preset")]
    dialect: Option<String>,
    /// Where it is: https://host[:port][/path]
    #[arg(long, value_name = "URL", required_unless_present = "preset")]
    base_url: Option<String>,
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
    /// How it is shown a credential: bearer, header:NAME, query:NAME, sigv4, google, entra or none, where that is not as usual in its dialect
    #[arg(long, value_parser = auth)]
    auth: Option<String>,
    /// Where it is, in its vendor's words, such as us-east-1; needed for sigv4
    #[arg(long, value_parser = region)]
    region: Option<String>,
    /// How it differs from its dialect's author: max_tokens, system_role, reasoning_content, no_parallel_tools, no_stream_options, no_schema_format, no_effort, top_k [may be repeated]
    #[arg(long = "quirk", value_name = "QUIRK", value_parser = quirk)]
    quirks: Vec<String>,
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
    Auth,
    Region,
    Quirks,
}

impl ProviderCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.providers();
        let provider = match self {
            Self::Create(create) => {
                client.create_provider(v1::CreateProviderRequest { provider: Some(create.provider()?) }).await?
            }
            Self::Presets => return presets::list(context.format),
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
    fn provider(self) -> Result<v1::Provider, Failure> {
        let Self { name, named, preset, settings, dialect, base_url, allow_private, rest } = self;
        let Rest { credentials, models, vendor, priority, auth, region, quirks } = rest;
        let provider = v1::Provider {
            // The grammar lets through what has a name, or a preset with one.
            name: name.or(named).unwrap_or_default(),
            dialect: dialect.unwrap_or_default(),
            base_url: base_url.unwrap_or_default(),
            allow_private,
            models,
            vendor: vendor.unwrap_or_default(),
            priority: priority.unwrap_or_default(),
            credentials: credentials.into_iter().map(wire).collect(),
            auth: auth.unwrap_or_default(),
            region: region.unwrap_or_default(),
            quirks,
            ..v1::Provider::default()
        };
        match preset {
            Some(preset) => presets::fill(provider, preset, settings),
            None => Ok(provider),
        }
    }
}

impl Update {
    /// Refuses what can be refused without asking anybody.
    fn check(&self) -> Result<(), Failure> {
        let Rest { models, vendor, auth, region, quirks, .. } = &self.rest;
        let set = [
            (Clearable::Models, !models.is_empty()),
            (Clearable::Vendor, vendor.is_some()),
            (Clearable::Auth, auth.is_some()),
            (Clearable::Region, region.is_some()),
            (Clearable::Quirks, !quirks.is_empty()),
        ];
        if set.into_iter().any(|(field, set)| set && self.clear.contains(&field)) {
            return Err(Failure::usage("a field cannot be set and cleared at once"));
        }
        Ok(())
    }

    fn request(self, found: v1::Provider) -> Result<v1::UpdateProviderRequest, Failure> {
        let Self { provider: _, name, base_url, allow_private, rest, remove_credential, clear, switch } = self;
        let Rest { credentials, models, vendor, priority, auth, region, quirks } = rest;
        let touched = !credentials.is_empty() || !remove_credential.is_empty();
        let merged = touched.then(|| merge(&found, credentials, &remove_credential)).transpose()?;
        let cleared = |field| clear.contains(&field);
        let list = |values: Vec<String>, field| (!values.is_empty() || cleared(field)).then_some(values);
        let text = |value: Option<String>, field| if cleared(field) { Some(String::new()) } else { value };
        let mut changed = Changed::default();
        let wanted = v1::Provider {
            id: found.id,
            name: changed.field("name", name),
            base_url: changed.field("base_url", base_url),
            allow_private: changed.field("allow_private", allow_private),
            models: changed.field("models", list(models, Clearable::Models)),
            vendor: changed.field("vendor", text(vendor, Clearable::Vendor)),
            disabled: changed.field("disabled", switch.disabled()),
            priority: changed.field("priority", priority),
            // The list was read and changed here: it must not overwrite another's change of it.
            etag: if touched { found.etag } else { String::new() },
            credentials: changed.field("credentials", merged),
            auth: changed.field("auth", text(auth, Clearable::Auth)),
            region: changed.field("region", text(region, Clearable::Region)),
            quirks: changed.field("quirks", list(quirks, Clearable::Quirks)),
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
            (&["--auth", "bearer", "--clear", "region", "--quirk", "top_k"], &["auth", "region", "quirks"]),
        ] {
            let request = request(line).unwrap();
            assert_eq!(request.update_mask.unwrap().paths, paths, "{line:?}");
            assert_eq!(request.provider.unwrap().etag, "", "{line:?}");
        }
        assert_eq!(request(&[]).unwrap_err().code, "usage");
        assert_eq!(request(&["--clear", "models", "--model", "x"]).unwrap_err().code, "usage");
    }

    fn created(line: &[&str]) -> Result<v1::Provider, Failure> {
        let line = [&["tollgate", "provider", "create"], line].concat();
        let Command::Provider(ProviderCommand::Create(create)) = Cli::try_parse_from(line).unwrap().command else {
            panic!()
        };
        create.provider()
    }

    #[test]
    fn a_preset_fills_in_what_was_not_said() {
        let groq = created(&["--preset", "groq"]).unwrap();
        assert_eq!((groq.name.as_str(), groq.dialect.as_str(), groq.vendor.as_str()), ("groq", "openai_chat", "groq"));
        assert_eq!(
            (groq.base_url.as_str(), groq.quirks),
            ("https://api.groq.com/openai/v1", vec!["system_role".into()])
        );
        let [key] = groq.credentials.as_slice() else { panic!() };
        assert_eq!((key.name.as_str(), key.secret.as_str()), ("primary", "env://GROQ_API_KEY"));
        let own =
            ["--preset", "groq", "--name", "fast", "--credential", "a=env://A", "--vendor", "v", "--quirk", "top_k"];
        let own = created(&own).unwrap();
        assert_eq!((own.name.as_str(), own.vendor.as_str(), own.quirks), ("fast", "v", vec!["top_k".into()]));
        assert_eq!(own.credentials[0].secret, "env://A");
        let bedrock = ["--preset", "bedrock", "--credential", "a=env://A"];
        let local = created(&["--preset", "ollama"]).unwrap();
        assert!(local.allow_private && local.auth == "none" && local.credentials[0].name == "none");
        for region in [["--region", "eu-west-1"], ["--set", "region=eu-west-1"]] {
            let made = created(&[&bedrock[..], &region].concat()).unwrap();
            assert_eq!((made.region.as_str(), made.auth.as_str()), ("eu-west-1", "sigv4"));
            assert_eq!(made.base_url, "https://bedrock-runtime.eu-west-1.amazonaws.com");
        }
        for refused in [&bedrock[..], &["--preset", "bedrock", "--region", "r"], &["--preset", "groq", "--set", "x=y"]]
        {
            assert_eq!(created(refused).unwrap_err().code, "usage", "{refused:?}");
        }
        for refused in [&["x"][..], &["--preset", "nobody"], &["x", "--dialect", "openai", "--base-url", "https://x"]] {
            let line = [&["tollgate", "provider", "create"], refused].concat();
            assert!(Cli::try_parse_from(line).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn what_rests_is_told_with_how_many_replicas_find_so() {
        let health = |resting: i32, cause: &str| {
            Some(v1::ProviderHealth { replicas: 3, resting, cause: cause.to_owned(), until: None })
        };
        let shown = |own, credential| {
            let mut provider = v1::Provider { health: own, ..found() };
            provider.credentials[1].health = credential;
            let view = ProviderView::from(provider);
            crate::output::View::fields(&view).into_iter().find(|field| field.0 == "health").unwrap().1
        };
        for (own, credential, expect) in [
            (None, None, ""),
            (Some(v1::ProviderHealth::default()), health(1, "late"), "unknown"),
            (health(0, ""), health(0, ""), "ok"),
            (health(2, "failing"), None, "resting 2/3 (failing)"),
            (health(0, ""), health(1, "limited"), "b resting 1/3 (limited)"),
            (health(3, ""), health(1, "rejected"), "resting 3/3; b resting 1/3 (rejected)"),
        ] {
            assert_eq!(shown(own, credential), expect);
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let mut provider = found();
        provider.credentials[0].secret = "canary".to_owned();
        let view = ProviderView::from(provider);
        assert!(!serde_json::to_string(&view).unwrap().contains("canary"));
        assert!(!format!("{:?}", crate::output::View::fields(&view)).contains("canary"));
    }
}
