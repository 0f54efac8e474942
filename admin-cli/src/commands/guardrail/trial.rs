//! What a guardrail would find in a text.

use std::{fs::File, path::PathBuf};

use clap::Args;
use serde::Serialize;
use tollgate_proto::admin::v1::{self, test_guardrail_request::Subject};

use crate::{
    commands::Context,
    failure::Failure,
    literals::reference,
    output::{Answer, Format, View, bare_table},
    surroundings::{Surroundings, read_bounded},
};

/// A text that is tried.
#[derive(Args, Debug)]
pub(crate) struct Trial {
    /// The id or the name
    #[arg(value_parser = reference)]
    guardrail: String,
    /// The text; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
}

/// What would be found.
#[derive(Serialize)]
struct TrialView {
    findings: Vec<FindingView>,
    rules: i32,
    memory_bytes: i64,
    remarks: Vec<String>,
}

#[derive(Serialize)]
struct FindingView {
    rule: String,
    offset: i64,
    length: i64,
    action: String,
}

impl Trial {
    pub(super) async fn run(self, context: &Context, surroundings: &mut Surroundings<'_>) -> Result<Answer, Failure> {
        let Self { guardrail, file } = self;
        let read = if file.as_os_str() == "-" {
            read_bounded(surroundings.stdin)
        } else {
            File::open(&file).and_then(|mut file| read_bounded(&mut file))
        };
        let text = read.map_err(|error| Failure::unreadable(&file.display().to_string(), &error))?;
        let request =
            v1::TestGuardrailRequest { subject: Some(Subject::Guardrail(guardrail)), text: text.into_bytes() };
        let answer = context.client.guardrails().test_guardrail(request).await?.into_inner();
        TrialView::new(answer).answer(context.format)
    }
}

impl TrialView {
    fn new(answer: v1::TestGuardrailResponse) -> Self {
        let v1::TestGuardrailResponse { findings, rules, memory_bytes, remarks } = answer;
        let finding = |v1::TestFinding { rule, offset, length, action }| FindingView { rule, offset, length, action };
        Self { findings: findings.into_iter().map(finding).collect(), rules, memory_bytes, remarks }
    }

    fn answer(self, format: Format) -> Result<Answer, Failure> {
        if format != Format::Table {
            return format.document(&self, bare_table);
        }
        let Self { findings, rules, memory_bytes, remarks } = self;
        let answer = format.list(&findings)?;
        let answer = remarks.into_iter().fold(answer, Answer::note);
        Ok(answer.note(format!("{rules} rules act; all of them take {} KiB on each replica", memory_bytes / 1_024)))
    }
}

impl View for FindingView {
    const PLURAL: &'static str = "findings";
    const LISTED: &'static [&'static str] = &["rule", "offset", "length", "action"];

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("rule", self.rule.clone()),
            ("offset", self.offset.to_string()),
            ("length", self.length.to_string()),
            ("action", self.action.clone()),
        ]
    }
}
