//! What a guardrail would find in a text. Neither the text nor what is found of it is kept, or told.

use tollgate_policy::guardrail::{Action, RuleSource};
use tollgate_proto::admin::v1::{self, test_guardrail_request::Subject};
use tollgate_scan::Finding;

use super::{
    super::{Admin, failure::Failure, violations::Violations, wire},
    fields, find,
    rules::{self, Checked},
};

/// The longest text, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// The most findings of an answer.
const FINDINGS_MAX: usize = 1_000;

impl Admin {
    pub(super) async fn guardrail_test(
        &self,
        message: v1::TestGuardrailRequest,
    ) -> Result<v1::TestGuardrailResponse, Failure> {
        let v1::TestGuardrailRequest { subject, text } = message;
        let mut violations = Violations::default();
        if text.len() > TEXT_BYTES_MAX {
            violations.add("text", "must be at most 1 MiB");
        }
        let (prefix, tried) = match subject {
            None => {
                violations.add("guardrail", "must say which one, by id or by name, or else unsaved");
                ("", None)
            }
            Some(Subject::Guardrail(named)) => {
                let mut txn = self.store.begin_read().await?;
                let found = find(&mut txn, &named).await?;
                txn.end().await?;
                ("", Some((found.source, found.rules, found.action)))
            }
            Some(Subject::Unsaved(wire)) => ("unsaved.", read(&wire, &mut violations)),
        };
        let (source, patterns, action) = violations.finish(tried)?;
        let mut violations = Violations::default();
        match rules::compiled(source, patterns, text).await? {
            Ok(checked) => Ok(answer(&checked, action)),
            Err(mistakes) => {
                mistakes.into_iter().for_each(|(field, text)| violations.add(format!("{prefix}{field}"), text));
                violations.finish(None)
            }
        }
    }
}

fn read(wire: &v1::Guardrail, violations: &mut Violations) -> Option<(RuleSource, Vec<String>, Action)> {
    let source = fields::source(wire, violations);
    let patterns = wire::patterns("rules", &wire.rules, violations);
    let action = fields::action(&wire.action, violations);
    Some((source?, patterns?, action?))
}

fn answer(checked: &Checked, action: Action) -> v1::TestGuardrailResponse {
    let Checked { remarks, set, found, acting } = checked;
    let acts: Vec<_> = set.rules().zip(acting).filter(|(_, acts)| **acts).map(|((index, _), _)| index).collect();
    let finding = |finding: &Finding| v1::TestFinding {
        rule: set.rule(finding.rule).map(|rule| rule.id.to_owned()).unwrap_or_default(),
        offset: signed(finding.range.start),
        length: signed(finding.range.len()),
        action: action.word().to_owned(),
    };
    v1::TestGuardrailResponse {
        findings: found.iter().filter(|found| acts.contains(&found.rule)).take(FINDINGS_MAX).map(finding).collect(),
        rules: i32::try_from(acts.len()).unwrap_or(i32::MAX),
        memory_bytes: signed(set.memory()),
        remarks: remarks.clone(),
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
