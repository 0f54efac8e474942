//! The simulator's own endpoints, under `/simulator/`.

use crate::{
    behaviour::Behaviour,
    dialects::body,
    faults::Fault,
    server::{Shared, sha256},
};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

/// A planned failure as it is sent: the credential may be given itself, since a test knows it.
#[derive(Deserialize)]
struct Plan {
    #[serde(default)]
    credential: Option<String>,
    #[serde(flatten)]
    fault: Value,
}

/// Answers one call.
pub(crate) fn respond(shared: &Shared, method: &Method, path: &str, sent: &[u8]) -> (StatusCode, Bytes) {
    match (method.as_str(), path) {
        ("GET", "ledger") => (StatusCode::OK, body(&json!({"entries": shared.ledger.entries()}))),
        ("DELETE", "ledger") => {
            shared.ledger.clear();
            (StatusCode::NO_CONTENT, Bytes::new())
        }
        ("GET", "faults") => (StatusCode::OK, body(&json!({"faults": shared.faults.planned()}))),
        ("DELETE", "faults") => {
            shared.faults.clear();
            (StatusCode::NO_CONTENT, Bytes::new())
        }
        ("POST", "faults") => match plan(shared, sent) {
            Ok(fault) => (StatusCode::CREATED, body(&json!(fault))),
            Err(problem) => (StatusCode::BAD_REQUEST, body(&json!({"error": problem}))),
        },
        _ => {
            let problem =
                "The simulator has GET and DELETE /simulator/ledger, and GET, POST and DELETE /simulator/faults.";
            (StatusCode::NOT_FOUND, body(&json!({"error": problem})))
        }
    }
}

fn plan(shared: &Shared, sent: &[u8]) -> Result<Fault, String> {
    let unclear = |error: serde_json::Error| format!("The fault is not clear: {error}.");
    let Plan { credential, fault } = serde_json::from_slice(sent).map_err(unclear)?;
    let mut fault: Fault = serde_json::from_value(fault).map_err(unclear)?;
    if let Some(credential) = credential {
        fault.credential_sha256 = Some(sha256(credential.as_bytes()));
    }
    fault.apply(&mut Behaviour::default()).map_err(|problem| problem.to_string())?;
    if shared.faults.plan(fault.clone()) { Ok(fault) } else { Err("Too many faults are planned.".to_owned()) }
}
