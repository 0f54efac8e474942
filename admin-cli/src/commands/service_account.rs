//! `tollgate service-account`: programs that call the admin API, and their tokens.

use clap::Subcommand;
use prost_types::Duration;
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{Changed, Context, done, one, pages, switched};
use crate::{
    arguments::{Deletion, Listing, Named, NewName},
    failure::Failure,
    literals::{life, name, printed, reference},
    output::{Answer, View},
};

/// What people are told beside a new token.
const SECRET_NOTE: &str = "the secret is shown this once; keep it now";

/// What to do with service accounts.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceAccountCommand {
    /// Create a service account, without a token
    #[command(after_help = "Example: tollgate service-account create ci --display-name 'Continuous integration'")]
    Create {
        #[command(flatten)]
        name: NewName,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Show one service account and its tokens, without their secrets
    #[command(after_help = "Example: tollgate service-account get ci")]
    Get(Named),
    /// List service accounts
    #[command(after_help = "Example: tollgate service-account list -o json")]
    List(Listing),
    /// Change a service account
    #[command(after_help = "Example: tollgate service-account update ci --disable")]
    Update {
        /// The id or the name
        #[arg(value_parser = reference)]
        account: String,
        /// A new name
        #[arg(long, value_name = "NAME", value_parser = name)]
        name: Option<String>,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// Switch it off: its tokens are refused
        #[arg(long)]
        disable: bool,
        /// Switch it on again
        #[arg(long, conflicts_with = "disable")]
        enable: bool,
    },
    /// Delete a service account, its tokens and its bindings
    #[command(after_help = "Example: tollgate service-account delete ci")]
    Delete(Deletion),
    /// Give a service account a token and print its secret, this once; at most two are valid at a time
    #[command(after_help = "Example: tollgate service-account token-create ci --name second --life 90d -o json")]
    TokenCreate {
        #[command(flatten)]
        named: Named,
        /// The token's name [default: token- and a number that is free]
        #[arg(long = "name", id = "token_name", value_name = "NAME", value_parser = name)]
        token: Option<String>,
        /// How long the token is good: an hour to 366 days [default: 90d]
        #[arg(long, value_name = "DURATION", value_parser = life)]
        life: Option<Duration>,
    },
    /// Take a token away; it is refused from now on
    #[command(after_help = "Example: tollgate service-account token-delete ci token-1")]
    TokenDelete {
        #[command(flatten)]
        named: Named,
        /// The token's name
        #[arg(id = "token_name", value_name = "TOKEN", value_parser = reference)]
        token: String,
    },
}

/// A service account as it is shown.
#[derive(Serialize)]
struct AccountView {
    id: String,
    name: String,
    display_name: String,
    disabled: bool,
    tokens: Vec<TokenView>,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

/// A token as it is shown.
#[derive(Serialize)]
struct TokenView {
    name: String,
    prefix: String,
    expire_time: Option<String>,
    create_time: Option<String>,
    used_time: Option<String>,
}

/// A token together with its secret.
#[derive(Serialize)]
struct SecretView {
    name: String,
    secret: String,
    service_account: String,
    service_account_name: String,
    prefix: String,
    expire_time: Option<String>,
    create_time: Option<String>,
}

impl ServiceAccountCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.service_accounts();
        let account = match self {
            Self::Create { name, display_name } => {
                let (name, display_name) = (name.into_name(), display_name.unwrap_or_default());
                let service_account = Some(v1::ServiceAccount { name, display_name, ..v1::ServiceAccount::default() });
                client.create_service_account(v1::CreateServiceAccountRequest { service_account }).await?
            }
            Self::Get(Named { name }) => client.get_service_account(named(name)).await?,
            Self::List(listing) => {
                let found = all(context, listing.limit, listing.filter.unwrap_or_default()).await?;
                let views: Vec<_> = found.into_iter().map(AccountView::new).collect();
                return context.format.list(&views);
            }
            Self::Update { account, name, display_name, disable, enable } => {
                let mut changed = Changed::default();
                let mut wanted = v1::ServiceAccount {
                    name: changed.field("name", name),
                    display_name: changed.field("display_name", display_name),
                    disabled: changed.field("disabled", (disable || enable).then_some(disable)),
                    ..v1::ServiceAccount::default()
                };
                let update_mask = Some(changed.mask()?);
                wanted.id = client.get_service_account(named(account)).await?.into_inner().id;
                let request = v1::UpdateServiceAccountRequest { service_account: Some(wanted), update_mask };
                client.update_service_account(request).await?
            }
            Self::Delete(Deletion { name, etag }) => {
                let etag = etag.unwrap_or_default();
                let request = v1::DeleteServiceAccountRequest { service_account: name.clone(), etag };
                client.delete_service_account(request).await?;
                return done(context.format, "deleted", "service-account", &name);
            }
            Self::TokenCreate { named: Named { name: service_account }, token, life } => {
                let name = token.unwrap_or_default();
                let request = v1::CreateServiceAccountTokenRequest { service_account, name, life };
                let created = client.create_service_account_token(request).await?.into_inner();
                return Ok(context.format.item(&SecretView::new(created))?.note(SECRET_NOTE));
            }
            Self::TokenDelete { named: Named { name: service_account }, token: name } => {
                let request = v1::DeleteServiceAccountTokenRequest { service_account, name };
                client.delete_service_account_token(request).await?
            }
        };
        one(context, vec![AccountView::new(account.into_inner())])
    }
}

