//! Routes, and how one is explained: by its own tiers, whoever asks.

use super::*;

impl World {
    fn key(&self, named: &str) -> Result<String, Status> {
        let key = self.keys.iter().find(|each| each.id == named || each.name == named);
        found("key", named, key.map(|each| each.id.clone()))
    }

    // As the control plane does: references are kept as ids, and the first tier has no conditions.
    fn routed(&self, route: &mut Route) -> Result<(), Status> {
        let all = |list: &[String], find: fn(&Self, &str) -> Result<String, Status>| {
            list.iter().map(|named| find(self, named)).collect::<Result<Vec<_>, _>>()
        };
        route.customers = all(&route.customers, Self::customer)?;
        route.teams = all(&route.teams, Self::team)?;
        route.keys = all(&route.keys, Self::key)?;
        if route.balance.is_empty() {
            route.balance = "weight".to_owned();
        }
        for (at, tier) in route.tiers.iter_mut().enumerate() {
            assert!(at > 0 || tier.on.is_empty());
            if at > 0 && tier.on.is_empty() {
                tier.on = ["rate_limit", "server_error", "overloaded", "credential"].map(str::to_owned).into();
            }
            for target in &mut tier.targets {
                target.provider = self.provider(&target.provider)?;
            }
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl route_service_server::RouteService for Plane {
    async fn create_route(&self, request: Request<CreateRouteRequest>) -> Result<Response<Route>, Status> {
        let world = &mut *self.world();
        let mut route = request.into_inner().route.unwrap();
        world.routed(&mut route)?;
        (route.id, route.etag) = (world.next("route"), world.next("etag"));
        world.routes.push(route.clone());
        Ok(Response::new(route))
    }

    async fn get_route(&self, request: Request<GetRouteRequest>) -> Result<Response<Route>, Status> {
        let named = request.into_inner().route;
        let route = self.world().routes.iter().find(|each| each.id == named || each.name == named).cloned();
        found("route", &named, route).map(Response::new)
    }

    async fn list_routes(&self, request: Request<ListRoutesRequest>) -> Result<Response<ListRoutesResponse>, Status> {
        let request = request.into_inner();
        let (routes, next_page_token) = page(&self.world().routes, request.page_size, &request.page_token, |_| true);
        Ok(Response::new(ListRoutesResponse { routes, next_page_token }))
    }

    async fn update_route(&self, request: Request<UpdateRouteRequest>) -> Result<Response<Route>, Status> {
        let world = &mut *self.world();
        let request = request.into_inner();
        let wanted = request.route.unwrap();
        let held = found("route", &wanted.id, world.routes.iter().find(|each| each.id == wanted.id).cloned())?;
        let mut route = held;
        for path in request.update_mask.unwrap().paths {
            match path.as_str() {
                "models" => route.models = wanted.models.clone(),
                "customers" => route.customers = wanted.customers.clone(),
                "teams" => route.teams = wanted.teams.clone(),
                "keys" => route.keys = wanted.keys.clone(),
                "priority" => route.priority = wanted.priority,
                "disabled" => route.disabled = wanted.disabled,
                "strict" => route.strict = wanted.strict,
                "tiers" => route.tiers = wanted.tiers.clone(),
                "rule" => route.rule = wanted.rule.clone(),
                "balance" => route.balance = wanted.balance.clone(),
                "first_byte_timeout" => route.first_byte_timeout = wanted.first_byte_timeout,
                "hedge_after" => route.hedge_after = wanted.hedge_after,
                "deadline" => route.deadline = wanted.deadline,
                other => return Err(Status::invalid_argument(format!("{other} cannot be changed"))),
            }
        }
        world.routed(&mut route)?;
        route.etag = world.next("etag");
        let slot = world.routes.iter_mut().find(|each| each.id == route.id).unwrap();
        *slot = route.clone();
        Ok(Response::new(route))
    }

    async fn delete_route(&self, request: Request<DeleteRouteRequest>) -> Result<Response<()>, Status> {
        let named = request.into_inner().route;
        self.world().routes.retain(|each| each.id != named && each.name != named);
        Ok(Response::new(()))
    }

    async fn explain_route(
        &self,
        request: Request<ExplainRouteRequest>,
    ) -> Result<Response<ExplainRouteResponse>, Status> {
        let request = request.into_inner();
        let world = self.world();
        world.key(&request.key)?;
        let route = world.routes.iter().find(|route| route.models.contains(&request.model)).cloned();
        let route = route.filter(|route| route.rule.is_empty() || request.budget_used > 0.9);
        let Some(route) = route else {
            let refusal = "No provider serves it.".to_owned();
            return Ok(Response::new(ExplainRouteResponse { refusal, ..Default::default() }));
        };
        let losses = [("image_url", "approximated"), ("top_k", "dropped"), ("cache_control", "dropped")];
        let losses = losses.map(|(feature, becomes)| Loss { feature: feature.to_owned(), becomes: becomes.to_owned() });
        let target = |(tier, target): (usize, &RouteTarget)| ExplainedTarget {
            provider: target.provider.clone(),
            provider_name: "anthropic".to_owned(),
            dialect: "anthropic".to_owned(),
            model: target.model.clone(),
            tier: i32::try_from(tier).unwrap(),
            weight: target.weight,
            on: route.tiers[tier].on.clone(),
            priced: true,
            losses: if tier == 0 { losses.to_vec() } else { Vec::new() },
        };
        let targets = route.tiers.iter().enumerate().flat_map(|(at, tier)| tier.targets.iter().map(move |to| (at, to)));
        let targets = targets.map(target).collect();
        Ok(Response::new(ExplainRouteResponse { targets, refusal: String::new(), route: Some(route.clone()) }))
    }
}
