//! Tells the control plane what was found at servers of tools: when it changes, and once an hour, so that it is known who is still there. What nobody
//! took is told again.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;
use tollgate_mcp::Kind;
use tollgate_policy::id::McpServerId;
use tollgate_proto::fleet::v1::{ObserveRequest, ObservedTool, fleet_service_client::FleetServiceClient};

use super::{
    servers::{Server, Servers},
    wire::Unreached,
};
use crate::{backoff::Backoff, membership::Link};

/// How often what has not changed is told.
const TELL_EVERY: Duration = Duration::from_secs(3_600);
/// How long telling may take.
const TELL_MAX: Duration = Duration::from_secs(15);
/// Between attempts, with jitter.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// The most tools of a server that are told, and the most bytes of their definitions: one message.
const TOOLS_MAX: usize = 2_000;
const TOOLS_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Tells what is found. There is one in a replica.
pub(crate) struct Observer {
    link: Link,
    servers: Arc<Servers>,
    asked: watch::Receiver<u64>,
    // What was told of each server, and when.
    told: HashMap<McpServerId, ([u8; 32], Instant)>,
    // Why it was not taken last.
    problem: Option<String>,
}

impl Observer {
    /// Tells over a link what is found whenever servers were asked.
    pub(crate) fn new(link: Link, servers: Arc<Servers>, asked: watch::Receiver<u64>) -> Self {
        Self { link, servers, asked, told: HashMap::new(), problem: None }
    }

    /// Runs until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_LONGEST);
        loop {
            self.asked.mark_unchanged();
            let is_told = tokio::select! {
                is_told = self.tell() => is_told,
                () = stop.cancelled() => return,
            };
            let wait = if is_told {
                backoff.reset();
                TELL_EVERY
            } else {
                backoff.next()
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                changed = self.asked.changed(), if is_told => if changed.is_err() { return },
            }
        }
    }

    // Tells whatever is new; false: not all of it was taken.
    async fn tell(&mut self) -> bool {
        let all = self.servers.all();
        self.told.retain(|id, _| all.contains_key(id));
        let mut is_told = true;
        for (id, server) in all.iter() {
            let is_per_user = server.problem() == Some(Unreached::Nobody);
            let found = if is_per_user {
                found_by_users(id, &self.servers.people().of(id))
            } else {
                Vec::from_iter(found(id, server))
            };
            let digest = digest(&found);
            let is_known = self.told.get(id).is_some_and(|(told, at)| *told == digest && at.elapsed() < TELL_EVERY);
            if found.is_empty() || is_known {
                continue;
            }
            match self.send(found).await {
                Ok(()) => {
                    self.told.insert(id.clone(), (digest, Instant::now()));
                    self.problem = None;
                }
                Err(problem) => {
                    is_told = false;
                    // Once: without a control plane it is the same at each attempt.
                    if self.problem.as_ref() != Some(&problem) {
                        let server = server.name.as_str();
                        tracing::warn!(server, problem, "what was found at a server of tools was not told");
                        self.problem = Some(problem);
                    }
                }
            }
        }
        is_told
    }

    async fn send(&self, found: Vec<ObserveRequest>) -> Result<(), String> {
        if !self.link.is_member() {
            return Err("not a member of the fleet yet".into());
        }
        let mut client = FleetServiceClient::new(self.link.channel());
        for part in found {
            match timeout(TELL_MAX, client.observe(self.link.request(part))).await {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => return Err(status.message().to_owned()),
                Err(_) => return Err("no answer".into()),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("told", &self.told.len()).finish_non_exhaustive()
    }
}

// What was found at a server; nothing before it was asked.
fn found(id: &McpServerId, server: &Server) -> Option<ObserveRequest> {
    // First, so that an answer to a test is never what was found before it.
    let tests = server.tested();
    let (catalogue, problem) = (server.catalogue(), server.problem());
    if catalogue.is_none() && problem.is_none() {
        return None;
    }
    let mut found = ObserveRequest {
        server: id.to_string(),
        url: server.url.to_string(),
        problem: problem.map(|problem| problem.to_string()).unwrap_or_default(),
        tests,
        ..ObserveRequest::default()
    };
    if let Some(catalogue) = catalogue {
        let tools = catalogue.list(Kind::Tool);
        let bytes: usize = tools.iter().map(|tool| tool.json().as_str().len()).sum();
        found.protocol = catalogue.revision.word().to_owned();
        found.software.clone_from(&catalogue.software);
        found.complete = tools.len() <= TOOLS_MAX && bytes <= TOOLS_BYTES_MAX;
        if found.complete {
            let tool = |tool: &tollgate_mcp::Definition| ObservedTool {
                name: tool.name().to_owned(),
                definition: tool.json().as_str().to_owned().into_bytes().into(),
            };
            found.tools = tools.iter().map(tool).collect();
        } else {
            tracing::warn!(server = server.name.as_str(), tools = tools.len(), bytes, "too many tools to be approved");
        }
    }
    Some(found)
}

// What was found where each user has a server of their own: the tools of all of them, since what one user does not have another one may. A tool that
// is not the same to all is told in as many parts as there are definitions of it.
fn found_by_users(id: &McpServerId, servers: &[Arc<Server>]) -> Vec<ObserveRequest> {
    let each: Vec<_> = servers.iter().filter_map(|server| found(id, server)).collect();
    let of_server: Vec<_> =
        servers.iter().filter_map(|server| server.problem()).filter(|problem| !problem.is_of_user()).collect();
    let is_down = each.len() == of_server.len();
    let mut parts: Vec<BTreeMap<String, ObservedTool>> = vec![BTreeMap::new()];
    let mut bytes = 0;
    for tool in each.iter().flat_map(|found| &found.tools) {
        let is_there = |part: &BTreeMap<String, ObservedTool>| {
            part.get(&tool.name).is_some_and(|there| there.definition == tool.definition)
        };
        bytes += tool.definition.len();
        if parts.iter().any(is_there) || bytes > TOOLS_BYTES_MAX {
            continue;
        }
        let free = parts.iter().position(|part| !part.contains_key(&tool.name) && part.len() < TOOLS_MAX);
        match free.and_then(|at| parts.get_mut(at)) {
            Some(part) => drop(part.insert(tool.name.clone(), tool.clone())),
            None => parts.push([(tool.name.clone(), tool.clone())].into()),
        }
    }
    let Some(one) = each.iter().find(|found| !found.protocol.is_empty()).or_else(|| each.first()) else {
        return Vec::new();
    };
    let part = |tools: BTreeMap<String, ObservedTool>| ObserveRequest {
        problem: of_server.first().filter(|_| is_down).map(ToString::to_string).unwrap_or_default(),
        complete: false,
        tools: tools.into_values().collect(),
        ..one.clone()
    };
    parts.into_iter().map(part).collect()
}

fn digest(found: &[ObserveRequest]) -> [u8; 32] {
    found.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part.encode_to_vec())).finalize().into()
}
