//! `tollgate session`: the people who are signed in.

use clap::Subcommand;
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{
    Context,
    filter::Filter,
    names::{Names, Noun},
    one, pages,
};
use crate::{
    arguments::Listing,
    failure::Failure,
    literals::{printed, reference},
    output::{Answer, View},
};

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List the sessions that have not expired, newest first
    #[command(after_help = "Example: tollgate session list --user ada")]
    List {
        /// Only sessions of this user, by id or name
        #[arg(long, value_parser = reference)]
        user: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// End a session: its tokens are refused and its open streams cut
    #[command(
        after_help = "Example: tollgate session revoke session-01k0000000000000000000000a --reason 'laptop lost'"
    )]
    Revoke {
        /// The id
        #[arg(value_parser = reference)]
        session: String,
        /// Why, for the audit log
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}

/// A session as it is shown.
#[derive(Serialize)]
struct SessionView {
    id: String,
    user: String,
    user_name: String,
    issuer: String,
    kind: String,
    ended: bool,
    create_time: Option<String>,
    used_time: Option<String>,
    expire_time: Option<String>,
    source_address: String,
    user_agent: String,
}

impl SessionCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.sessions();
        match self {
            Self::List { user, listing } => {
                let filter = Filter::new(listing.filter).and("user", user)?.text();
                let found = pages(listing.limit, async |page_size: i32, page_token: String| {
                    let request = v1::ListSessionsRequest { page_size, page_token, filter: filter.clone() };
                    let page = client.list_sessions(request).await?.into_inner();
                    Ok((page.sessions, page.next_page_token))
                });
                let found = found.await?;
                context.format.list(&views(context, found).await)
            }
            Self::Revoke { session, reason } => {
                let request = v1::RevokeSessionRequest { session, reason: reason.unwrap_or_default() };
                let session = client.revoke_session(request).await?.into_inner();
                one(context, views(context, vec![session]).await)
            }
        }
    }
}

async fn views(context: &Context, sessions: Vec<v1::Session>) -> Vec<SessionView> {
    let mut names = Names::default();
    names.learn(context, Noun::User, sessions.iter().map(|session| session.user.as_str())).await;
    sessions.into_iter().map(|session| SessionView::new(session, &names)).collect()
}

impl SessionView {
    fn new(session: v1::Session, names: &Names) -> Self {
        let v1::Session {
            id,
            user,
            issuer,
            kind,
            create_time,
            used_time,
            expire_time,
            ended,
            source_address,
            user_agent,
        } = session;
        Self {
            user_name: names.of(&user),
            create_time: printed(create_time.as_ref()),
            used_time: printed(used_time.as_ref()),
            expire_time: printed(expire_time.as_ref()),
            id,
            user,
            issuer,
            kind,
            ended,
            source_address,
            user_agent,
        }
    }
}

impl View for SessionView {
    const PLURAL: &'static str = "sessions";
    const LISTED: &'static [&'static str] = &["user", "kind", "state", "created", "used", "source", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("user", self.user_name.clone()),
            ("kind", self.kind.clone()),
            ("state", if self.ended { "ended" } else { "open" }.to_owned()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("used", self.used_time.clone().unwrap_or_default()),
            ("expires", self.expire_time.clone().unwrap_or_default()),
            ("issuer", self.issuer.clone()),
            ("source", self.source_address.clone()),
            ("program", self.user_agent.clone()),
            ("id", self.id.clone()),
        ]
    }
}
