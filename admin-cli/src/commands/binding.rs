//! `tollgate binding`: who holds which role, where, and until when.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{
    Context, done,
    filter::Filter,
    names::{Names, Noun},
    one, pages,
};
use crate::{
    access::{Scope, Subject},
    arguments::{Deletion, Listing},
    failure::Failure,
    literals::{Expiry, from_wire, group, printed, reference, to_wire},
    output::{Answer, View},
};

/// What to do with bindings.
#[derive(Debug, Subcommand)]
pub(crate) enum BindingCommand {
    /// Give a role to somebody
    #[command(
        after_help = "Example: tollgate binding create --role team-lead --user ada --team platform --expires 30d\n\
                      Example: tollgate binding create --role auditor --group security-team\n\n\
                      Without --customer, --team or --own the role holds everywhere. A binding does not change: delete it and create another."
    )]
    Create(Create),
    /// Show one binding
    #[command(after_help = "Example: tollgate binding get binding-01k0000000000000000000000a")]
    Get(Identified),
    /// List bindings
    #[command(after_help = "Example: tollgate binding list --group security-team")]
    List(List),
    /// Take a role away
    #[command(after_help = "Example: tollgate binding delete binding-01k0000000000000000000000a")]
    Delete(Deletion),
}

/// A new binding.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The role, by id or name
    #[arg(long, value_parser = reference)]
    role: String,
    #[command(flatten)]
    subject: SubjectArguments,
    #[command(flatten)]
    scope: ScopeArguments,
    /// When the binding ends: a duration such as 30d, an instant in RFC 3339, a day, or never
    #[arg(long, value_name = "WHEN")]
    expires: Option<Expiry>,
}

/// One binding.
#[derive(Args, Debug)]
pub(crate) struct Identified {
    /// The id
    #[arg(value_parser = reference)]
    id: String,
}

/// Who gets the role.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct SubjectArguments {
    /// A user, by id or name
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    /// Everybody in a group of that name, as identity providers and SCIM say
    #[arg(long, value_parser = group)]
    group: Option<String>,
    /// A service account, by id or name
    #[arg(long, value_name = "NAME", value_parser = reference)]
    service_account: Option<String>,
}

/// Where the role holds.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub(crate) struct ScopeArguments {
    /// In a customer, by id or name
    #[arg(long, value_parser = reference)]
    customer: Option<String>,
    /// In a team, by id or name
    #[arg(long, value_parser = reference)]
    team: Option<String>,
    /// For what the subject owns: their own user, keys, usage and sessions
    #[arg(long)]
    own: bool,
}

/// Which bindings are listed.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Only bindings of this role, by id or name
    #[arg(long, value_parser = reference)]
    role: Option<String>,
    /// Only bindings of this user, by id or name
    #[arg(long, value_parser = reference)]
    user: Option<String>,
    /// Only bindings of this group
    #[arg(long, value_parser = group)]
    group: Option<String>,
    /// Only bindings of this service account, by id or name
    #[arg(long, value_name = "NAME", value_parser = reference)]
    service_account: Option<String>,
    #[command(flatten)]
    listing: Listing,
}

/// A binding as it is shown. Ids stand beside names, since a name may change.
#[derive(Serialize)]
struct BindingView {
    id: String,
    role: String,
    subject_kind: &'static str,
    subject: String,
    subject_name: String,
    scope_kind: &'static str,
    scope: String,
    scope_name: String,
    expired: bool,
    expire_time: Option<String>,
    etag: String,
    create_time: Option<String>,
}

impl BindingCommand {
    pub(crate) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let mut client = context.client.bindings();
        let binding = match self {
            Self::Create(create) => {
                let binding = Some(create.binding(context.now)?);
                client.create_binding(v1::CreateBindingRequest { binding }).await?
            }
            Self::Get(Identified { id }) => client.get_binding(v1::GetBindingRequest { binding: id }).await?,
            Self::List(List { role, user, group, service_account, listing }) => {
                let filter = Filter::new(listing.filter)
                    .and("role", role)?
                    .and("user", user)?
                    .and("group", group)?
                    .and("service_account", service_account)?;
                let found = all(context, listing.limit, filter.text()).await?;
                return context.format.list(&views(context, found).await);
            }
            Self::Delete(Deletion { name, etag }) => {
                let request = v1::DeleteBindingRequest { binding: name.clone(), etag: etag.unwrap_or_default() };
                client.delete_binding(request).await?;
                return done(context.format, "deleted", "binding", &name);
            }
        };
        one(context, views(context, vec![binding.into_inner()]).await)
    }
}

