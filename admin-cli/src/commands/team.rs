//! `tollgate team`: the groups that own keys.

mod self_service;

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
use self_service::{SelfServiceArguments, SelfServiceChange, SelfServiceView};

/// What to do with teams.
#[derive(Debug, Subcommand)]
pub(crate) enum TeamCommand {
    /// Create a team
    #[command(
        after_help = "Example: tollgate team create platform --customer acme --budget '1000 USD/1M@Europe/Berlin' --limit '600 requests/1m'"
    )]
    Create {
        #[command(flatten)]
        name: NewName,
        /// The customer that owns the team, by id or name; fixed after creation
        #[arg(long, value_parser = reference)]
        customer: String,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        quota: Box<QuotaArguments>,
        #[command(flatten)]
        self_service: Box<SelfServiceArguments>,
    },
    /// Show one team
    #[command(after_help = "Example: tollgate team get platform")]
    Get(Named),
    /// List teams
    #[command(after_help = "Example: tollgate team list --customer acme")]
    List {
        /// Only teams of this customer, by id or name
        #[arg(long, value_parser = reference)]
        customer: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Change a team
    #[command(after_help = "Example: tollgate team update platform --display-name Platform")]
    Update {
        /// The id or the name
        #[arg(value_parser = reference)]
        team: String,
        /// A new name
        #[arg(long, value_name = "NAME", value_parser = name)]
        name: Option<String>,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        switch: Switch,
        #[command(flatten)]
        quota: Box<QuotaChange>,
        #[command(flatten)]
        self_service: Box<SelfServiceChange>,
    },
    /// Delete a team that has no keys and no users
    #[command(after_help = "Example: tollgate team delete platform")]
    Delete(Deletion),
}

/// A team as it is shown.
#[derive(Serialize)]
struct TeamView {
    id: String,
    name: String,
    display_name: String,
    customer: String,
    customer_name: String,
    disabled: bool,
    #[serde(flatten)]
    quota: QuotaView,
    self_service: Option<SelfServiceView>,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

impl TeamCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.teams();
        let team = match self {
            Self::Create { name, customer, display_name, quota, self_service } => {
                let Quota { budgets, limits, session_limit } = quota.new_quota()?;
                let team = v1::Team {
                    name: name.into_name(),
                    customer,
                    display_name: display_name.unwrap_or_default(),
                    budgets,
                    limits,
                    session_limit,
                    self_service: self_service.wire(None)?,
                    ..v1::Team::default()
                };
                client.create_team(v1::CreateTeamRequest { team: Some(team) }).await?
            }
            Self::Get(Named { name }) => client.get_team(v1::GetTeamRequest { team: name }).await?,
            Self::List { customer, listing } => {
                let filter = Filter::new(listing.filter).and("customer", customer)?;
                let found = all(context, listing.limit, filter.text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Update { team, name, display_name, switch, quota, self_service } => {
                let mut changed = Changed::default();
                let Quota { budgets, limits, session_limit } = quota.changed(&mut changed)?;
                let mut wanted = v1::Team {
                    name: changed.field("name", name),
                    display_name: changed.field("display_name", display_name),
                    disabled: changed.field("disabled", switch.disabled()),
                    budgets,
                    limits,
                    session_limit,
                    ..v1::Team::default()
                };
                changed.field("self_service", self_service.is_given().then_some(()));
                let update_mask = Some(changed.mask()?);
                let held = client.get_team(v1::GetTeamRequest { team }).await?.into_inner();
                // What was read last is the ground of the change, so that nothing is taken back unseen.
                if self_service.is_given() {
                    wanted.etag = held.etag;
                    wanted.self_service = self_service.wire(held.self_service)?;
                }
                wanted.id = held.id;
                client.update_team(v1::UpdateTeamRequest { team: Some(wanted), update_mask }).await?
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteTeamRequest { team: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_team(request).await?;
                return done(context.format, "deleted", "team", &name);
            }
        };
        one(context, views(context, vec![team.into_inner()]).await)
    }
}

/// Follows the list of teams.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Team>, Failure> {
    let mut client = context.client.teams();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListTeamsRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_teams(request).await?.into_inner();
        Ok((page.teams, page.next_page_token))
    })
    .await
}

async fn views(context: &Context, teams: Vec<v1::Team>) -> Vec<TeamView> {
    let mut names = Names::default();
    names.learn(context, Noun::Customer, teams.iter().map(|team| team.customer.as_str())).await;
    names.learn(context, Noun::Provider, teams.iter().flat_map(|team| providers(&team.budgets))).await;
    teams.into_iter().map(|team| TeamView::new(team, &names)).collect()
}

impl TeamView {
    fn new(team: v1::Team, names: &Names) -> Self {
        let v1::Team {
            id,
            name,
            display_name,
            customer,
            disabled,
            etag,
            create_time,
            update_time,
            budgets,
            limits,
            session_limit,
            self_service,
        } = team;
        let self_service = self_service.map(SelfServiceView::new);
        let quota = QuotaView::new(budgets, limits, session_limit, names);
        let customer_name = names.of(&customer);
        let (create_time, update_time) = (printed(create_time.as_ref()), printed(update_time.as_ref()));
        Self {
            id,
            name,
            display_name,
            customer,
            customer_name,
            disabled,
            quota,
            self_service,
            etag,
            create_time,
            update_time,
        }
    }
}

impl View for TeamView {
    const PLURAL: &'static str = "teams";
    const LISTED: &'static [&'static str] = &["name", "customer", "display_name", "state", "budgets", "limits", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("name", self.name.clone()),
            ("customer", self.customer_name.clone()),
            ("display_name", self.display_name.clone()),
            ("state", switched(self.disabled)),
        ];
        fields.extend(self.quota.fields());
        fields.extend([
            ("self_service", self.self_service.as_ref().map(SelfServiceView::line).unwrap_or_default()),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]);
        fields
    }
}
