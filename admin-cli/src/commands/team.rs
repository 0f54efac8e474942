//! `tollgate team`: the groups that own keys.

mod self_service;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{
    Changed, Context, done,
    filter::Filter,
    names::{Names, Noun},
    one, pages,
    quota::{
        Quota, QuotaArguments, QuotaField,
        view::{QuotaView, providers},
    },
    some_or_all, switched,
};
use crate::{
    arguments::{Deletion, Listing, Named, NewName, Switch},
    failure::Failure,
    literals::{name, pattern, printed, reference},
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
        reach: Reach,
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
    #[command(after_help = "Example: tollgate team update platform --display-name Platform\n\
                      Example: tollgate team update platform --region 'eu-*' --provider anthropic-eu --clear budgets")]
    Update(Box<Update>),
    /// Delete a team that has no keys and no users
    #[command(after_help = "Example: tollgate team delete platform")]
    Delete(Deletion),
}

/// What the keys of a team may reach; the same for a new team and a changed one.
#[derive(Args, Debug)]
pub(crate) struct Reach {
    /// A provider that its keys may reach, by id or name [may be repeated; none: every provider]
    #[arg(long = "provider", value_name = "PROVIDER", value_parser = reference)]
    providers: Vec<String>,
    /// A region in which their requests may be received and answered, as key create --region [may be repeated; none: everywhere]
    #[arg(long = "region", value_name = "PATTERN", value_parser = pattern)]
    regions: Vec<String>,
}

/// A changed team.
#[derive(Args, Debug)]
pub(crate) struct Update {
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
    reach: Reach,
    #[command(flatten)]
    quota: QuotaArguments,
    #[command(flatten)]
    self_service: SelfServiceChange,
    /// Empty a field [may be repeated]
    #[arg(long, value_name = "FIELD")]
    clear: Vec<Clearable>,
}

/// A field that can be emptied. An empty list admits everything, and nothing limits then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Clearable {
    Providers,
    Regions,
    Budgets,
    Limits,
    #[value(alias = "session-limit")]
    SessionLimit,
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
    providers: Vec<String>,
    provider_names: Vec<String>,
    regions: Vec<String>,
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
            Self::Create { name, customer, display_name, reach, quota, self_service } => {
                let Reach { providers, regions } = reach;
                let Quota { budgets, limits, session_limit } = quota.new_quota()?;
                let team = v1::Team {
                    name: name.into_name(),
                    customer,
                    display_name: display_name.unwrap_or_default(),
                    providers,
                    regions,
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
            Self::Update(update) => {
                let Changing { team, mut wanted, self_service, update_mask } = update.change()?;
                let update_mask = Some(update_mask);
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

/// What an update changes, as far as it is known without asking anybody.
struct Changing {
    team: String,
    wanted: v1::Team,
    self_service: SelfServiceChange,
    update_mask: prost_types::FieldMask,
}

impl Update {
    fn change(self) -> Result<Changing, Failure> {
        let Self { team, name, display_name, switch, reach, quota, self_service, clear } = self;
        let Reach { providers, regions } = reach;
        let cleared = |field| clear.contains(&field);
        let list = |values: Vec<String>, field| (!values.is_empty() || cleared(field)).then_some(values);
        let set = [(Clearable::Providers, !providers.is_empty()), (Clearable::Regions, !regions.is_empty())];
        if set.into_iter().any(|(field, set)| set && cleared(field)) {
            return Err(Failure::usage("a field cannot be set and cleared at once"));
        }
        let mut changed = Changed::default();
        let quota_cleared: Vec<_> = clear.iter().filter_map(|field| field.quota()).collect();
        let Quota { budgets, limits, session_limit } = quota.changed(&quota_cleared, &mut changed)?;
        let wanted = v1::Team {
            name: changed.field("name", name),
            display_name: changed.field("display_name", display_name),
            disabled: changed.field("disabled", switch.disabled()),
            providers: changed.field("providers", list(providers, Clearable::Providers)),
            regions: changed.field("regions", list(regions, Clearable::Regions)),
            budgets,
            limits,
            session_limit,
            ..v1::Team::default()
        };
        changed.field("self_service", self_service.is_given().then_some(()));
        Ok(Changing { team, wanted, self_service, update_mask: changed.mask()? })
    }
}

impl Clearable {
    const fn quota(self) -> Option<QuotaField> {
        match self {
            Self::Budgets => Some(QuotaField::Budgets),
            Self::Limits => Some(QuotaField::Limits),
            Self::SessionLimit => Some(QuotaField::SessionLimit),
            Self::Providers | Self::Regions => None,
        }
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
    let covered = teams.iter().flat_map(|team| providers(&team.budgets));
    let allowed = teams.iter().flat_map(|team| &team.providers).map(String::as_str);
    names.learn(context, Noun::Provider, allowed.chain(covered)).await;
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
            providers,
            regions,
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
            provider_names: providers.iter().map(|id| names.of(id)).collect(),
            providers,
            regions,
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
            ("providers", some_or_all(&self.provider_names)),
            ("regions", some_or_all(&self.regions)),
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