impl Create {
    fn binding(self, now: Timestamp) -> Result<v1::Binding, Failure> {
        let Self { role, subject, scope, expires } = self;
        let subject = match subject {
            SubjectArguments { user: Some(user), .. } => Some(Subject::User(user)),
            SubjectArguments { group: Some(group), .. } => Some(Subject::Group(group)),
            SubjectArguments { service_account, .. } => service_account.map(Subject::ServiceAccount),
        };
        let scope = match scope {
            ScopeArguments { customer: Some(customer), .. } => Scope::Customer(customer),
            ScopeArguments { team: Some(team), .. } => Scope::Team(team),
            ScopeArguments { own: true, .. } => Scope::Own,
            ScopeArguments { .. } => Scope::Everywhere,
        };
        let expire_time = match expires {
            Some(Expiry::At(moment)) => {
                let at = moment.after(now).map_err(|reason| Failure::usage(format!("--expires {reason}")))?;
                Some(at).filter(|at| *at > now).ok_or_else(|| Failure::usage("--expires lies in the past"))?.into()
            }
            Some(Expiry::Never) | None => None,
        };
        Ok(v1::Binding {
            role,
            subject: subject.map(Subject::into_wire),
            scope: scope.into_wire(),
            expire_time: expire_time.map(to_wire),
            ..v1::Binding::default()
        })
    }
}

/// Follows the list of bindings.
pub(crate) async fn all(context: &Context, limit: Option<u32>, filter: String) -> Result<Vec<v1::Binding>, Failure> {
    let mut client = context.client.bindings();
    pages(limit, async |page_size: i32, page_token: String| {
        let request = v1::ListBindingsRequest { page_size, page_token, filter: filter.clone() };
        let page = client.list_bindings(request).await?.into_inner();
        Ok((page.bindings, page.next_page_token))
    })
    .await
}

async fn views(context: &Context, bindings: Vec<v1::Binding>) -> Vec<BindingView> {
    let views: Vec<_> = bindings.into_iter().map(|binding| BindingView::new(binding, context.now)).collect();
    let mut names = Names::default();
    for (kind, noun) in [("user", Noun::User), ("service-account", Noun::ServiceAccount)] {
        let ids = views.iter().filter(|view| view.subject_kind == kind).map(|view| view.subject.as_str());
        names.learn(context, noun, ids).await;
    }
    for (kind, noun) in [("customer", Noun::Customer), ("team", Noun::Team)] {
        let ids = views.iter().filter(|view| view.scope_kind == kind).map(|view| view.scope.as_str());
        names.learn(context, noun, ids).await;
    }
    let named = |view: BindingView| {
        let (subject_name, scope_name) = (names.of(&view.subject), names.of(&view.scope));
        BindingView { subject_name, scope_name, ..view }
    };
    views.into_iter().map(named).collect()
}

impl BindingView {
    fn new(binding: v1::Binding, now: Timestamp) -> Self {
        let v1::Binding { id, role, expire_time, etag, create_time, subject, scope } = binding;
        let subject = Subject::new(subject);
        let (subject_kind, subject) = subject.as_ref().map_or(("unknown", ""), Subject::parts);
        let scope = Scope::new(scope);
        let (scope_kind, scope) = scope.parts();
        Self {
            id,
            role,
            subject_kind,
            subject: subject.to_owned(),
            subject_name: String::new(),
            scope_kind,
            scope: scope.to_owned(),
            scope_name: String::new(),
            expired: from_wire(expire_time.as_ref()).is_some_and(|end| end <= now),
            expire_time: printed(expire_time.as_ref()),
            etag,
            create_time: printed(create_time.as_ref()),
        }
    }
}

impl View for BindingView {
    const PLURAL: &'static str = "bindings";
    const LISTED: &'static [&'static str] = &["role", "subject", "scope", "expires", "id"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let joined = |kind: &str, name: &str| if name.is_empty() { kind.to_owned() } else { format!("{kind}/{name}") };
        let expires = self.expire_time.clone().unwrap_or_else(|| "never".to_owned());
        vec![
            ("role", self.role.clone()),
            ("subject", joined(self.subject_kind, &self.subject_name)),
            ("scope", joined(self.scope_kind, &self.scope_name)),
            ("expires", if self.expired { format!("{expires} (expired)") } else { expires }),
            ("id", self.id.clone()),
            ("etag", self.etag.clone()),
            ("created", self.create_time.clone().unwrap_or_default()),
        ]
    }
}
