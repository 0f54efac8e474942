//! How tokens are taken back: here in the transaction of whatever ends them, so that replicas drop theirs with the next push, and at the
//! authorization server afterwards (RFC 7009), as far as that can be reached.

use std::{sync::Arc, time::Duration};

use super::{
    McpOAuth,
    client::Client,
    request::{self, Tokens},
};
use crate::store::{
    StoreError, Txn,
    mcp::{
        McpServer,
        grants::{Ending, McpGrant, client_place},
    },
};

/// For how long authorization servers are told of what one call ended.
const TELLING_MAX: Duration = Duration::from_secs(60);

/// Tokens that were taken back here.
#[derive(Debug)]
pub struct Ended {
    /// The grant.
    pub grant: McpGrant,
    server: McpServer,
    // Both as far as they were there and could be read.
    client: Option<Client>,
    tokens: Option<Tokens>,
}

impl McpOAuth {
    /// Ends grants in the transaction that took the revision. The caller's entry tells of it; [`Self::tell`] is called after the commit.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end(&self, txn: &mut Txn, which: Ending<'_>, revision: i64) -> Result<Vec<Ended>, StoreError> {
        let mut ended: Vec<Ended> = Vec::new();
        for sealed in txn.mcp_grants_end(which, revision).await? {
            let known = ended.iter().find(|other| other.server.id == sealed.grant.server);
            let (server, client) = match known {
                Some(known) => (known.server.clone(), known.client.clone()),
                None => {
                    let found = txn.mcp_server_find(sealed.grant.server.as_str()).await?;
                    let server = found.ok_or(StoreError::Missing)?;
                    // What cannot be read keeps nobody from ending it here.
                    let client = match self.known_client(txn, &server).await {
                        Ok((Some(configured), _)) => configured.ok(),
                        Ok((None, registered)) => registered.map(|registered| registered.client()),
                        Err(error @ (StoreError::Seal(_) | StoreError::Corrupt { .. } | StoreError::Missing)) => {
                            tracing::error!(%error, server = %server.name, "failed to read a client of a server of tools");
                            None
                        }
                        Err(error) => return Err(error),
                    };
                    (server, client)
                }
            };
            let tokens = sealed.tokens.as_ref().map(|tokens| self.open_tokens(&sealed.grant, tokens));
            let tokens = tokens.transpose().unwrap_or_else(|error| {
                tracing::error!(%error, grant = sealed.grant.id, "failed to read tokens that were taken back");
                None
            });
            ended.push(Ended { grant: sealed.grant, server, client, tokens });
        }
        Ok(ended)
    }

    /// Forgets what is kept for a server besides grants: before it is deleted, or where it becomes another one.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget(&self, txn: &mut Txn, server: &McpServer) -> Result<(), StoreError> {
        txn.secret_delete(client_place(server.id.as_str())).await
    }

    /// Tells authorization servers of what was ended, off the way of whoever ended it.
    pub fn tell(self: &Arc<Self>, ended: Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        let Ok(place) = Arc::clone(&self.endings).try_acquire_owned() else {
            tracing::warn!(
                grants = ended.len(),
                "authorization servers are not told of grants that ended: too many end at a time"
            );
            return;
        };
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            let telling = async {
                for Ended { server, client, tokens, .. } in &ended {
                    if let Some((client, tokens)) = client.as_ref().zip(tokens.as_ref()) {
                        this.take_back(server, client, tokens).await;
                    }
                }
            };
            if tokio::time::timeout(TELLING_MAX, telling).await.is_err() {
                tracing::warn!("authorization servers were not told of every grant that ended: they took too long");
            }
            drop(place);
        });
    }

    /// Has tokens taken back where they come from. What cannot be reached is left alone: the tokens are gone here.
    pub(super) async fn take_back(&self, server: &McpServer, client: &Client, tokens: &Tokens) {
        let told = async {
            let found = self.discovery.find(server).await?;
            super::broker::ensure_trusted(server, client)?;
            let outbound = self.discovery.outbound(server.allow_private);
            // RFC 7009, 2.1: with the refresh token go the access tokens, at most authorization servers; the other way round at few.
            if let Some(refresh) = &tokens.refresh {
                request::revoke(outbound, &found.authorization, client, refresh, "refresh_token").await?;
            }
            request::revoke(outbound, &found.authorization, client, &tokens.access, "access_token").await
        };
        if let Err(fault) = told.await {
            tracing::warn!(server = %server.name, %fault, "failed to have a token taken back by its authorization server");
        }
    }
}
