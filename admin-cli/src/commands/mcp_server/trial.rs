//! Whether the replicas can use a server of tools, asked at once; and what to do where they cannot.

use clap::Args;
use serde::Serialize;
use tollgate_policy::mcp::{McpAuth, Transport};
use tollgate_proto::admin::v1;

use super::{get, health::HealthView};
use crate::{
    commands::{Context, text::for_terminal},
    failure::{Exit, Failure},
    literals::{mcp::patience, printed, reference},
    output::{Answer, Format, View},
};

/// Which server, and how long.
#[derive(Args, Debug)]
pub(crate) struct Test {
    /// The id or the name
    #[arg(value_parser = reference)]
    name: String,
    /// How long replicas have, at most 20s [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = patience)]
    wait: Option<prost_types::Duration>,
}

/// Who asks a server that is tested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Asker {
    /// Every replica, at once.
    Replicas,
    /// Nobody, since it is switched off.
    Nobody,
    /// Its users, each with a token of their own.
    Users,
    /// Those who call it: a document says what it offers.
    Callers,
}

/// What was found.
#[derive(Serialize)]
struct Trial {
    name: String,
    /// Whether some replica can use it.
    usable: bool,
    disabled: bool,
    url: String,
    reference: String,
    #[serde(flatten)]
    health: HealthView,
    findings: Vec<Finding>,
    #[serde(skip)]
    asker: Asker,
}

/// What one replica found.
#[derive(Serialize)]
struct Finding {
    replica: String,
    region: String,
    asked: bool,
    problem: String,
    protocol: String,
    software: String,
    observe_time: Option<String>,
}

impl Test {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self { name, wait } = self;
        let server = get(context, name).await?;
        if server.disabled {
            return Trial::new(server, Vec::new()).answer(context.format);
        }
        let request = v1::TestMcpServerRequest { mcp_server: server.id, wait };
        let v1::TestMcpServerResponse { mcp_server, findings } =
            context.client.mcp().test_mcp_server(request).await?.into_inner();
        Trial::new(mcp_server.unwrap_or_default(), findings).answer(context.format)
    }
}

impl Asker {
    fn of(server: &v1::McpServer) -> Self {
        if server.disabled {
            Self::Nobody
        } else if McpAuth::parse(&server.auth).is_some_and(|auth| auth.is_per_user()) {
            Self::Users
        } else if server.transport == Transport::OpenApi.word() {
            Self::Callers
        } else {
            Self::Replicas
        }
    }
}

impl Trial {
    fn new(server: v1::McpServer, findings: Vec<v1::McpServerFinding>) -> Self {
        let asker = Asker::of(&server);
        let v1::McpServer { name, disabled, url, reference, health, .. } = server;
        let health = health.map(HealthView::from).unwrap_or_default();
        let findings: Vec<Finding> = findings.into_iter().map(Finding::from).collect();
        let usable = match asker {
            Asker::Nobody => false,
            Asker::Replicas => findings.iter().any(Finding::is_usable),
            Asker::Users | Asker::Callers => health.failing < health.replicas,
        };
        Self { name, usable, disabled, url, reference, health, findings, asker }
    }

    /// Shows it; the exit code says whether some replica can use it.
    fn answer(self, format: Format) -> Result<Answer, Failure> {
        let answer = format.item(&self)?;
        let answer = self.advice().into_iter().fold(answer, |answer, note| answer.note(for_terminal(&note)));
        Ok(Answer { exit: if self.usable { Exit::Done } else { Exit::Failed }, ..answer })
    }

    fn advice(&self) -> Vec<String> {
        let Self { name, url, reference, health, findings, asker, .. } = self;
        let mut advice = Vec::new();
        match asker {
            Asker::Nobody => advice.push(format!(
                "it is switched off, and so is not called: `tollgate mcp-server update {name} --enable`"
            )),
            Asker::Users => advice.push(
                "each user has a token of their own for it: it is asked when they use it, and what was found last is shown"
                    .to_owned(),
            ),
            Asker::Callers => advice.push(
                "its document says what it offers: nobody asks it, and calls of its tools tell whether it answers".to_owned(),
            ),
            Asker::Replicas if findings.is_empty() => advice
                .push("no replica follows this control plane at this moment: see `tollgate replica list`".to_owned()),
            Asker::Replicas => {}
        }
        for Finding { replica, asked, .. } in findings.iter().filter(|_| *asker == Asker::Replicas) {
            if !asked {
                advice.push(format!(
                    "the replica {replica} has not told in time what it finds: give it longer with --wait, and see its log"
                ));
            }
        }
        if findings.iter().any(|finding| finding.asked && !finding.problem.is_empty()) {
            let secret =
                if reference.is_empty() { String::new() } else { format!(" and finds the secret at {reference}") };
            advice.push(format!("see that each of the replicas that cannot use it reaches {url}{secret}"));
        }
        if health.pending > 0 {
            advice.push(format!(
                "{} of its tools wait for an approval: `tollgate mcp-tool list --mcp-server {name} --state pending`",
                health.pending
            ));
        }
        advice
    }
}

