//! What is typed of the control plane as an OAuth client of a server.

use clap::Args;
use tollgate_proto::admin::v1;

use crate::literals::mcp::{SecretArgument, flow, issuer, scope};

/// The client that gets tokens for a server.
#[derive(Args, Debug, Default)]
pub(super) struct ClientArguments {
    /// Show it tokens that the control plane gets: client_credentials for itself, per_user where each user permits it, token_exchange for the caller's user
    #[arg(long, value_name = "FLOW", value_parser = flow, conflicts_with_all = ["bearer", "header"])]
    pub(super) oauth: Option<String>,
    /// The id of the client at the authorization server; with per_user and without one, the control plane registers itself
    #[arg(long, value_name = "ID")]
    pub(super) client_id: Option<String>,
    /// The secret of the client, as env://VARIABLE or file:///path of the control plane, or a literal; a literal is seen by other users of this machine
    #[arg(long, value_name = "SECRET", requires = "oauth")]
    pub(super) client_secret: Option<SecretArgument>,
    /// A scope that is asked for [may be repeated; none: what the server asks for]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = scope)]
    pub(super) scopes: Vec<String>,
    /// The authorization server, by its issuer URL [default: the one that the server names]
    #[arg(long, value_name = "URL", value_parser = issuer)]
    pub(super) authorization_server: Option<String>,
    /// What the tokens are for (RFC 8707) [default: the URL of the server]
    #[arg(long, value_name = "URI")]
    pub(super) resource_indicator: Option<String>,
    /// Whether no scope is asked for any more.
    #[arg(skip)]
    pub(super) is_scopeless: bool,
}

impl ClientArguments {
    /// Whether anything is said of the client.
    pub(super) const fn is_said(&self) -> bool {
        let Self { client_id, scopes, authorization_server, resource_indicator, is_scopeless, .. } = self;
        let has_scopes = *is_scopeless || !scopes.is_empty();
        has_scopes || client_id.is_some() || authorization_server.is_some() || resource_indicator.is_some()
    }

    /// A client with what is said of it here.
    pub(super) fn over(self, held: v1::McpOAuth) -> v1::McpOAuth {
        let Self { client_id, scopes, authorization_server, resource_indicator, is_scopeless, .. } = self;
        v1::McpOAuth {
            client_id: client_id.unwrap_or(held.client_id),
            scopes: if scopes.is_empty() && !is_scopeless { held.scopes } else { scopes },
            authorization_server: authorization_server.unwrap_or(held.authorization_server),
            resource: resource_indicator.unwrap_or(held.resource),
        }
    }
}
