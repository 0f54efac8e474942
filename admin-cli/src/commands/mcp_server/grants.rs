//! `tollgate mcp-server grants` and `disconnect`: what users permitted for servers, and its end.

use clap::Args;
use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{
    arguments::Listing,
    commands::{
        Context, done,
        filter::Filter,
        names::{Names, Noun},
        pages,
        text::for_terminal,
    },
    failure::Failure,
    literals::{printed, reference},
    output::{Answer, View},
};

/// Which grants are listed.
#[derive(Args, Debug)]
pub(crate) struct Grants {
    /// Only those of this server, by id or name
    #[arg(value_name = "SERVER", value_parser = reference)]
    mcp_server: Option<String>,
    /// Only those of this user, by id or name
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

/// Which grant ends.
#[derive(Args, Debug)]
pub(crate) struct Disconnect {
    /// The server, by id or name
    #[arg(value_name = "SERVER", value_parser = reference)]
    mcp_server: String,
    /// Whose, by id or name [default: your own, or the server's own with client_credentials]
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    /// Why, for the audit log
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A grant as it is shown.
#[derive(Serialize)]
struct GrantView {
    id: String,
    server: String,
    user: String,
    user_name: String,
    state: String,
    problem: String,
    issuer: String,
    scopes: Vec<String>,
    renewable: bool,
    expire_time: Option<String>,
    create_time: Option<String>,
    refresh_time: Option<String>,
}

impl Grants {
    pub(super) async fn list(self, context: &Context) -> Result<Answer, Failure> {
        let Self { mcp_server, user, listing } = self;
        let filter = Filter::new(listing.filter).and("server", mcp_server)?.and("user", user)?.text();
        let mut client = context.client.mcp();
        let found = pages(listing.limit, async |page_size: i32, page_token: String| {
            let request = v1::ListMcpGrantsRequest { page_size, page_token, filter: filter.clone() };
            let page = client.list_mcp_grants(request).await?.into_inner();
            Ok((page.mcp_grants, page.next_page_token))
        });
        let found = found.await?;
        let mut names = Names::default();
        let users = found.iter().map(|grant| grant.user.as_str()).filter(|user| !user.is_empty());
        names.learn(context, Noun::User, users).await;
        let views: Vec<_> = found.into_iter().map(|grant| GrantView::new(grant, &names)).collect();
        context.format.list(&views)
    }
}

impl Disconnect {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self { mcp_server, user, reason } = self;
        let request = v1::RevokeMcpGrantRequest {
            mcp_server: mcp_server.clone(),
            user: user.unwrap_or_default(),
            reason: reason.unwrap_or_default(),
        };
        context.client.mcp().revoke_mcp_grant(request).await?;
        done(context.format, "disconnected", "mcp-server", &mcp_server)
    }
}

impl GrantView {
    fn new(grant: v1::McpGrant, names: &Names) -> Self {
        let v1::McpGrant {
            id,
            server,
            user,
            state,
            problem,
            issuer,
            scopes,
            renewable,
            expire_time,
            create_time,
            refresh_time,
        } = grant;
        Self {
            user_name: if user.is_empty() { String::new() } else { names.of(&user) },
            expire_time: printed(expire_time.as_ref()),
            create_time: printed(create_time.as_ref()),
            refresh_time: printed(refresh_time.as_ref()),
            id,
            server,
            user,
            state,
            problem,
            issuer,
            scopes,
            renewable,
        }
    }
}

impl View for GrantView {
    const PLURAL: &'static str = "grants";
    const LISTED: &'static [&'static str] = &["server", "user", "state", "scopes", "renewed", "expires"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let state =
            if self.problem.is_empty() { self.state.clone() } else { format!("{}: {}", self.state, self.problem) };
        let user = if self.user_name.is_empty() { "(its own)".to_owned() } else { self.user_name.clone() };
        let expires = match (&self.expire_time, self.renewable) {
            (Some(time), true) => format!("{time}, and is renewed"),
            (Some(time), false) => time.clone(),
            (None, _) => "(not told)".to_owned(),
        };
        vec![
            ("server", self.server.clone()),
            ("user", user),
            ("state", for_terminal(&state)),
            ("scopes", for_terminal(&self.scopes.join(" "))),
            ("connected", self.create_time.clone().unwrap_or_default()),
            ("renewed", self.refresh_time.clone().unwrap_or_default()),
            ("expires", expires),
            ("issuer", for_terminal(&self.issuer)),
            ("id", self.id.clone()),
        ]
    }
}
