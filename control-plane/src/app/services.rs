//! The services of the admin listener, each of which health tells of.

use tollgate_proto::{
    DESCRIPTORS,
    admin::v1::{
        binding_service_server::BindingServiceServer, budget_service_server::BudgetServiceServer,
        customer_service_server::CustomerServiceServer, guardrail_service_server::GuardrailServiceServer,
        identity_service_server::IdentityServiceServer, key_service_server::KeyServiceServer,
        mcp_service_server::McpServiceServer, model_service_server::ModelServiceServer,
        provider_service_server::ProviderServiceServer, role_service_server::RoleServiceServer,
        route_service_server::RouteServiceServer, service_account_service_server::ServiceAccountServiceServer,
        session_service_server::SessionServiceServer, team_service_server::TeamServiceServer,
        user_service_server::UserServiceServer,
    },
    audit::v1::audit_service_server::AuditServiceServer,
    usage::v1::usage_service_server::UsageServiceServer,
};
use tonic::transport::{Server, server::Router};

use super::{BuildError, Layered};
use crate::{api::Admin, fleet::Fleet};

/// Adds them to a server.
pub(super) async fn added(
    mut server: Server<Layered>,
    api: Admin,
    fleet: &Fleet,
) -> Result<Router<Layered>, BuildError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<CustomerServiceServer<Admin>>().await;
    health.set_serving::<TeamServiceServer<Admin>>().await;
    health.set_serving::<UserServiceServer<Admin>>().await;
    health.set_serving::<RoleServiceServer<Admin>>().await;
    health.set_serving::<BindingServiceServer<Admin>>().await;
    health.set_serving::<ServiceAccountServiceServer<Admin>>().await;
    health.set_serving::<SessionServiceServer<Admin>>().await;
    health.set_serving::<KeyServiceServer<Admin>>().await;
    health.set_serving::<ProviderServiceServer<Admin>>().await;
    health.set_serving::<RouteServiceServer<Admin>>().await;
    health.set_serving::<GuardrailServiceServer<Admin>>().await;
    health.set_serving::<McpServiceServer<Admin>>().await;
    health.set_serving::<ModelServiceServer<Admin>>().await;
    health.set_serving::<BudgetServiceServer<Admin>>().await;
    health.set_serving::<IdentityServiceServer<Admin>>().await;
    health.set_serving::<UsageServiceServer<Admin>>().await;
    health.set_serving::<AuditServiceServer<Admin>>().await;
    let reflection = tonic_reflection::server::Builder::configure();
    Ok(server
        .add_service(health_service)
        .add_service(reflection.register_encoded_file_descriptor_set(DESCRIPTORS).build_v1()?)
        .add_service(CustomerServiceServer::new(api.clone()))
        .add_service(TeamServiceServer::new(api.clone()))
        .add_service(UserServiceServer::new(api.clone()))
        .add_service(RoleServiceServer::new(api.clone()))
        .add_service(BindingServiceServer::new(api.clone()))
        .add_service(ServiceAccountServiceServer::new(api.clone()))
        .add_service(SessionServiceServer::new(api.clone()))
        .add_service(KeyServiceServer::new(api.clone()))
        .add_service(ProviderServiceServer::new(api.clone()))
        .add_service(RouteServiceServer::new(api.clone()))
        .add_service(GuardrailServiceServer::new(api.clone()))
        .add_service(McpServiceServer::new(api.clone()))
        .add_service(ModelServiceServer::new(api.clone()))
        .add_service(BudgetServiceServer::new(api.clone()))
        .add_service(fleet.replica_service())
        .add_service(IdentityServiceServer::new(api.clone()))
        .add_service(UsageServiceServer::new(api.clone()))
        .add_service(AuditServiceServer::new(api)))
}