impl From<v1::McpServerFinding> for Finding {
    fn from(finding: v1::McpServerFinding) -> Self {
        let v1::McpServerFinding { replica, region, asked, problem, protocol, software, observe_time } = finding;
        let observe_time = printed(observe_time.as_ref());
        Self { replica, region, asked, problem, protocol, software, observe_time }
    }
}

impl Finding {
    fn is_usable(&self) -> bool {
        self.asked && self.problem.is_empty()
    }

    // `edge-1 (eu): ok`.
    fn text(&self) -> String {
        let Self { replica, region, asked, problem, observe_time, .. } = self;
        let place = if region.is_empty() { String::new() } else { format!(" ({region})") };
        let found = match (problem.is_empty(), observe_time) {
            (_, None) => "nothing told".to_owned(),
            (true, _) => "ok".to_owned(),
            (false, _) => problem.clone(),
        };
        let when = match observe_time {
            Some(time) if !asked => format!(", as of {time}"),
            _ => String::new(),
        };
        format!("{replica}{place}: {found}{when}")
    }
}

impl View for Trial {
    const PLURAL: &'static str = "servers";
    const LISTED: &'static [&'static str] = &["name", "health"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("name", self.name.clone()),
            ("usable", if self.usable { "yes" } else { "no" }.to_owned()),
            ("health", self.health.text()),
        ];
        fields.extend(self.findings.iter().map(|finding| ("replica", finding.text())));
        fields.extend([
            ("offers", self.health.offers()),
            ("software", self.health.software.clone()),
            ("protocol", self.health.protocol.clone()),
            ("observed", self.health.observe_time.clone().unwrap_or_default()),
        ]);
        fields.into_iter().map(|(name, value)| (name, for_terminal(&value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: prost_types::Timestamp = prost_types::Timestamp { seconds: 1_764_374_400, nanos: 0 };

    fn found(replica: &str, asked: bool, problem: &str) -> v1::McpServerFinding {
        let (replica, problem) = (replica.to_owned(), problem.to_owned());
        v1::McpServerFinding { replica, asked, problem, observe_time: Some(TIME), ..Default::default() }
    }

    fn tried(server: v1::McpServer, findings: Vec<v1::McpServerFinding>) -> (Exit, String, String) {
        let (name, url, reference) = ("s".into(), "https://x".into(), "env://X".into());
        let server = v1::McpServer { name, url, reference, ..server };
        let answer = Trial::new(server, findings).answer(Format::Table).unwrap();
        (answer.exit, answer.result, answer.notes.join("\n"))
    }

    #[test]
    fn what_to_do_is_said_where_it_cannot_be_used() {
        let (good, bad) = (|| found("one", true, ""), || found("two", true, "refused\u{1b}"));
        let never = || v1::McpServerFinding { replica: "new".into(), ..Default::default() };
        for (findings, exit, shows, says) in [
            (vec![good()], Exit::Done, "one: ok", ""),
            (
                vec![good(), bad()],
                Exit::Done,
                "two: refused\\u{1b}",
                "reaches https://x and finds the secret at env://X",
            ),
            (vec![bad()], Exit::Failed, "two: refused", "reaches https://x"),
            (vec![found("late", false, "")], Exit::Failed, "late: ok, as of 2025-11-29", "late has not told in time"),
            (vec![never()], Exit::Failed, "new: nothing told", "new has not told in time"),
            (vec![], Exit::Failed, "usable", "no replica follows"),
        ] {
            let (found, shown, notes) = tried(v1::McpServer::default(), findings);
            assert!(found == exit && shown.contains(shows), "{shows}: {shown}");
            assert!(notes.contains(says) && notes.is_empty() == says.is_empty(), "{says}: {notes}");
        }
    }

    #[test]
    fn a_server_that_nobody_asks_shows_what_was_found_last() {
        let health = Some(v1::McpServerHealth { replicas: 1, pending: 2, ..Default::default() });
        let of = |auth: &str, transport: &str, disabled| {
            let (auth, transport, health) = (auth.into(), transport.into(), health.clone());
            v1::McpServer { auth, transport, disabled, health, ..Default::default() }
        };
        for (server, exit, says) in [
            (of("per_user", "", false), Exit::Done, "each user has a token"),
            (of("token_exchange", "sse", false), Exit::Done, "each user has a token"),
            (of("none", "openapi", false), Exit::Done, "its document says"),
            (of("none", "", true), Exit::Failed, "--enable"),
        ] {
            let (found, _, notes) = tried(server, vec![found("one", false, "")]);
            assert!(found == exit && notes.contains(says) && notes.contains("2 of its tools wait"), "{says}: {notes}");
            assert!(!notes.contains("in time"), "{notes}");
        }
    }
}
