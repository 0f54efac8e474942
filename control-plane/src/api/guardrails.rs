//! GuardrailService.
//!
//! Reading order: here, what is kept; [`written`], as it is shown, and [`fields`], as it is read; [`rules`], whether rules compile and what they find;
//! [`trial`], what a guardrail would find in a text; [`findings`], what guardrails found.

mod written;
mod fields;
mod rules;
mod trial;
mod findings;

use tollgate_policy::{guardrail::GUARDRAILS_MAX, id::GuardrailId, name::Name};
use tollgate_proto::admin::v1::{self, guardrail_service_server::GuardrailService};
use tonic::{Request, Response, Status};

use self::{
    fields::Draft,
    written::{fields_of, written},
};
use super::{
    Admin, authorize::Authorized, failure::Failure, filter::Filter, mask::Mask, owners, page::Page,
    violations::Violations, wire,
};
use crate::{
    change::{Change, Done},
    store::{
        Txn,
        guardrails::{Guardrail, GuardrailFilter, KINDS},
    },
};

const CHANGEABLE: [&str; 16] = [
    "name",
    "disabled",
    "kind",
    "builtin",
    "rule_file",
    "expressions",
    "words",
    "rules",
    "on",
    "action",
    "shadow",
    "customers",
    "teams",
    "keys",
    "models",
    "allowed",
];

#[tonic::async_trait]
impl GuardrailService for Admin {
    async fn create_guardrail(
        &self,
        request: Request<v1::CreateGuardrailRequest>,
    ) -> Result<Response<v1::CreateGuardrailResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        let (guardrail, remarks) = self.guardrail_create(&by, message.guardrail.unwrap_or_default()).await?;
        Ok(Response::new(v1::CreateGuardrailResponse { guardrail: Some(written(&guardrail)), remarks }))
    }

    async fn get_guardrail(
        &self,
        request: Request<v1::GetGuardrailRequest>,
    ) -> Result<Response<v1::Guardrail>, Status> {
        let (_, message) = Authorized::take(request)?;
        let mut txn = self.store.begin_read().await.map_err(Failure::from)?;
        let guardrail = find(&mut txn, &message.guardrail).await?;
        Ok(Response::new(written(&guardrail)))
    }

    async fn list_guardrails(
        &self,
        request: Request<v1::ListGuardrailsRequest>,
    ) -> Result<Response<v1::ListGuardrailsResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.guardrail_list(message).await?))
    }

    async fn update_guardrail(
        &self,
        request: Request<v1::UpdateGuardrailRequest>,
    ) -> Result<Response<v1::UpdateGuardrailResponse>, Status> {
        let (by, message) = Authorized::take(request)?;
        let (guardrail, remarks) = self.guardrail_update(&by, message).await?;
        Ok(Response::new(v1::UpdateGuardrailResponse { guardrail: Some(written(&guardrail)), remarks }))
    }

    async fn delete_guardrail(&self, request: Request<v1::DeleteGuardrailRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.guardrail_delete(&by, &message.guardrail, &message.etag).await?;
        Ok(Response::new(()))
    }

    async fn test_guardrail(
        &self,
        request: Request<v1::TestGuardrailRequest>,
    ) -> Result<Response<v1::TestGuardrailResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.guardrail_test(message).await?))
    }

    async fn list_findings(
        &self,
        request: Request<v1::ListFindingsRequest>,
    ) -> Result<Response<v1::ListFindingsResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.findings_list(message).await?))
    }
}

impl Admin {
    async fn guardrail_create(
        &self,
        by: &Authorized,
        wire: v1::Guardrail,
    ) -> Result<(Guardrail, Vec<String>), Failure> {
        let mut violations = Violations::default();
        violations.output_only([
            ("id", !wire.id.is_empty()),
            ("etag", !wire.etag.is_empty()),
            ("create_time", wire.create_time.is_some()),
            ("update_time", wire.update_time.is_some()),
        ]);
        let draft = Draft::read(&wire, &mut violations);
        let remarks = rules::checked(draft.as_ref(), &mut violations).await?;
        let mut change = Change::begin(&self.store, by).await?;
        let owners = owners::read(&mut change.txn, &wire.customers, &wire.teams, &mut violations).await?;
        let draft = violations.finish(draft)?;
        ensure_free(&mut change.txn, &draft.name, None).await?;
        ensure_room(&mut change.txn).await?;
        let guardrail = draft.guardrail(wire::new_id(GuardrailId::from_ulid)?, owners, change.created());
        change.txn.guardrail_insert(&guardrail).await?;
        let target = target(&guardrail);
        change.finish(Done { target: &target, after: Some(fields_of(&guardrail)), ..Done::default() }).await?;
        Ok((guardrail, remarks))
    }

