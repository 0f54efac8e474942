//! Carries out what is planned of routes, guardrails, servers of tools, roles, service accounts and bindings.

use tollgate_proto::admin::v1;

use super::paths;
use crate::{client::Client, declare::plan::Write, failure::Failure};

pub(super) async fn route(client: &Client, write: Write<v1::Route>) -> Result<(), Failure> {
    let mut routes = client.routes();
    match write {
        Write::Create(route) => {
            routes.create_route(v1::CreateRouteRequest { route: Some(route) }).await?;
        }
        Write::Update(route, mask) => {
            routes.update_route(v1::UpdateRouteRequest { route: Some(route), update_mask: paths(mask) }).await?;
        }
        Write::Delete { id, etag } => {
            routes.delete_route(v1::DeleteRouteRequest { route: id, etag }).await?;
        }
    }
    Ok(())
}

/// Returns the name, and what was remarked of the rules.
pub(super) async fn guardrail(client: &Client, write: Write<v1::Guardrail>) -> Result<(String, Vec<String>), Failure> {
    let mut guardrails = client.guardrails();
    let (written, remarks) = match write {
        Write::Create(guardrail) => {
            let request = v1::CreateGuardrailRequest { guardrail: Some(guardrail) };
            let answer = guardrails.create_guardrail(request).await?.into_inner();
            (answer.guardrail, answer.remarks)
        }
        Write::Update(guardrail, mask) => {
            let request = v1::UpdateGuardrailRequest { guardrail: Some(guardrail), update_mask: paths(mask) };
            let answer = guardrails.update_guardrail(request).await?.into_inner();
            (answer.guardrail, answer.remarks)
        }
        Write::Delete { id, etag } => {
            guardrails.delete_guardrail(v1::DeleteGuardrailRequest { guardrail: id, etag }).await?;
            (None, Vec::new())
        }
    };
    Ok((written.unwrap_or_default().name, remarks))
}

/// Returns whether something became another: the etag stays where a literal secret is the one that was there.
pub(super) async fn mcp_server(client: &Client, write: Write<v1::McpServer>) -> Result<bool, Failure> {
    let mut servers = client.mcp();
    match write {
        Write::Create(server) => {
            servers.create_mcp_server(v1::CreateMcpServerRequest { mcp_server: Some(server) }).await?;
            Ok(true)
        }
        Write::Update(server, mask) => {
            let before = server.etag.clone();
            let request = v1::UpdateMcpServerRequest { mcp_server: Some(server), update_mask: paths(mask) };
            Ok(servers.update_mcp_server(request).await?.into_inner().etag != before)
        }
        Write::Delete { id, etag } => {
            servers.delete_mcp_server(v1::DeleteMcpServerRequest { mcp_server: id, etag }).await?;
            Ok(true)
        }
    }
}

pub(super) async fn role(client: &Client, write: Write<v1::Role>) -> Result<(), Failure> {
    let mut roles = client.roles();
    match write {
        Write::Create(role) => {
            roles.create_role(v1::CreateRoleRequest { role: Some(role) }).await?;
        }
        Write::Update(role, mask) => {
            roles.update_role(v1::UpdateRoleRequest { role: Some(role), update_mask: paths(mask) }).await?;
        }
        Write::Delete { id, etag } => {
            roles.delete_role(v1::DeleteRoleRequest { role: id, etag }).await?;
        }
    }
    Ok(())
}

pub(super) async fn service_account(client: &Client, write: Write<v1::ServiceAccount>) -> Result<(), Failure> {
    let mut accounts = client.service_accounts();
    match write {
        Write::Create(account) => {
            let request = v1::CreateServiceAccountRequest { service_account: Some(account) };
            accounts.create_service_account(request).await?;
        }
        Write::Update(account, mask) => {
            let service_account = Some(account);
            let request = v1::UpdateServiceAccountRequest { service_account, update_mask: paths(mask) };
            accounts.update_service_account(request).await?;
        }
        Write::Delete { id: service_account, etag } => {
            accounts.delete_service_account(v1::DeleteServiceAccountRequest { service_account, etag }).await?;
        }
    }
    Ok(())
}

/// One of a role, a subject and a scope is allowed, so the old one goes first.
pub(super) async fn binding(
    client: &Client,
    ends: Option<(String, String)>,
    begins: Option<v1::Binding>,
) -> Result<(), Failure> {
    let mut bindings = client.bindings();
    if let Some((binding, etag)) = ends {
        bindings.delete_binding(v1::DeleteBindingRequest { binding, etag }).await?;
    }
    if begins.is_some() {
        bindings.create_binding(v1::CreateBindingRequest { binding: begins }).await?;
    }
    Ok(())
}