fn named(service_account: String) -> v1::GetServiceAccountRequest {
    v1::GetServiceAccountRequest { service_account }
}

/// Follows the list of service accounts.
pub(crate) async fn all(
    context: &Context,
    limit: Option<u32>,
    filter: String,
) -> Result<Vec<v1::ServiceAccount>, Failure> {
    let mut client = context.client.service_accounts();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListServiceAccountsRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_service_accounts(request).await?.into_inner();
        Ok((page.service_accounts, page.next_page_token))
    })
    .await
}

impl AccountView {
    fn new(account: v1::ServiceAccount) -> Self {
        let v1::ServiceAccount { id, name, display_name, disabled, tokens, etag, create_time, update_time } = account;
        let tokens = tokens.into_iter().map(TokenView::new).collect();
        let (create_time, update_time) = (printed(create_time.as_ref()), printed(update_time.as_ref()));
        Self { id, name, display_name, disabled, tokens, etag, create_time, update_time }
    }
}

impl TokenView {
    fn new(token: v1::ServiceAccountToken) -> Self {
        let v1::ServiceAccountToken { name, expire_time, prefix, create_time, used_time } = token;
        Self {
            name,
            prefix,
            expire_time: printed(expire_time.as_ref()),
            create_time: printed(create_time.as_ref()),
            used_time: printed(used_time.as_ref()),
        }
    }
}

impl SecretView {
    fn new(created: v1::ServiceAccountTokenSecret) -> Self {
        let v1::ServiceAccountTokenSecret { service_account, token, secret } = created;
        let account = service_account.unwrap_or_default();
        let TokenView { name, prefix, expire_time, create_time, used_time: _ } =
            TokenView::new(token.unwrap_or_default());
        let (service_account, service_account_name) = (account.id, account.name);
        Self { name, secret, service_account, service_account_name, prefix, expire_time, create_time }
    }
}

impl View for AccountView {
    const PLURAL: &'static str = "service accounts";
    const LISTED: &'static [&'static str] = &["name", "display_name", "state", "tokens", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let tokens: Vec<_> = self.tokens.iter().map(TokenView::line).collect();
        vec![
            ("name", self.name.clone()),
            ("display_name", self.display_name.clone()),
            ("state", switched(self.disabled)),
            ("tokens", tokens.join("; ")),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]
    }
}

impl TokenView {
    fn line(&self) -> String {
        let Self { name, prefix, expire_time, .. } = self;
        format!("{name} {prefix} until {}", expire_time.as_deref().unwrap_or("an unknown day"))
    }
}

impl View for SecretView {
    const PLURAL: &'static str = "tokens";
    const LISTED: &'static [&'static str] = &["name", "secret"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("secret", self.secret.clone()),
            ("service_account", self.service_account_name.clone()),
            ("expires", self.expire_time.clone().unwrap_or_default()),
        ]
    }
}