    async fn guardrail_list(&self, message: v1::ListGuardrailsRequest) -> Result<v1::ListGuardrailsResponse, Failure> {
        let v1::ListGuardrailsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("guardrails", &filter, page_size, &page_token, &mut violations);
        let after = page.created_after(&mut violations);
        let mut terms = Filter::read(&filter, &["name", "kind", "disabled"], &mut violations);
        let kind = |word: &str| KINDS.into_iter().find(|kind| *kind == word);
        let filter = GuardrailFilter {
            name: terms.text_match("name"),
            kind: terms.word("kind", kind, &mut violations),
            disabled: terms.flag("disabled", &mut violations),
        };
        let filter = violations.finish(Some(filter))?;
        let mut txn = self.store.begin_read().await?;
        let rows = txn.guardrail_list(&filter, after.as_ref(), page.limit()).await?;
        txn.end().await?;
        let (guardrails, next_page_token) = page.write_created(&rows, written, |row| (row.stamp, row.id.as_str()));
        Ok(v1::ListGuardrailsResponse { guardrails, next_page_token })
    }

    // Rules are compiled between two looks at the guardrail, so that nobody waits for that.
    async fn guardrail_update(
        &self,
        by: &Authorized,
        message: v1::UpdateGuardrailRequest,
    ) -> Result<(Guardrail, Vec<String>), Failure> {
        let wire = message.guardrail.unwrap_or_default();
        let mut violations = Violations::default();
        let mask = Mask::read(message.update_mask.as_ref(), &CHANGEABLE, &mut violations);
        let Some(named) = wire::named(GuardrailId::NOUN, &wire.id, &wire.name, &mask, &mut violations) else {
            return violations.finish(None);
        };
        let mut txn = self.store.begin_read().await?;
        let old = find(&mut txn, &named).await?;
        txn.end().await?;
        wire::ensure_fresh(GuardrailId::NOUN, &old.name, &wire.etag, &old.stamp)?;
        let draft = Draft::merged(&old, &wire, &mask, &mut violations);
        let remarks = match draft.as_ref() {
            Some(new) if new.source != old.source || new.rules != old.rules => {
                rules::checked(draft.as_ref(), &mut violations).await?
            }
            _ => Vec::new(),
        };
        let mut change = Change::begin(&self.store, by).await?;
        if find(&mut change.txn, old.id.as_str()).await?.stamp != old.stamp {
            return Err(Failure::Stale { kind: GuardrailId::NOUN, name: old.name.to_string() });
        }
        let owners =
            owners::merged(&mut change.txn, &old.owners, (&wire.customers, &wire.teams), &mask, &mut violations)
                .await?;
        let new = violations.finish(draft)?.guardrail(old.id.clone(), owners, old.stamp);
        if new == old {
            return Ok((old, remarks));
        }
        ensure_free(&mut change.txn, &new.name, Some(&old.id)).await?;
        let new = Guardrail { stamp: change.updated(old.stamp), ..new };
        change.txn.guardrail_update(&new).await?;
        let (before, after) = (Some(fields_of(&old)), Some(fields_of(&new)));
        change.finish(Done { target: &target(&new), before, after, ..Done::default() }).await?;
        Ok((new, remarks))
    }

    async fn guardrail_delete(&self, by: &Authorized, named: &str, etag: &str) -> Result<(), Failure> {
        let mut change = Change::begin(&self.store, by).await?;
        let guardrail = find(&mut change.txn, named).await?;
        wire::ensure_fresh(GuardrailId::NOUN, &guardrail.name, etag, &guardrail.stamp)?;
        change.txn.guardrail_delete(&guardrail.id, change.revision).await?;
        let target = target(&guardrail);
        change.finish(Done { target: &target, before: Some(fields_of(&guardrail)), ..Done::default() }).await?;
        Ok(())
    }
}

/// Refuses to delete an object that a guardrail names: without it the guardrail would be for others, or for everybody. `named` is the
/// object as people read it, `subject` as the log does.
pub(super) async fn ensure_unnamed(txn: &mut Txn, id: &str, named: &str, subject: &str) -> Result<(), Failure> {
    let guardrails = txn.guardrails_naming(id).await?;
    if guardrails.is_empty() {
        return Ok(());
    }
    let these = if guardrails.len() == 1 { "this guardrail" } else { "these guardrails" };
    let sentence =
        format!("{named} is named by {}: take it out of {these} first", wire::quoted("guardrail", &guardrails));
    Err(Failure::Blocked { subject: subject.to_owned(), sentence })
}

async fn find(txn: &mut Txn, named: &str) -> Result<Guardrail, Failure> {
    let missing = || Failure::NotFound { kind: GuardrailId::NOUN, name: wire::shown(named) };
    txn.guardrail_find(named).await?.ok_or_else(missing)
}

async fn ensure_free(txn: &mut Txn, name: &Name, own: Option<&GuardrailId>) -> Result<(), Failure> {
    match txn.guardrail_find(name.as_str()).await? {
        Some(other) if Some(&other.id) != own => Err(wire::taken(GuardrailId::NOUN, name)),
        _ => Ok(()),
    }
}

async fn ensure_room(txn: &mut Txn) -> Result<(), Failure> {
    if txn.guardrail_count().await? < i64::try_from(GUARDRAILS_MAX).unwrap_or(i64::MAX) {
        return Ok(());
    }
    let sentence =
        format!("there are {GUARDRAILS_MAX} guardrails, and each request asks each of them: delete one first");
    Err(Failure::Blocked { subject: GuardrailId::NOUN.to_owned(), sentence })
}

fn target(guardrail: &Guardrail) -> String {
    format!("{}/{}", GuardrailId::NOUN, guardrail.id)
}
