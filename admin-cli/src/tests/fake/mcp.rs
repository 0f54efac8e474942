//! Servers of tools, and what was approved of them. It calls no server: what one offers, a test says.

use super::*;

impl Fake {
    /// A server offers this.
    pub(in crate::tests) fn offer(&self, tool: McpTool) {
        self.plane.world().mcp_tools.push(tool);
    }

    /// A user permitted this.
    pub(in crate::tests) fn permit(&self, grant: McpGrant) {
        self.plane.world().mcp_grants.push(grant);
    }

    /// What the replicas tell of a server.
    pub(in crate::tests) fn observe(&self, named: &str, health: McpServerHealth) {
        let world = &mut *self.plane.world();
        world.mcp_servers.iter_mut().find(|each| each.name == named).unwrap().health = Some(health);
    }
}

impl World {
    // As the control plane does: references are kept as ids, what is usual is said, and a secret is never told.
    fn offered(&mut self, server: &mut McpServer, held: Option<&McpServer>) -> Result<(), Status> {
        let all = |list: &[String], find: fn(&Self, &str) -> Result<String, Status>| {
            list.iter().map(|named| find(self, named)).collect::<Result<Vec<_>, _>>()
        };
        (server.customers, server.teams) = (all(&server.customers, Self::customer)?, all(&server.teams, Self::team)?);
        let (secret, literal) = (std::mem::take(&mut server.secret), self.literals.get(&server.id).cloned());
        let is_kept = secret.is_empty() && held.is_some_and(|held| held.auth != "none");
        if server.auth.is_empty() {
            server.auth = if secret.is_empty() && !is_kept { "none".into() } else { "bearer".into() };
        }
        if server.auth == "none" {
            server.reference.clear();
            self.literals.remove(&server.id);
        } else if secret.contains("://") {
            server.reference = secret;
            self.literals.remove(&server.id);
        } else if !secret.is_empty() {
            server.reference.clear();
            if literal.as_ref() != Some(&secret) {
                // So that it counts as a change, though nothing of it is told.
                server.etag.clear();
            }
            self.literals.insert(server.id.clone(), secret);
        } else if !is_kept && !["per_user", "token_exchange"].contains(&server.auth.as_str()) {
            return Err(Status::invalid_argument("a server that is shown a secret needs one"));
        }
        server.secret_stored = self.literals.contains_key(&server.id);
        let is_client = ["client_credentials", "per_user", "token_exchange"].contains(&server.auth.as_str());
        server.oauth = is_client.then(|| server.oauth.take().unwrap_or_default());
        if server.pinning.is_empty() {
            server.pinning = "first_use".into();
        }
        Ok(())
    }

    fn server(&self, named: &str) -> Result<McpServer, Status> {
        let server = self.mcp_servers.iter().find(|each| each.id == named || each.name == named).cloned();
        found("mcp-server", named, server)
    }

    fn tool(&mut self, server: &str, named: &str) -> Result<&mut McpTool, Status> {
        let server = self.server(server)?.name;
        let tool = self.mcp_tools.iter_mut().find(|each| each.server == server && each.name == named);
        found("mcp-tool", named, tool)
    }
}

#[tonic::async_trait]
impl mcp_service_server::McpService for Plane {
    async fn create_mcp_server(&self, request: Request<CreateMcpServerRequest>) -> Result<Response<McpServer>, Status> {
        let world = &mut *self.world();
        let mut server = request.into_inner().mcp_server.unwrap();
        assert!(server.id.is_empty() && server.etag.is_empty());
        server.id = world.next("mcp-server");
        world.offered(&mut server, None)?;
        server.etag = world.next("etag");
        world.mcp_servers.push(server.clone());
        Ok(Response::new(server))
    }

    async fn get_mcp_server(&self, request: Request<GetMcpServerRequest>) -> Result<Response<McpServer>, Status> {
        self.world().server(&request.into_inner().mcp_server).map(Response::new)
    }

    async fn test_mcp_server(
        &self,
        request: Request<TestMcpServerRequest>,
    ) -> Result<Response<TestMcpServerResponse>, Status> {
        let server = self.world().server(&request.into_inner().mcp_server)?;
        let McpServerHealth { replicas, failing, problem, .. } = server.health.clone().unwrap_or_default();
        let finding = |number| McpServerFinding {
            replica: format!("replica-{number}"),
            asked: true,
            problem: if number < failing { problem.clone() } else { String::new() },
            observe_time: Some(prost_types::Timestamp::default()),
            ..Default::default()
        };
        let findings = (0..replicas).map(finding).collect();
        Ok(Response::new(TestMcpServerResponse { mcp_server: Some(server), findings }))
    }

    async fn list_mcp_servers(
        &self,
        request: Request<ListMcpServersRequest>,
    ) -> Result<Response<ListMcpServersResponse>, Status> {
        let request = request.into_inner();
        let (mcp_servers, next_page_token) =
            page(&self.world().mcp_servers, request.page_size, &request.page_token, |_| true);
        let bare = |server| McpServer { document: String::new(), ..server };
        let mcp_servers = mcp_servers.into_iter().map(bare).collect();
        Ok(Response::new(ListMcpServersResponse { mcp_servers, next_page_token }))
    }

