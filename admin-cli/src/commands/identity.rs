//! `tollgate whoami` and `tollgate check`.

use serde::Serialize;
use tollgate_proto::admin::v1;

use super::{
    Context,
    names::{Names, Noun},
};
use crate::{
    failure::Failure,
    output::{Answer, Format, View},
};

/// The caller as it is shown.
#[derive(Serialize)]
struct CallerView {
    principal: String,
    /// The user behind the principal, if it is one.
    user: Option<String>,
    permissions: Vec<String>,
    version: String,
}

/// The state of the control plane as it is shown.
#[derive(Serialize)]
struct StateView {
    version: String,
    database: String,
    revision: i64,
    replicas_connected: i32,
    replicas_behind: i32,
    warnings: Vec<String>,
}

/// Shows whose token this is.
pub(crate) async fn whoami(context: &Context) -> Result<Answer, Failure> {
    let v1::WhoAmIResponse { principal, permissions, version } =
        context.client.identity().who_am_i(v1::WhoAmIRequest {}).await?.into_inner();
    let mut names = Names::default();
    let id = principal.strip_prefix("user/");
    names.learn(context, Noun::User, id).await;
    let user = id.map(|id| names.of(id));
    context.format.item(&CallerView { principal, user, permissions, version })
}

/// Shows the state of the control plane; warnings also go to standard error when people read.
pub(crate) async fn check(context: &Context) -> Result<Answer, Failure> {
    let v1::CheckResponse { version, database, revision, replicas_connected, replicas_behind, warnings } =
        context.client.identity().check(v1::CheckRequest {}).await?.into_inner();
    let view = StateView { version, database, revision, replicas_connected, replicas_behind, warnings };
    let mut answer = context.format.item(&view)?;
    if context.format == Format::Table {
        answer.notes.extend(view.warnings.iter().map(|warning| format!("warning: {warning}")));
    }
    Ok(answer)
}

impl View for CallerView {
    const PLURAL: &'static str = "callers";
    const LISTED: &'static [&'static str] = &["principal"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let permissions = if self.permissions == ["*"] { "all".to_owned() } else { self.permissions.join(" ") };
        vec![
            ("principal", self.principal.clone()),
            ("user", self.user.clone().unwrap_or_default()),
            ("permissions", permissions),
            ("control plane", self.version.clone()),
        ]
    }
}

impl View for StateView {
    const PLURAL: &'static str = "control planes";
    const LISTED: &'static [&'static str] = &["version"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("version", self.version.clone()),
            ("database", self.database.clone()),
            ("revision", self.revision.to_string()),
            ("replicas connected", self.replicas_connected.to_string()),
            ("replicas behind", self.replicas_behind.to_string()),
            ("warnings", self.warnings.len().to_string()),
        ]
    }
}
