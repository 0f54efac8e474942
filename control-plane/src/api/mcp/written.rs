//! A server of tools as the log and the wire have it.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_audit::Fields;
use tollgate_policy::id::{CustomerId, TeamId};
use tollgate_proto::admin::v1;

use super::{super::wire, oauth};
use crate::store::{
    guardrails::Owners,
    mcp::{McpServer, Priced, ServerCredential, observations::Health},
};

/// The server as the log may show it: of its secret a fingerprint, or where it is found; of its document the hash.
pub(super) fn fields_of(server: &McpServer) -> Fields {
    let McpServer {
        id: _,
        name,
        disabled,
        url,
        document,
        allow_private,
        transport,
        auth,
        credential,
        oauth,
        grants,
        owners: Owners { customers, teams },
        keys,
        tools,
        prompts,
        resources,
        prices,
        timeout_ms,
        parallel,
        arguments_bytes,
        result_bytes,
        truncate,
        record_arguments,
        pinning,
        stamp: _,
    } = server;
    let credential = credential.as_ref().map(|ServerCredential { id, reference, fingerprint }| {
        json!({ "id": id.as_str(), "reference": reference, "fingerprint": fingerprint })
    });
    let document = document
        .as_ref()
        .map(|document| json!({ "sha256": hex::encode(Sha256::digest(document)), "bytes": document.len() }));
    let price = |Priced { tools, call }: &Priced| json!({ "tools": tools, "call_nano_usd": call.get() });
    wire::fields([
        ("name", json!(name.as_str())),
        ("disabled", json!(disabled)),
        ("url", json!(url)),
        ("allow_private", json!(allow_private)),
        ("transport", json!(transport.word())),
        ("auth", json!(auth.text())),
        ("credential", json!(credential)),
        ("oauth", json!(oauth)),
        ("grants", json!(grants)),
        ("document", json!(document)),
        ("customers", customers.iter().map(|id| Value::from(id.as_str())).collect()),
        ("teams", teams.iter().map(|id| Value::from(id.as_str())).collect()),
        ("keys", json!(keys)),
        ("tools", json!(tools)),
        ("prompts", json!(prompts)),
        ("resources", json!(resources)),
        ("prices", prices.iter().map(price).collect()),
        ("timeout_ms", json!(timeout_ms)),
        ("parallel", json!(parallel)),
        ("arguments_bytes", json!(arguments_bytes)),
        ("result_bytes", json!(result_bytes)),
        ("truncate", json!(truncate)),
        ("record_arguments", json!(record_arguments)),
        ("pinning", json!(pinning.word())),
    ])
}

/// The server on the wire, without its secret.
pub(super) fn written(server: &McpServer, health: Option<&Health>) -> v1::McpServer {
    let McpServer {
        id,
        name,
        disabled,
        url,
        document,
        allow_private,
        transport,
        auth,
        credential,
        oauth,
        grants: _,
        owners: Owners { customers, teams },
        keys,
        tools,
        prompts,
        resources,
        prices,
        timeout_ms,
        parallel,
        arguments_bytes,
        result_bytes,
        truncate,
        record_arguments,
        pinning,
        stamp,
    } = server;
    let reference = credential.as_ref().and_then(|credential| credential.reference.clone());
    let price = |Priced { tools, call }: &Priced| v1::ToolPrice { tools: tools.clone(), call_nano_usd: call.get() };
    let timeout = Duration::from_millis(timeout_ms.unsigned_abs());
    v1::McpServer {
        id: id.to_string(),
        name: name.to_string(),
        disabled: *disabled,
        url: url.clone(),
        allow_private: *allow_private,
        transport: transport.word().to_owned(),
        auth: auth.text(),
        secret: String::new(),
        reference: reference.unwrap_or_default(),
        customers: customers.iter().map(CustomerId::to_string).collect(),
        teams: teams.iter().map(TeamId::to_string).collect(),
        keys: keys.clone(),
        tools: tools.clone(),
        prompts: prompts.clone(),
        resources: resources.clone(),
        prices: prices.iter().map(price).collect(),
        timeout: prost_types::Duration::try_from(timeout).ok(),
        parallel: *parallel,
        arguments_bytes: *arguments_bytes,
        result_bytes: *result_bytes,
        truncate: *truncate,
        record_arguments: *record_arguments,
        pinning: pinning.word().to_owned(),
        etag: wire::etag(stamp),
        create_time: Some(wire::timestamp(stamp.create_time)),
        update_time: Some(wire::timestamp(stamp.update_time)),
        health: Some(health.map(health_of).unwrap_or_default()),
        oauth: oauth.as_ref().map(oauth::written),
        document: document.clone().unwrap_or_default(),
        secret_stored: credential.as_ref().is_some_and(|credential| credential.reference.is_none()),
        // Whoever shows one server alone says it.
        left_out: Vec::new(),
    }
}

fn health_of(health: &Health) -> v1::McpServerHealth {
    let Health { replicas, failing, problem, protocol, software, observe_time, tools, pending } = health;
    let count = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
    v1::McpServerHealth {
        replicas: count(*replicas),
        failing: count(*failing),
        problem: problem.clone(),
        protocol: protocol.clone(),
        software: software.clone(),
        observe_time: observe_time.map(wire::timestamp),
        tools: count(*tools),
        pending: count(*pending),
    }
}
