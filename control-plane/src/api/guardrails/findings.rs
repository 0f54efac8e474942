//! What guardrails found.

use tollgate_policy::guardrail::Direction;
use tollgate_proto::admin::v1;

use super::super::{Admin, failure::Failure, filter::Filter, page::Page, violations::Violations, wire};
use crate::store::findings::{Finding, FindingFilter, FindingPlace};

const FIELDS: [&str; 10] =
    ["guardrail", "rule", "direction", "fingerprint", "key", "team", "customer", "session", "since", "until"];

impl Admin {
    pub(super) async fn findings_list(
        &self,
        message: v1::ListFindingsRequest,
    ) -> Result<v1::ListFindingsResponse, Failure> {
        let v1::ListFindingsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("findings", &filter, page_size, &page_token, &mut violations);
        let behind = page.after.as_deref().map(|text| FindingPlace::parse(text).ok_or("is not one of this list"));
        let behind = behind.and_then(|behind| violations.take("page_token", behind));
        let mut terms = Filter::read(&filter, &FIELDS, &mut violations);
        let filter = narrowed(&mut terms, &mut violations);
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.findings_list(&filter, behind, page.limit()).await?;
        txn.end().await?;
        let (findings, next_page_token) = page.write(&rows, written, |row| row.at.position());
        Ok(v1::ListFindingsResponse { findings, next_page_token })
    }
}

fn narrowed(terms: &mut Filter, violations: &mut Violations) -> FindingFilter {
    let mut instant = |terms: &mut Filter, field| {
        let parsed = terms.text(field)?.parse::<jiff::Timestamp>();
        let parsed = parsed.map_err(|_| format!("has a value of {field} that is not RFC 3339"));
        violations.take("filter", parsed).map(jiff::Timestamp::as_millisecond)
    };
    let (since, until) = (instant(terms, "since"), instant(terms, "until"));
    FindingFilter {
        guardrail: terms.text("guardrail"),
        rule: terms.text("rule"),
        direction: terms.word("direction", Direction::of_word, violations),
        fingerprint: terms.text("fingerprint").map(|text| text.to_ascii_lowercase()),
        key: terms.text("key"),
        team: terms.text("team"),
        customer: terms.text("customer"),
        session: terms.text("session"),
        since,
        until,
    }
}

fn written(finding: &Finding) -> v1::GuardrailFinding {
    let Finding {
        at: FindingPlace { time_ms, index, number: _ },
        guardrail,
        rule,
        direction,
        action,
        shadow,
        fingerprint,
        place,
        offset,
        count,
        key,
        team,
        customer,
        session,
        request_id,
        model,
    } = finding;
    v1::GuardrailFinding {
        index: *index,
        time: Some(wire::timestamp(*time_ms)),
        guardrail: guardrail.clone(),
        rule: rule.clone(),
        direction: direction.word().to_owned(),
        action: action.word().to_owned(),
        shadow: *shadow,
        fingerprint: fingerprint.clone(),
        place: place.clone(),
        offset: *offset,
        count: *count,
        key: key.clone(),
        team: team.clone(),
        customer: customer.clone(),
        session: session.clone(),
        request_id: request_id.clone(),
        model: model.clone(),
    }
}
