//! Guardrails, and what they found. It compiles no rules: a file that names a colour has a remark, and `emp-` is found.

use super::*;

impl World {
    // As the control plane does: references are kept as ids, and what is usual is said.
    fn guarded(&self, guardrail: &mut Guardrail) -> Result<Vec<String>, Status> {
        let all = |list: &[String], find: fn(&Self, &str) -> Result<String, Status>| {
            list.iter().map(|named| find(self, named)).collect::<Result<Vec<_>, _>>()
        };
        guardrail.customers = all(&guardrail.customers, Self::customer)?;
        guardrail.teams = all(&guardrail.teams, Self::team)?;
        guardrail.builtin = (guardrail.kind == "secrets").then(|| guardrail.builtin.unwrap_or(true));
        if guardrail.on.is_empty() {
            guardrail.on = vec!["request".into(), "response".into()];
        }
        guardrail.allowed.sort_by(|one, next| one.fingerprint.cmp(&next.fingerprint));
        let has_remark = guardrail.rule_file.contains("colour");
        Ok(has_remark.then(|| "employee: colour ignored: nobody knows it".to_owned()).into_iter().collect())
    }
}

#[tonic::async_trait]
impl guardrail_service_server::GuardrailService for Plane {
    async fn create_guardrail(
        &self,
        request: Request<CreateGuardrailRequest>,
    ) -> Result<Response<CreateGuardrailResponse>, Status> {
        let world = &mut *self.world();
        let mut guardrail = request.into_inner().guardrail.unwrap();
        let remarks = world.guarded(&mut guardrail)?;
        (guardrail.id, guardrail.etag) = (world.next("guardrail"), world.next("etag"));
        world.guardrails.push(guardrail.clone());
        Ok(Response::new(CreateGuardrailResponse { guardrail: Some(guardrail), remarks }))
    }

    async fn get_guardrail(&self, request: Request<GetGuardrailRequest>) -> Result<Response<Guardrail>, Status> {
        let named = request.into_inner().guardrail;
        let guardrail = self.world().guardrails.iter().find(|each| each.id == named || each.name == named).cloned();
        found("guardrail", &named, guardrail).map(Response::new)
    }

    async fn list_guardrails(
        &self,
        request: Request<ListGuardrailsRequest>,
    ) -> Result<Response<ListGuardrailsResponse>, Status> {
        let request = request.into_inner();
        let (guardrails, next_page_token) =
            page(&self.world().guardrails, request.page_size, &request.page_token, |_| true);
        Ok(Response::new(ListGuardrailsResponse { guardrails, next_page_token }))
    }

    async fn update_guardrail(
        &self,
        request: Request<UpdateGuardrailRequest>,
    ) -> Result<Response<UpdateGuardrailResponse>, Status> {
        let world = &mut *self.world();
        let request = request.into_inner();
        let wanted = request.guardrail.unwrap();
        let held = world.guardrails.iter().find(|each| each.id == wanted.id).cloned();
        let mut guardrail = found("guardrail", &wanted.id, held)?;
        if !wanted.etag.is_empty() && wanted.etag != guardrail.etag {
            return Err(Status::aborted("changed since it was read"));
        }
        for path in request.update_mask.unwrap().paths {
            match path.as_str() {
                "name" => guardrail.name = wanted.name.clone(),
                "disabled" => guardrail.disabled = wanted.disabled,
                "kind" => guardrail.kind = wanted.kind.clone(),
                "builtin" => guardrail.builtin = wanted.builtin,
                "rule_file" => guardrail.rule_file = wanted.rule_file.clone(),
                "expressions" => guardrail.expressions = wanted.expressions.clone(),
                "words" => guardrail.words = wanted.words.clone(),
                "rules" => guardrail.rules = wanted.rules.clone(),
                "on" => guardrail.on = wanted.on.clone(),
                "action" => guardrail.action = wanted.action.clone(),
                "shadow" => guardrail.shadow = wanted.shadow,
                "customers" => guardrail.customers = wanted.customers.clone(),
                "teams" => guardrail.teams = wanted.teams.clone(),
                "keys" => guardrail.keys = wanted.keys.clone(),
                "models" => guardrail.models = wanted.models.clone(),
                "allowed" => guardrail.allowed = wanted.allowed.clone(),
                other => return Err(Status::invalid_argument(format!("{other} cannot be changed"))),
            }
        }
        let remarks = world.guarded(&mut guardrail)?;
        guardrail.etag = world.next("etag");
        let slot = world.guardrails.iter_mut().find(|each| each.id == guardrail.id).unwrap();
        *slot = guardrail.clone();
        Ok(Response::new(UpdateGuardrailResponse { guardrail: Some(guardrail), remarks }))
    }

    async fn delete_guardrail(&self, request: Request<DeleteGuardrailRequest>) -> Result<Response<()>, Status> {
        let named = request.into_inner().guardrail;
        self.world().guardrails.retain(|each| each.id != named && each.name != named);
        Ok(Response::new(()))
    }

    async fn test_guardrail(
        &self,
        request: Request<TestGuardrailRequest>,
    ) -> Result<Response<TestGuardrailResponse>, Status> {
        let TestGuardrailRequest { subject, text } = request.into_inner();
        let Some(test_guardrail_request::Subject::Guardrail(named)) = subject else { unreachable!() };
        let guardrail = self.world().guardrails.iter().find(|each| each.name == named).cloned();
        let action = found("guardrail", &named, guardrail)?.action;
        let text = String::from_utf8(text).unwrap();
        let finding = |(at, _): (usize, &str)| TestFinding {
            rule: "employee".into(),
            offset: at.try_into().unwrap(),
            length: 8,
            action: action.clone(),
        };
        let findings = text.match_indices("emp-").map(finding).collect();
        Ok(Response::new(TestGuardrailResponse { findings, rules: 3, memory_bytes: 2_048, remarks: Vec::new() }))
    }

    // What it is asked for stands in the session, so that a test sees it.
    async fn list_findings(
        &self,
        request: Request<ListFindingsRequest>,
    ) -> Result<Response<ListFindingsResponse>, Status> {
        let ListFindingsRequest { filter, page_token, .. } = request.into_inner();
        let key = self.world().keys.first().map(|key| key.id.clone()).unwrap_or_default();
        let finding = |rule: &str, request: &str| GuardrailFinding {
            index: 7,
            guardrail: "secrets".into(),
            rule: rule.into(),
            direction: "request".into(),
            action: "block".into(),
            shadow: true,
            fingerprint: "0a".repeat(16),
            place: "messages[0]".into(),
            count: 2,
            key: key.clone(),
            session: filter.clone(),
            request_id: request.into(),
            ..Default::default()
        };
        let (findings, next_page_token) = match page_token.as_str() {
            "" => (vec![finding("aws", "r2"), finding("gcp", "r2")], "more".to_owned()),
            _ => (vec![finding("aws", "r1")], String::new()),
        };
        Ok(Response::new(ListFindingsResponse { findings, next_page_token }))
    }
}
