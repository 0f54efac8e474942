//! What users permitted, and the tokens that the control plane got for itself: listed without any of them, and taken back.

use std::collections::HashMap;

use serde_json::json;
use tollgate_policy::{
    id::{McpServerId, UserId},
    mcp::McpAuth,
    rbac::Place,
};
use tollgate_proto::admin::v1;

use super::super::{
    Admin, authorize::Authorized, failure::Failure, filter::Filter, page::Page, users, violations::Violations, wire,
};
use crate::{
    change::{Change, Done},
    observe::target,
    store::{
        Txn,
        mcp::{
            McpServer,
            grants::{Ending, McpGrant, McpGrantFilter},
        },
        organisation::User,
    },
};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;

impl Admin {
    pub(super) async fn mcp_grant_list(
        &self,
        by: &Authorized,
        message: v1::ListMcpGrantsRequest,
    ) -> Result<v1::ListMcpGrantsResponse, Failure> {
        let v1::ListMcpGrantsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("mcp-grants", &filter, page_size, &page_token, &mut violations);
        let mut terms = Filter::read(&filter, &["server", "user"], &mut violations);
        let mut txn = self.store.begin_read().await?;
        let server = match terms.text("server") {
            Some(named) => {
                let server = txn.mcp_server_find(&named).await?.ok_or("names a server that does not exist");
                violations.take("filter", server).map(|server| server.id)
            }
            None => None,
        };
        let user = match terms.text("user") {
            Some(named) => {
                let user = users::find(&mut txn, by, &named).await.map_err(|_| "names a user that does not exist");
                violations.take("filter", user).map(|user| user.id)
            }
            None => None,
        };
        let filter = violations.finish(Some(McpGrantFilter { server, user, reach: by.reach() }))?;
        let rows = txn.mcp_grant_list(&filter, page.after.as_deref(), page.limit()).await?;
        let mut servers = HashMap::new();
        for row in &rows {
            if !servers.contains_key(row.server.as_str()) {
                let name = txn.mcp_server_find(row.server.as_str()).await?.map(|server| server.name.to_string());
                servers.insert(row.server.to_string(), name.unwrap_or_default());
            }
        }
        txn.end().await?;
        let written = |row: &McpGrant| written(row, servers.get(row.server.as_str()));
        let (mcp_grants, next_page_token) = page.write(&rows, written, |row| row.id.clone());
        Ok(v1::ListMcpGrantsResponse { mcp_grants, next_page_token })
    }

    pub(super) async fn mcp_grant_revoke(
        &self,
        by: &Authorized,
        message: v1::RevokeMcpGrantRequest,
    ) -> Result<(), Failure> {
        let v1::RevokeMcpGrantRequest { mcp_server, user, reason } = message;
        let mut violations = Violations::default();
        let reason = wire::prose("reason", &reason, REASON_MAX, &mut violations);
        let reason = violations.finish(reason)?;
        let mut change = Change::begin(&self.store, by).await?;
        // Somebody who may end what is theirs need not be one who may see every server.
        let server = super::find(&mut change.txn, &mcp_server).await?;
        let user = holder(&mut change.txn, by, &server, &user).await?;
        let holder = user.as_ref().map(|user| &user.id);
        let ended = self.fleet.mcp().end(&mut change.txn, Ending::One(&server.id, holder), change.revision).await?;
        let Some(grant) = ended.first().map(|ended| &ended.grant) else { return Ok(()) };
        let told = wire::fields([
            ("server", json!(server.name.as_str())),
            ("user", json!(holder.map(UserId::as_str))),
            ("issuer", json!(grant.issuer)),
        ]);
        let action = Some("mcp-grant.disconnect");
        change.finish(Done { target: &target(&server), reason: &reason, action, told, ..Done::default() }).await?;
        self.fleet.mcp().tell(ended);
        Ok(())
    }
}

// Whose grant is meant: that of the user who is named, else of the caller, else the server's own. What is out of reach is not there.
async fn holder(txn: &mut Txn, by: &Authorized, server: &McpServer, named: &str) -> Result<Option<User>, Failure> {
    let own = by.user().filter(|_| server.auth != McpAuth::ClientCredentials).map(UserId::as_str);
    match Some(named).filter(|named| !named.is_empty()).or(own) {
        Some(named) => Ok(Some(users::find(txn, by, named).await?)),
        None if by.reaches(&Place::default()) => Ok(None),
        None => Err(Failure::NotFound { kind: McpServerId::NOUN, name: wire::shown(server.name.as_str()) }),
    }
}

fn written(grant: &McpGrant, server: Option<&String>) -> v1::McpGrant {
    let McpGrant {
        id,
        server: _,
        user,
        issuer,
        client: _,
        scopes,
        problem,
        renewable,
        expire_time,
        generation: _,
        claim_time: _,
        create_time,
        refresh_time,
    } = grant;
    v1::McpGrant {
        id: id.clone(),
        server: server.cloned().unwrap_or_default(),
        user: user.as_ref().map(ToString::to_string).unwrap_or_default(),
        state: if problem.is_empty() { "good" } else { "broken" }.to_owned(),
        problem: problem.clone(),
        issuer: issuer.clone(),
        scopes: scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        renewable: *renewable,
        expire_time: (*expire_time > 0).then(|| wire::timestamp(*expire_time)),
        create_time: Some(wire::timestamp(*create_time)),
        refresh_time: (*refresh_time > 0).then(|| wire::timestamp(*refresh_time)),
    }
}
