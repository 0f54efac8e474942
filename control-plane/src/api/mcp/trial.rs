//! Whether replicas can use a server: they ask it at once, each from where it is.
//!
//! A test is a change of policy, the only word that reaches every replica whichever control plane it follows. What a replica then finds comes back
//! as its observations do, and names the test that it answers.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollgate_policy::mcp::Transport;
use tollgate_proto::admin::v1;

use super::{
    super::{Admin, authorize::Authorized, failure::Failure, violations::Violations, wire},
    find, locked, shown, target,
};
use crate::{
    change::{Change, Done},
    clock,
    store::mcp::{McpServer, observations::Finding},
};

/// How long replicas have, and may be given: less than a call may take.
const WAIT_DEFAULT: Duration = Duration::from_secs(10);
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How often it is looked whether they have told.
const LOOK_EVERY: Duration = Duration::from_millis(100);

impl Admin {
    /// Lets a server be tested, and waits until every replica that follows has told, or for as long as was asked.
    pub(super) async fn mcp_server_test(
        &self,
        by: &Authorized,
        message: v1::TestMcpServerRequest,
    ) -> Result<v1::TestMcpServerResponse, Failure> {
        let mut violations = Violations::default();
        let wait = wait(message.wait, &mut violations);
        let until = Instant::now() + violations.finish(wait)?;
        let mut change = Change::begin(&self.store, by).await?;
        let server = locked(&mut change.txn, &message.mcp_server).await?;
        if server.disabled {
            let sentence = format!("'{}' is switched off, and so is asked by nobody: enable it first", server.name);
            return Err(Failure::Blocked { subject: target(&server), sentence });
        }
        let test = match is_asked(&server) {
            true => {
                let test = change.txn.mcp_server_test(&server.id, change.revision).await?;
                let target = target(&server);
                change.finish(Done { target: &target, ..Done::default() }).await?;
                Some(test)
            }
            false => {
                drop(change);
                None
            }
        };
        loop {
            let mut txn = self.store.begin_read().await?;
            let found = txn.mcp_findings(&server.id, clock::now_ms()).await?;
            let has_told = |finding: &Finding| test.is_none_or(|test| finding.tests >= test);
            if found.iter().all(has_told) || Instant::now() >= until {
                let server = find(&mut txn, server.id.as_str()).await?;
                let mcp_server = Some(shown(&mut txn, &server).await?);
                let findings = found.into_iter().map(|finding| written(finding, test)).collect();
                return Ok(v1::TestMcpServerResponse { mcp_server, findings });
            }
            txn.end().await?;
            sleep(LOOK_EVERY).await;
        }
    }
}

// One that is another to each user is asked with the tokens of those who use it, and a document says nothing new.
fn is_asked(server: &McpServer) -> bool {
    !server.auth.is_per_user() && server.transport != Transport::OpenApi
}

fn wait(wait: Option<prost_types::Duration>, violations: &mut Violations) -> Option<Duration> {
    let Some(wait) = wait else { return Some(WAIT_DEFAULT) };
    let wait = Duration::try_from(wait).ok().filter(|wait| (WAIT_MIN..=WAIT_MAX).contains(wait));
    violations.take("wait", wait.ok_or("must be between 1 and 20 seconds"))
}

fn written(finding: Finding, test: Option<i64>) -> v1::McpServerFinding {
    let Finding { replica, region, tests, problem, protocol, software, time } = finding;
    v1::McpServerFinding {
        replica,
        region,
        asked: test.is_some_and(|test| tests >= test),
        problem,
        protocol,
        software,
        observe_time: time.map(wire::timestamp),
    }
}
