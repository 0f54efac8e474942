//! Models: the catalogue, and what administrators set before it.

use tollgate_audit::Fields;
use tollgate_policy::{snapshot::Model, time::UnixMillis};
use tollgate_proto::{
    admin::v1::{
        self, GetModelRequest, ListModelsRequest, ListModelsResponse, ResetModelRequest, SetModelRequest,
        model_service_server::ModelService,
    },
    convert::model::{split, written},
};
use tonic::{Request, Response, Status};

use super::{Admin, authorize::Authorized, failure::Failure, filter::Filter, page::Page, violations::Violations};
use crate::{
    catalogue::Facts,
    change::{Change, Done},
    store::{
        StoreError,
        models::{Listed, Origin, Wanted},
    },
};

/// The noun, in errors and targets.
const NOUN: &str = "model";

#[tonic::async_trait]
impl ModelService for Admin {
    async fn get_model(&self, request: Request<GetModelRequest>) -> Result<Response<v1::Model>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.model_get(&message.model).await?))
    }

    async fn list_models(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let (_, message) = Authorized::take(request)?;
        Ok(Response::new(self.model_list(message).await?))
    }

    async fn set_model(&self, request: Request<SetModelRequest>) -> Result<Response<v1::Model>, Status> {
        let (by, message) = Authorized::take(request)?;
        Ok(Response::new(self.model_set(&by, message).await?))
    }

    async fn reset_model(&self, request: Request<ResetModelRequest>) -> Result<Response<()>, Status> {
        let (by, message) = Authorized::take(request)?;
        self.model_reset(&by, &message.model).await?;
        Ok(Response::new(()))
    }
}

impl Admin {
    async fn model_get(&self, id: &str) -> Result<v1::Model, Failure> {
        let (vendor, name) = named(id)?;
        let mut txn = self.store.begin_read().await?;
        let found = txn.model_get(vendor, name).await?;
        txn.end().await?;
        found.as_ref().map(wire).ok_or_else(|| missing(id))
    }

    async fn model_list(&self, message: ListModelsRequest) -> Result<ListModelsResponse, Failure> {
        let ListModelsRequest { page_size, page_token, filter } = message;
        let mut violations = Violations::default();
        let page = Page::read("models", &filter, page_size, &page_token, &mut violations);
        let mut terms = Filter::read(&filter, &["vendor", "model", "origin"], &mut violations);
        let wanted = Wanted {
            vendor: terms.text_match("vendor"),
            name: terms.text_match("model"),
            origin: terms.word("origin", Origin::of_word, &mut violations),
        };
        violations.finish(Some(()))?;
        let mut txn = self.store.begin_read().await?;
        let mut rows = txn.model_list(&wanted, page.after.as_deref().and_then(split), page.limit()).await?;
        txn.end().await?;
        let next_page_token = page.cut(&mut rows, |row| id_of(&row.model));
        Ok(ListModelsResponse { models: rows.iter().map(wire).collect(), next_page_token })
    }

    async fn model_set(&self, by: &Authorized, message: SetModelRequest) -> Result<v1::Model, Failure> {
        let model = read(message.model.unwrap_or_default())?;
        let mut change = Change::begin(&self.store, by).await?;
        let before = change.txn.model_get(&model.vendor, &model.name).await?;
        if let Some(same) = before.as_ref().filter(|row| row.origin == Origin::Override && row.model == model) {
            change.txn.end().await?;
            return Ok(wire(same));
        }
        let row = Listed { model, origin: Origin::Override, as_of: UnixMillis::new(change.now) };
        change.txn.model_set(change.revision, &row.model, row.as_of).await?;
        let target = target(&id_of(&row.model));
        let before = before.as_ref().map(fields).transpose()?;
        let after = Some(fields(&row)?);
        change.finish(Done { target: &target, before, after, ..Done::default() }).await?;
        Ok(wire(&row))
    }

    async fn model_reset(&self, by: &Authorized, id: &str) -> Result<(), Failure> {
        let (vendor, name) = named(id)?;
        let mut change = Change::begin(&self.store, by).await?;
        let before = change.txn.model_get(vendor, name).await?.ok_or_else(|| missing(id))?;
        if !change.txn.model_reset(change.revision, vendor, name).await? {
            let sentence = format!("nothing was set for the model '{id}': the catalogue's row holds already");
            return Err(Failure::Blocked { subject: target(id), sentence });
        }
        let after = change.txn.model_get(vendor, name).await?;
        let after = after.as_ref().map(fields).transpose()?;
        let before = Some(fields(&before)?);
        change.finish(Done { target: &target(id), before, after, ..Done::default() }).await?;
        Ok(())
    }
}

fn read(message: v1::Model) -> Result<Model, Failure> {
    Model::try_from(message).map_err(|invalid| {
        let mut violations = Violations::default();
        for (field, problem) in invalid.fields() {
            violations.add(field, problem);
        }
        Failure::Invalid(violations)
    })
}

fn named(id: &str) -> Result<(&str, &str), Failure> {
    let mut violations = Violations::default();
    let parts = violations.take("model", split(id).ok_or("must be vendor/model, such as anthropic/claude-opus-4-8"));
    violations.finish(parts)
}

fn wire(row: &Listed) -> v1::Model {
    written(&row.model, row.origin.word(), row.as_of)
}

fn fields(row: &Listed) -> Result<Fields, StoreError> {
    let facts = serde_json::to_value(Facts::of(&row.model)).map_err(|error| StoreError::corrupt("facts", error))?;
    let mut fields = facts.as_object().cloned().unwrap_or_default();
    fields.insert("origin".into(), row.origin.word().into());
    Ok(fields)
}

fn id_of(model: &Model) -> String {
    format!("{}/{}", model.vendor, model.name)
}

fn target(id: &str) -> String {
    format!("{NOUN}/{id}")
}

fn missing(id: &str) -> Failure {
    Failure::NotFound { kind: NOUN, name: id.to_owned() }
}