    async fn update_mcp_server(&self, request: Request<UpdateMcpServerRequest>) -> Result<Response<McpServer>, Status> {
        let world = &mut *self.world();
        let request = request.into_inner();
        let wanted = request.mcp_server.unwrap();
        let held = world.server(&wanted.id)?;
        if !wanted.etag.is_empty() && wanted.etag != held.etag {
            return Err(Status::aborted("changed since it was read"));
        }
        let mut server = held.clone();
        for path in request.update_mask.unwrap().paths {
            match path.as_str() {
                "name" => server.name = wanted.name.clone(),
                "disabled" => server.disabled = wanted.disabled,
                "url" => server.url = wanted.url.clone(),
                "allow_private" => server.allow_private = wanted.allow_private,
                "transport" => server.transport = wanted.transport.clone(),
                "auth" => server.auth = wanted.auth.clone(),
                "secret" => server.secret = wanted.secret.clone(),
                "customers" => server.customers = wanted.customers.clone(),
                "teams" => server.teams = wanted.teams.clone(),
                "keys" => server.keys = wanted.keys.clone(),
                "tools" => server.tools = wanted.tools.clone(),
                "prompts" => server.prompts = wanted.prompts.clone(),
                "resources" => server.resources = wanted.resources.clone(),
                "prices" => server.prices = wanted.prices.clone(),
                "timeout" => server.timeout = wanted.timeout,
                "parallel" => server.parallel = wanted.parallel,
                "arguments_bytes" => server.arguments_bytes = wanted.arguments_bytes,
                "result_bytes" => server.result_bytes = wanted.result_bytes,
                "truncate" => server.truncate = wanted.truncate,
                "record_arguments" => server.record_arguments = wanted.record_arguments,
                "oauth" => server.oauth = wanted.oauth.clone(),
                "document" => server.document = wanted.document.clone(),
                "pinning" => server.pinning = wanted.pinning.clone(),
                other => return Err(Status::invalid_argument(format!("{other} cannot be changed"))),
            }
        }
        world.offered(&mut server, Some(&held))?;
        if server != held {
            server.etag = world.next("etag");
        }
        let slot = world.mcp_servers.iter_mut().find(|each| each.id == server.id).unwrap();
        *slot = server.clone();
        Ok(Response::new(server))
    }

    async fn delete_mcp_server(&self, request: Request<DeleteMcpServerRequest>) -> Result<Response<()>, Status> {
        let named = request.into_inner().mcp_server;
        self.world().mcp_servers.retain(|each| each.id != named && each.name != named);
        Ok(Response::new(()))
    }

    async fn list_mcp_tools(
        &self,
        request: Request<ListMcpToolsRequest>,
    ) -> Result<Response<ListMcpToolsResponse>, Status> {
        let request = request.into_inner();
        let keep = |tool: &McpTool| {
            request.filter.split(" AND ").filter(|term| !term.is_empty()).all(|term| match term.split_once('=') {
                Some(("server", name)) => tool.server == name,
                Some(("state", state)) => tool.state == state,
                _ => panic!("{term}"),
            })
        };
        let (tools, next_page_token) = page(&self.world().mcp_tools, request.page_size, &request.page_token, keep);
        let bare = |tool| McpTool { definition: String::new(), difference: Vec::new(), ..tool };
        Ok(Response::new(ListMcpToolsResponse { mcp_tools: tools.into_iter().map(bare).collect(), next_page_token }))
    }

    async fn get_mcp_tool(&self, request: Request<GetMcpToolRequest>) -> Result<Response<McpTool>, Status> {
        let GetMcpToolRequest { mcp_server, tool } = request.into_inner();
        self.world().tool(&mcp_server, &tool).cloned().map(Response::new)
    }

    async fn approve_mcp_tool(&self, request: Request<ApproveMcpToolRequest>) -> Result<Response<McpTool>, Status> {
        let ApproveMcpToolRequest { mcp_server, tool, hash } = request.into_inner();
        let world = &mut *self.world();
        let tool = world.tool(&mcp_server, &tool)?;
        if tool.hash != hash {
            return Err(Status::failed_precondition("the server gives another definition by now"));
        }
        (tool.state, tool.approved_hash, tool.decided_by) = ("approved".into(), hash, "administrator/bootstrap".into());
        tool.difference.clear();
        Ok(Response::new(tool.clone()))
    }

    async fn block_mcp_tool(&self, request: Request<BlockMcpToolRequest>) -> Result<Response<McpTool>, Status> {
        let BlockMcpToolRequest { mcp_server, tool } = request.into_inner();
        let world = &mut *self.world();
        let tool = world.tool(&mcp_server, &tool)?;
        tool.state = "blocked".into();
        tool.approved_hash.clear();
        Ok(Response::new(tool.clone()))
    }

    async fn list_mcp_grants(
        &self,
        request: Request<ListMcpGrantsRequest>,
    ) -> Result<Response<ListMcpGrantsResponse>, Status> {
        let ListMcpGrantsRequest { page_size, page_token, filter } = request.into_inner();
        let world = &mut *self.world();
        let matches = |grant: &McpGrant| {
            filter.split(" AND ").filter(|term| !term.is_empty()).all(|term| match term.split_once('=') {
                Some(("server", named)) => grant.server == named,
                Some(("user", named)) => world.user(named).is_ok_and(|user| user == grant.user),
                _ => panic!("{term}"),
            })
        };
        let (mcp_grants, next_page_token) = page(&world.mcp_grants, page_size, &page_token, matches);
        Ok(Response::new(ListMcpGrantsResponse { mcp_grants, next_page_token }))
    }

    async fn revoke_mcp_grant(&self, request: Request<RevokeMcpGrantRequest>) -> Result<Response<()>, Status> {
        let RevokeMcpGrantRequest { mcp_server, user, reason } = request.into_inner();
        assert_eq!(reason, "left");
        let world = &mut *self.world();
        let (server, user) = (world.server(&mcp_server)?.name, world.user(&user)?);
        world.mcp_grants.retain(|grant| grant.server != server || grant.user != user);
        Ok(Response::new(()))
    }
}
