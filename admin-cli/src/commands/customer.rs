//! `tollgate customer`: the tenants to which teams belong.

use clap::Subcommand;
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{Changed, Context, done, filter::Filter, pages, switched};
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
    #[command(after_help = "Example: tollgate customer create acme --display-name Acme")]
    Create {
        #[command(flatten)]
        name: NewName,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
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
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

impl CustomerCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.customers();
        match self {
            Self::Create { name, display_name } => {
                let display_name = display_name.unwrap_or_default();
                let customer = v1::Customer { name: name.into_name(), display_name, ..v1::Customer::default() };
                let created = client.create_customer(v1::CreateCustomerRequest { customer: Some(customer) }).await?;
                context.format.item(&CustomerView::from(created.into_inner()))
            }
            Self::Get(Named { name }) => {
                let found = client.get_customer(v1::GetCustomerRequest { customer: name }).await?;
                context.format.item(&CustomerView::from(found.into_inner()))
            }
            Self::List(Listing { filter, limit }) => {
                let found = all(context, limit, Filter::new(filter).text()).await?;
                context.format.list(&found.into_iter().map(CustomerView::from).collect::<Vec<_>>())
            }
            Self::Update { customer, name, display_name, switch } => {
                let mut changed = Changed::default();
                let mut wanted = v1::Customer {
                    name: changed.field("name", name),
                    display_name: changed.field("display_name", display_name),
                    disabled: changed.field("disabled", switch.disabled()),
                    ..v1::Customer::default()
                };
                let update_mask = Some(changed.mask()?);
                // An update says which object by its id; the caller may have said a name.
                wanted.id = client.get_customer(v1::GetCustomerRequest { customer }).await?.into_inner().id;
                let request = v1::UpdateCustomerRequest { customer: Some(wanted), update_mask };
                context.format.item(&CustomerView::from(client.update_customer(request).await?.into_inner()))
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteCustomerRequest { customer: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_customer(request).await?;
                done(context.format, "deleted", "customer", &name)
            }
        }
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

impl From<v1::Customer> for CustomerView {
    fn from(customer: v1::Customer) -> Self {
        let v1::Customer { id, name, display_name, disabled, etag, create_time, update_time } = customer;
        let (create_time, update_time) = (printed(create_time.as_ref()), printed(update_time.as_ref()));
        Self { id, name, display_name, disabled, etag, create_time, update_time }
    }
}

impl View for CustomerView {
    const PLURAL: &'static str = "customers";
    const LISTED: &'static [&'static str] = &["name", "display_name", "state", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("display_name", self.display_name.clone()),
            ("state", switched(self.disabled)),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]
    }
}
