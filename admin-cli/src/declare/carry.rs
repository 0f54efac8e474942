//! Carries out a plan, step by step. Each step changes one object, under the etag that the plan saw; a step that fails ends
//! the run, and what was done before it is reported.

mod access;

use std::collections::BTreeMap;

use prost_types::FieldMask;
use tollgate_proto::admin::v1;

use super::{
    document::STORED_PREFIX,
    plan::{Action, Call, Change, Plan, Step, Write},
    show::NewSecret,
};
use crate::{client::Client, failure::Failure};

/// Why a key is revoked, for the audit log.
const REASON: &str = "declared by tollgate apply";

/// What has been done so far.
#[derive(Default)]
pub(crate) struct Progress {
    /// How many steps changed something.
    pub(crate) applied: usize,
    /// The secrets of keys that were created.
    pub(crate) secrets: Vec<NewSecret>,
    /// What was remarked of rule files.
    pub(crate) remarks: Vec<String>,
    /// The newest etag of each provider that was written.
    etags: BTreeMap<String, String>,
}

/// Carries out every step.
pub(crate) async fn carry(client: &Client, plan: &Plan, progress: &mut Progress) -> Result<(), Failure> {
    let total = plan.steps.len();
    for (at, step) in plan.steps.iter().enumerate() {
        let Step { kind, name, action, changes, call } = step;
        let changed = Box::pin(progress.step(client, call.clone(), changes)).await.map_err(|failure| Failure {
            message: format!("step {} of {total}, {} {name}: {}", at + 1, kind.noun(), failure.message),
            ..failure
        })?;
        if changed || *action != Action::Compare {
            progress.applied += 1;
        }
    }
    Ok(())
}

impl Progress {
    /// Makes the calls of one step. Returns whether a compared secret turned out to be another one.
    async fn step(&mut self, client: &Client, call: Call, changes: &[Change]) -> Result<bool, Failure> {
        match call {
            Call::Customer(write) => customer(client, write).await?,
            Call::Team(write) => team(client, write).await?,
            Call::User(write) => user(client, write).await?,
            Call::Provider(write) => {
                let Some(provider) = provider(client, write).await? else { return Ok(false) };
                let replaced = changes.iter().any(|change| is_replaced(change, &provider));
                self.etags.insert(provider.id, provider.etag);
                return Ok(replaced);
            }
            Call::Trim { provider: id, credentials, etag } => {
                let etag = self.etags.remove(&id).unwrap_or(etag);
                let trimmed = v1::Provider { id, etag, credentials, ..v1::Provider::default() };
                provider(client, Write::Update(trimmed, vec!["credentials".to_owned()])).await?;
            }
            Call::Model(model, _) => drop(client.models().set_model(v1::SetModelRequest { model: Some(model) }).await?),
            Call::Route(write) => access::route(client, write).await?,
            Call::Guardrail(write) => {
                let (name, remarks) = access::guardrail(client, write).await?;
                self.remarks.extend(remarks.into_iter().map(|remark| format!("guardrail {name}: {remark}")));
            }
            Call::McpServer(write) => return access::mcp_server(client, write).await,
            Call::Role(write) => access::role(client, write).await?,
            Call::ServiceAccount(write) => access::service_account(client, write).await?,
            Call::Binding { ends, begins } => access::binding(client, ends, begins).await?,
            Call::ModelReset(model) => drop(client.models().reset_model(v1::ResetModelRequest { model }).await?),
            Call::Key { write, revoked, id } => self.key(client, write, revoked, id).await?,
        }
        Ok(false)
    }

