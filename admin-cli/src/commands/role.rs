//! `tollgate role`: named sets of permissions.

use clap::Subcommand;
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{Changed, Context, done, one, pages};
use crate::{
    arguments::{Deletion, Listing, Named, NewName},
    failure::Failure,
    literals::{name, permission, printed, reference},
    output::{Answer, View},
};

/// What to do with roles.
#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Create a role
    #[command(after_help = "Example: tollgate role create auditor --permission audit.read --permission usage.read\n\n\
                      A permission is resource.action, resource.* for every action on a resource, or * for everything. \
                      `tollgate role get admin` shows what the roles of the program permit.")]
    Create {
        #[command(flatten)]
        name: NewName,
        /// What the role permits, such as key.create or key.* [may be repeated]
        #[arg(long = "permission", value_name = "PERMISSION", required = true, value_parser = permission)]
        permissions: Vec<String>,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Show one role
    #[command(after_help = "Example: tollgate role get auditor")]
    Get(Named),
    /// List roles, the program's first
    #[command(after_help = "Example: tollgate role list -o json")]
    List(Listing),
    /// Change a role; permissions that are given replace the whole list
    #[command(after_help = "Example: tollgate role update auditor --permission 'audit.*' --permission usage.read")]
    Update {
        /// The id or the name
        #[arg(value_parser = reference)]
        role: String,
        /// A new name
        #[arg(long, value_name = "NAME", value_parser = name)]
        name: Option<String>,
        /// What the role permits [may be repeated]
        #[arg(long = "permission", value_name = "PERMISSION", value_parser = permission)]
        permissions: Vec<String>,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
    },
    /// Delete a role that nobody holds
    #[command(after_help = "Example: tollgate role delete auditor")]
    Delete(Deletion),
}

/// A role as it is shown.
#[derive(Serialize)]
struct RoleView {
    id: String,
    name: String,
    display_name: String,
    permissions: Vec<String>,
    system: bool,
    etag: String,
    create_time: Option<String>,
    update_time: Option<String>,
}

impl RoleCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.roles();
        let role = match self {
            Self::Create { name, permissions, display_name } => {
                let (name, display_name) = (name.into_name(), display_name.unwrap_or_default());
                let role = v1::Role { name, display_name, permissions, ..v1::Role::default() };
                client.create_role(v1::CreateRoleRequest { role: Some(role) }).await?
            }
            Self::Get(Named { name }) => client.get_role(v1::GetRoleRequest { role: name }).await?,
            Self::List(listing) => {
                let found = all(context, listing.limit, listing.filter.unwrap_or_default()).await?;
                let views: Vec<_> = found.into_iter().map(RoleView::new).collect();
                return context.format.list(&views);
            }
            Self::Update { role, name, permissions, display_name } => {
                let mut changed = Changed::default();
                let permissions = Some(permissions).filter(|permissions| !permissions.is_empty());
                let mut wanted = v1::Role {
                    name: changed.field("name", name),
                    display_name: changed.field("display_name", display_name),
                    permissions: changed.field("permissions", permissions),
                    ..v1::Role::default()
                };
                let update_mask = Some(changed.mask()?);
                wanted.id = client.get_role(v1::GetRoleRequest { role }).await?.into_inner().id;
                client.update_role(v1::UpdateRoleRequest { role: Some(wanted), update_mask }).await?
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteRoleRequest { role: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_role(request).await?;
                return done(context.format, "deleted", "role", &name);
            }
        };
        one(context, vec![RoleView::new(role.into_inner())])
    }
}

/// Follows the list of roles.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Role>, Failure> {
    let mut client = context.client.roles();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListRolesRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_roles(request).await?.into_inner();
        Ok((page.roles, page.next_page_token))
    })
    .await
}

impl RoleView {
    fn new(role: v1::Role) -> Self {
        let v1::Role { id, name, display_name, permissions, system, etag, create_time, update_time } = role;
        let (create_time, update_time) = (printed(create_time.as_ref()), printed(update_time.as_ref()));
        Self { id, name, display_name, permissions, system, etag, create_time, update_time }
    }
}

impl View for RoleView {
    const PLURAL: &'static str = "roles";
    const LISTED: &'static [&'static str] = &["name", "permissions", "display_name", "origin", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("name", self.name.clone()),
            ("permissions", self.permissions.join(" ")),
            ("display_name", self.display_name.clone()),
            ("origin", if self.system { "program" } else { "created" }.to_owned()),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
            ("updated", self.update_time.clone().unwrap_or_default()),
        ]
    }
}
