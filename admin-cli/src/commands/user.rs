//! `tollgate user`: the people to whom keys are attributed.

use clap::Subcommand;
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{
    Changed, Context, done,
    filter::Filter,
    names::{Names, Noun},
    one, pages,
    quota::{
        Quota, QuotaArguments, QuotaChange,
        view::{QuotaView, providers},
    },
    switched,
};
use crate::{
    arguments::{Deletion, Listing, Named, NewName, Switch},
    failure::Failure,
    literals::{name, printed, reference},
    output::{Answer, View},
};

/// What to do with users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Create a user
    #[command(
        after_help = "Example: tollgate user create ada --email ada@example.com --team platform --budget '20 USD/1d'"
    )]
    Create {
        #[command(flatten)]
        name: NewName,
        /// The e-mail address: an attribute, never an identity
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// The team to which the user belongs, by id or name
        #[arg(long, value_parser = reference)]
        team: Option<String>,
        #[command(flatten)]
        quota: Box<QuotaArguments>,
    },
    /// Show one user
    #[command(after_help = "Example: tollgate user get ada")]
    Get(Named),
    /// List users
    #[command(after_help = "Example: tollgate user list --team platform")]
    List {
        /// Only users of this team, by id or name
        #[arg(long, value_parser = reference)]
        team: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Change a user
    #[command(after_help = "Example: tollgate user update ada --team payments")]
    Update {
        /// The id or the name
        #[arg(value_parser = reference)]
        user: String,
        /// A new name
        #[arg(long, value_name = "NAME", value_parser = name)]
        name: Option<String>,
        /// The e-mail address; empty for none
        #[arg(long, value_name = "ADDRESS")]
        email: Option<String>,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        /// The team to which the user belongs, by id or name; empty for none
        #[arg(long)]
        team: Option<String>,
        #[command(flatten)]
        switch: Switch,
        #[command(flatten)]
        quota: Box<QuotaChange>,
    },
    /// Delete a user who has no keys
    #[command(after_help = "Example: tollgate user delete ada")]
    Delete(Deletion),
}

/// A user as it is shown.
#[derive(Serialize)]
struct UserView {
    id: String,
    name: String,
    email: String,
    display_name: String,
    team: String,
    team_name: String,
    disabled: bool,
    #[serde(flatten)]
    quota: QuotaView,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

impl UserCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.users();
        let user = match self {
            Self::Create { name, email, display_name, team, quota } => {
                let Quota { budgets, limits, session_limit } = quota.new_quota()?;
                let user = v1::User {
                    name: name.into_name(),
                    email: email.unwrap_or_default(),
                    display_name: display_name.unwrap_or_default(),
                    team: team.unwrap_or_default(),
                    budgets,
                    limits,
                    session_limit,
                    ..v1::User::default()
                };
                client.create_user(v1::CreateUserRequest { user: Some(user) }).await?
            }
            Self::Get(Named { name }) => client.get_user(v1::GetUserRequest { user: name }).await?,
            Self::List { team, listing } => {
                let filter = Filter::new(listing.filter).and("team", team)?;
                let found = all(context, listing.limit, filter.text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Update { user, name, email, display_name, team, switch, quota } => {
                let mut changed = Changed::default();
                let Quota { budgets, limits, session_limit } = quota.changed(&mut changed)?;
                let mut wanted = v1::User {
                    name: changed.field("name", name),
                    email: changed.field("email", email),
                    display_name: changed.field("display_name", display_name),
                    team: changed.field("team", team),
                    disabled: changed.field("disabled", switch.disabled()),
                    budgets,
                    limits,
                    session_limit,
                    ..v1::User::default()
                };
                let update_mask = Some(changed.mask()?);
                wanted.id = client.get_user(v1::GetUserRequest { user }).await?.into_inner().id;
                client.update_user(v1::UpdateUserRequest { user: Some(wanted), update_mask }).await?
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteUserRequest { user: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_user(request).await?;
                return done(context.format, "deleted", "user", &name);
            }
        };
        one(context, views(context, vec![user.into_inner()]).await)
    }
}

/// Follows the list of users.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::User>, Failure> {
    let mut client = context.client.users();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListUsersRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_users(request).await?.into_inner();
        Ok((page.users, page.next_page_token))
    })
    .await
}

async fn views(context: &Context, users: Vec<v1::User>) -> Vec<UserView> {
    let mut names = Names::default();
    names.learn(context, Noun::Team, users.iter().map(|user| user.team.as_str())).await;
    names.learn(context, Noun::Provider, users.iter().flat_map(|user| providers(&user.budgets))).await;
    users.into_iter().map(|user| UserView::new(user, &names)).collect()
}

impl UserView {
    fn new(user: v1::User, names: &Names) -> Self {
        let v1::User {
            id,
            name,
            email,
            display_name,
            team,
            disabled,
            etag,
            create_time,
            update_time,
            budgets,
            limits,
            session_limit,
        } = user;
        let quota = QuotaView::new(budgets, limits, session_limit, names);
        let team_name = names.of(&team);
        let (create_time, update_time) = (printed(create_time.as_ref()), printed(update_time.as_ref()));
        Self { id, name, email, display_name, team, team_name, disabled, quota, etag, create_time, update_time }
    }
}

impl View for UserView {
    const PLURAL: &'static str = "users";
    const LISTED: &'static [&'static str] =
        &["name", "email", "team", "display_name", "state", "budgets", "limits", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("name", self.name.clone()),
            ("email", self.email.clone()),
            ("team", self.team_name.clone()),
            ("display_name", self.display_name.clone()),
            ("state", switched(self.disabled)),
        ];
        fields.extend(self.quota.fields());
        fields.extend([
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]);
        fields
    }
}