    // What holds back comes first: a key is revoked before it is changed, and enabled only after.
    async fn key(
        &mut self,
        client: &Client,
        write: Option<Write<v1::Key>>,
        revoked: Option<bool>,
        id: String,
    ) -> Result<(), Failure> {
        let mut keys = client.keys();
        let mut etag = None;
        if revoked == Some(true) && !id.is_empty() {
            let request = v1::RevokeKeyRequest { key: id.clone(), reason: REASON.to_owned() };
            etag = Some(keys.revoke_key(request).await?.into_inner().etag);
        }
        match write {
            None => {}
            Some(Write::Create(key)) => {
                let v1::KeySecret { key, secret } =
                    keys.create_key(v1::CreateKeyRequest { key: Some(key) }).await?.into_inner();
                let v1::Key { id, name, .. } = key.unwrap_or_default();
                self.secrets.push(NewSecret { id: id.clone(), name, secret });
                if revoked == Some(true) {
                    keys.revoke_key(v1::RevokeKeyRequest { key: id, reason: REASON.to_owned() }).await?;
                }
                return Ok(());
            }
            Some(Write::Update(key, mask)) => {
                let key = v1::Key { etag: etag.unwrap_or(key.etag), ..key };
                keys.update_key(v1::UpdateKeyRequest { key: Some(key), update_mask: paths(mask) }).await?;
            }
            Some(Write::Delete { id, etag }) => {
                keys.delete_key(v1::DeleteKeyRequest { key: id, etag }).await?;
            }
        }
        if revoked == Some(false) {
            keys.enable_key(v1::EnableKeyRequest { key: id }).await?;
        }
        Ok(())
    }
}

async fn customer(client: &Client, write: Write<v1::Customer>) -> Result<(), Failure> {
    let mut customers = client.customers();
    match write {
        Write::Create(customer) => {
            customers.create_customer(v1::CreateCustomerRequest { customer: Some(customer) }).await?;
        }
        Write::Update(customer, mask) => {
            let request = v1::UpdateCustomerRequest { customer: Some(customer), update_mask: paths(mask) };
            customers.update_customer(request).await?;
        }
        Write::Delete { id, etag } => {
            customers.delete_customer(v1::DeleteCustomerRequest { customer: id, etag }).await?;
        }
    }
    Ok(())
}

async fn team(client: &Client, write: Write<v1::Team>) -> Result<(), Failure> {
    let mut teams = client.teams();
    match write {
        Write::Create(team) => {
            teams.create_team(v1::CreateTeamRequest { team: Some(team) }).await?;
        }
        Write::Update(team, mask) => {
            teams.update_team(v1::UpdateTeamRequest { team: Some(team), update_mask: paths(mask) }).await?;
        }
        Write::Delete { id, etag } => {
            teams.delete_team(v1::DeleteTeamRequest { team: id, etag }).await?;
        }
    }
    Ok(())
}

async fn user(client: &Client, write: Write<v1::User>) -> Result<(), Failure> {
    let mut users = client.users();
    match write {
        Write::Create(user) => {
            users.create_user(v1::CreateUserRequest { user: Some(user) }).await?;
        }
        Write::Update(user, mask) => {
            users.update_user(v1::UpdateUserRequest { user: Some(user), update_mask: paths(mask) }).await?;
        }
        Write::Delete { id, etag } => {
            users.delete_user(v1::DeleteUserRequest { user: id, etag }).await?;
        }
    }
    Ok(())
}

async fn provider(client: &Client, write: Write<v1::Provider>) -> Result<Option<v1::Provider>, Failure> {
    let mut providers = client.providers();
    let written = match write {
        Write::Create(provider) => {
            providers.create_provider(v1::CreateProviderRequest { provider: Some(provider) }).await?.into_inner()
        }
        Write::Update(provider, mask) => {
            let request = v1::UpdateProviderRequest { provider: Some(provider), update_mask: paths(mask) };
            providers.update_provider(request).await?.into_inner()
        }
        Write::Delete { id, etag } => {
            providers.delete_provider(v1::DeleteProviderRequest { provider: id, etag }).await?;
            return Ok(None);
        }
    };
    Ok(Some(written))
}

// A literal that was sent was another one when the fingerprint is another one now.
fn is_replaced(change: &Change, provider: &v1::Provider) -> bool {
    let name = change.field.strip_prefix("credentials.").and_then(|rest| rest.strip_suffix(".secret"));
    let before = change.from.as_str().and_then(|shown| shown.strip_prefix(STORED_PREFIX));
    let now = provider.credentials.iter().find(|credential| Some(credential.name.as_str()) == name);
    before.zip(now).is_some_and(|(before, now)| before != now.fingerprint)
}

fn paths(paths: Vec<String>) -> Option<FieldMask> {
    Some(FieldMask { paths })
}
