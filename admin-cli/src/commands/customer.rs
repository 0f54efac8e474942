//! `tollgate customer`: the tenants to which teams belong.

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

/// What to do with customers.
#[derive(Debug, Subcommand)]
pub(crate) enum CustomerCommand {
    /// Create a customer
    #[command(after_help = "Example: tollgate customer create acme --display-name Acme --budget '5000 USD/1M'")]
    Create {
        #[command(flatten)]
        name: NewName,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        quota: Box<QuotaArguments>,
    },
    /// Show one customer
    #[command(after_help = "Example: tollgate customer get acme -o yaml")]
    Get(Named),
    /// List customers
    #[command(after_help = "Example: tollgate customer list --filter name=ac*")]
    List(Listing),
    /// Change a customer
    #[command(after_help = "Example: tollgate customer update acme --disable")]
    Update {
        /// The id or the name
        #[arg(value_parser = reference)]
        customer: String,
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
    },
    /// Delete a customer that has no teams
    #[command(after_help = "Example: tollgate customer delete acme")]
    Delete(Deletion),
}

/// A customer as it is shown.
#[derive(Serialize)]
struct CustomerView {
    id: String,
    name: String,
    display_name: String,
    disabled: bool,
    #[serde(flatten)]
    quota: QuotaView,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

impl CustomerCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.customers();
        let customer = match self {
            Self::Create { name, display_name, quota } => {
                let Quota { budgets, limits, session_limit } = quota.new_quota()?;
                let customer = v1::Customer {
                    name: name.into_name(),
                    display_name: display_name.unwrap_or_default(),
                    budgets,
                    limits,
                    session_limit,
                    ..v1::Customer::default()
                };
                client.create_customer(v1::CreateCustomerRequest { customer: Some(customer) }).await?
            }
            Self::Get(Named { name }) => client.get_customer(v1::GetCustomerRequest { customer: name }).await?,
            Self::List(Listing { filter, limit }) => {
                let found = all(context, limit, Filter::new(filter).text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Update { customer, name, display_name, switch, quota } => {
                let mut changed = Changed::default();
                let Quota { budgets, limits, session_limit } = quota.changed(&mut changed)?;
                let mut wanted = v1::Customer {
                    name: changed.field("name", name),
                    display_name: changed.field("display_name", display_name),
                    disabled: changed.field("disabled", switch.disabled()),
                    budgets,
                    limits,
                    session_limit,
                    ..v1::Customer::default()
                };
                let update_mask = Some(changed.mask()?);
                // An update says which object by its id; the caller may have said a name.
                wanted.id = client.get_customer(v1::GetCustomerRequest { customer }).await?.into_inner().id;
                client.update_customer(v1::UpdateCustomerRequest { customer: Some(wanted), update_mask }).await?
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteCustomerRequest { customer: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_customer(request).await?;
                return done(context.format, "deleted", "customer", &name);
            }
        };
        one(context, views(context, vec![customer.into_inner()]).await)
    }
}

/// Follows the list of customers.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Customer>, Failure> {
    let mut client = context.client.customers();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListCustomersRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_customers(request).await?.into_inner();
        Ok((page.customers, page.next_page_token))
    })
    .await
}

async fn views(context: &Context, customers: Vec<v1::Customer>) -> Vec<CustomerView> {
    let mut names = Names::default();
    names.learn(context, Noun::Provider, customers.iter().flat_map(|each| providers(&each.budgets))).await;
    customers.into_iter().map(|customer| CustomerView::new(customer, &names)).collect()
}

impl CustomerView {
    fn new(customer: v1::Customer, names: &Names) -> Self {
        let v1::Customer {
            id,
            name,
            display_name,
            disabled,
            etag,
            create_time,
            update_time,
            budgets,
            limits,
            session_limit,
        } = customer;
        let quota = QuotaView::new(budgets, limits, session_limit, names);
        let (create_time, update_time) = (printed(create_time.as_ref()), printed(update_time.as_ref()));
        Self { id, name, display_name, disabled, quota, etag, create_time, update_time }
    }
}

impl View for CustomerView {
    const PLURAL: &'static str = "customers";
    const LISTED: &'static [&'static str] = &["name", "display_name", "state", "budgets", "limits", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("name", self.name.clone()),
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
