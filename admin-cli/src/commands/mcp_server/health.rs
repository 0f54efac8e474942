//! How the replicas find a server of tools, and what to do where they do not.

use serde::Serialize;
use tollgate_proto::admin::v1;

use crate::{
    commands::text::for_terminal,
    failure::{Exit, Failure},
    literals::printed,
    output::{Answer, Format, View},
};

/// How the replicas find a server.
#[derive(Default, Serialize)]
pub(super) struct HealthView {
    replicas: i32,
    failing: i32,
    problem: String,
    pub(super) protocol: String,
    pub(super) software: String,
    observe_time: Option<String>,
    tools: i32,
    pending: i32,
}

/// What is answered to the question whether a server can be used.
#[derive(Serialize)]
pub(super) struct Trial {
    name: String,
    /// Whether some replica can use it.
    usable: bool,
    disabled: bool,
    url: String,
    reference: String,
    #[serde(flatten)]
    health: HealthView,
}

impl From<v1::McpServerHealth> for HealthView {
    fn from(health: v1::McpServerHealth) -> Self {
        let v1::McpServerHealth { replicas, failing, problem, protocol, software, observe_time, tools, pending } =
            health;
        let observe_time = printed(observe_time.as_ref());
        Self { replicas, failing, problem, protocol, software, observe_time, tools, pending }
    }
}

impl HealthView {
    /// `ok`, `failing 2/3 (connection refused)`, or `unknown` where none has told.
    pub(super) fn text(&self) -> String {
        let Self { replicas, failing, problem, .. } = self;
        match (*replicas, *failing) {
            (0, _) => "unknown".to_owned(),
            (_, 0) => "ok".to_owned(),
            _ if problem.is_empty() => format!("failing {failing}/{replicas}"),
            _ => format!("failing {failing}/{replicas} ({problem})"),
        }
    }

    /// `12 tools, 3 pending`; nothing where none has told.
    pub(super) fn offers(&self) -> String {
        match (self.replicas, self.pending) {
            (0, _) => String::new(),
            (_, 0) => format!("{} tools", self.tools),
            (_, pending) => format!("{} tools, {pending} pending", self.tools),
        }
    }
}

impl Trial {
    pub(super) fn new(server: v1::McpServer) -> Self {
        let v1::McpServer { name, disabled, url, reference, health, .. } = server;
        let health = health.map(HealthView::from).unwrap_or_default();
        Self { usable: !disabled && health.failing < health.replicas, name, disabled, url, reference, health }
    }

    /// Shows it; the exit code says whether some replica can use it.
    pub(super) fn answer(self, format: Format) -> Result<Answer, Failure> {
        let answer = format.item(&self)?;
        let answer = self.advice().into_iter().fold(answer, |answer, note| answer.note(for_terminal(&note)));
        Ok(Answer { exit: if self.usable { Exit::Done } else { Exit::Failed }, ..answer })
    }

    fn advice(&self) -> Vec<String> {
        let Self { name, disabled, url, reference, health, usable: _ } = self;
        let HealthView { replicas, failing, problem, pending, .. } = health;
        let mut advice = Vec::new();
        if *disabled {
            advice.push(format!(
                "it is switched off, and so is not called: `tollgate mcp-server update {name} --enable`"
            ));
        }
        if *replicas == 0 {
            advice.push(
                "no replica has told of it in the last two hours: `tollgate replica list` shows whether one is connected"
                    .to_owned(),
            );
        }
        if *failing > 0 {
            let secret =
                if reference.is_empty() { String::new() } else { format!(" and finds the secret at {reference}") };
            let why = if problem.is_empty() { String::new() } else { format!(", the last because: {problem}") };
            advice.push(format!(
                "{failing} of {replicas} replicas cannot use it{why}; see that each of them reaches {url}{secret}"
            ));
        }
        if *pending > 0 {
            advice.push(format!(
                "{pending} of its tools wait for an approval: `tollgate mcp-tool list --mcp-server {name} --state pending`"
            ));
        }
        advice
    }
}

impl View for Trial {
    const PLURAL: &'static str = "servers";
    const LISTED: &'static [&'static str] = &["name", "health"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        let fields = vec![
            ("name", self.name.clone()),
            ("usable", if self.usable { "yes" } else { "no" }.to_owned()),
            ("health", self.health.text()),
            ("offers", self.health.offers()),
            ("software", self.health.software.clone()),
            ("protocol", self.health.protocol.clone()),
            ("observed", self.health.observe_time.clone().unwrap_or_default()),
        ];
        fields.into_iter().map(|(name, value)| (name, for_terminal(&value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_is_said_where_it_cannot_be_used() {
        let tried = |disabled, health: Option<(i32, i32, i32)>| {
            let health = health.map(|(replicas, failing, pending)| v1::McpServerHealth {
                replicas,
                failing,
                pending,
                problem: if failing > 0 { "refused\u{1b}".into() } else { String::new() },
                ..Default::default()
            });
            let (name, url, reference) = ("s".into(), "https://x".into(), "env://X".into());
            let server = v1::McpServer { name, url, reference, disabled, health, ..Default::default() };
            let answer = Trial::new(server).answer(Format::Table).unwrap();
            (answer.exit, answer.notes.join("\n"))
        };
        for (disabled, health, exit, says) in [
            (false, Some((3, 0, 0)), Exit::Done, ""),
            (false, Some((3, 0, 2)), Exit::Done, "2 of its tools wait"),
            (false, Some((3, 1, 0)), Exit::Done, "1 of 3 replicas cannot use it, the last because: refused\\u{1b};"),
            (false, Some((3, 3, 0)), Exit::Failed, "reaches https://x and finds the secret at env://X"),
            (false, Some((0, 0, 0)), Exit::Failed, "no replica has told"),
            (false, None, Exit::Failed, "no replica has told"),
            (true, Some((3, 0, 0)), Exit::Failed, "--enable"),
        ] {
            let (found, notes) = tried(disabled, health);
            assert_eq!(found, exit, "{health:?}");
            assert!(notes.contains(says) && notes.is_empty() == says.is_empty(), "{health:?}: {notes}");
        }
    }
}
