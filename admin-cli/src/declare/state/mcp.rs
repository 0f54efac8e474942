//! Servers of tools that the control plane has.

use tollgate_policy::mcp::{Pinning, Transport};
use tollgate_proto::admin::v1;

use super::{Existing, State};
use crate::{
    declare::document::mcp::{ApiDocument, Auth, McpServer, Price, Size, Timeout},
    literals::mcp,
};

impl State {
    pub(super) fn existing_mcp_server(&self, server: v1::McpServer) -> Existing<McpServer> {
        let (auth, document) = (Auth::held(&server), ApiDocument::held(&server.document));
        let v1::McpServer {
            id,
            name,
            disabled,
            url,
            allow_private,
            transport,
            auth: _,
            secret: _,
            reference: _,
            customers,
            teams,
            keys,
            tools,
            prompts,
            resources,
            prices,
            timeout,
            parallel,
            arguments_bytes,
            result_bytes,
            truncate,
            record_arguments,
            pinning,
            etag,
            create_time: _,
            update_time: _,
            health: _,
            oauth: _,
            document: _,
            secret_stored: _,
        } = server;
        let named = |references: Vec<String>| references.iter().map(|each| self.name_of(each)).collect();
        let usual = |said: String, word: &str| if said.is_empty() { word.to_owned() } else { said };
        let value = McpServer {
            name,
            // Another spelling of an address is no difference.
            url: Some(mcp::url(&url).unwrap_or(url)),
            document: Some(document),
            allow_private: Some(allow_private),
            transport: Some(usual(transport, Transport::default().word())),
            auth: Some(auth),
            customers: Some(named(customers)),
            teams: Some(named(teams)),
            keys: Some(keys),
            tools: Some(tools),
            prompts: Some(prompts),
            resources: Some(resources),
            prices: Some(prices.into_iter().map(Price::held).collect()),
            timeout: Some(timeout.map_or_else(Timeout::default, Timeout)),
            parallel: Some(parallel),
            arguments_max: Some(Size::held(arguments_bytes)),
            result_max: Some(Size::held(result_bytes)),
            truncate: Some(truncate),
            record_arguments: Some(record_arguments),
            pinning: Some(usual(pinning, Pinning::default().word())),
            disabled: Some(disabled),
            ..McpServer::default()
        };
        Existing { id, etag, value: value.in_order() }
    }
}
