//! What a first start puts there, through the same admin API that everybody uses: a customer, a team, a provider, a key.

use tollgate_proto::admin::v1::{
    CreateCustomerRequest, CreateKeyRequest, CreateProviderRequest, CreateTeamRequest, Credential, Customer,
    GetProviderRequest, Key, KeySecret, ListKeysRequest, Provider, Team, UpdateProviderRequest,
    customer_service_client::CustomerServiceClient, key_service_client::KeyServiceClient,
    provider_service_client::ProviderServiceClient, team_service_client::TeamServiceClient,
};
use tonic::{
    Code, Request, Status, metadata::MetadataValue, service::Interceptor, service::interceptor::InterceptedService,
    transport::Channel,
};

const CUSTOMER: &str = "default";
const TEAM: &str = "default";
const KEY: &str = "first";

/// The provider that a first start configures.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Upstream {
    /// Its name.
    pub(crate) name: &'static str,
    /// Where it is.
    pub(crate) base_url: String,
    /// The secret, or where it is found.
    pub(crate) secret: &'static str,
    /// Whether the address is this machine's.
    pub(crate) private: bool,
}

/// Adds the administrator's token to each call.
#[derive(Clone)]
struct Bearer(MetadataValue<tonic::metadata::Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Makes the first objects where there are none, and keeps the provider's address current. Returns the first key's secret
/// when this call created it.
///
/// # Errors
/// Passes on what the control plane refused.
pub(crate) async fn seed(channel: Channel, administrator: &str, upstream: &Upstream) -> Result<Option<String>, Status> {
    let bearer =
        format!("Bearer {administrator}").parse().map_err(|_| Status::internal("the token is not a header value"))?;
    let channel = InterceptedService::new(channel, Bearer(bearer));
    provider(ProviderServiceClient::new(channel.clone()), upstream).await?;
    let mut keys = KeyServiceClient::new(channel.clone());
    if !keys.list_keys(ListKeysRequest { page_size: 1, ..Default::default() }).await?.into_inner().keys.is_empty() {
        return Ok(None);
    }
    let customer = Customer { name: CUSTOMER.into(), display_name: "The first customer".into(), ..Default::default() };
    let mut customers = CustomerServiceClient::new(channel.clone());
    unless_there(customers.create_customer(CreateCustomerRequest { customer: Some(customer) }).await)?;
    let team = Team {
        name: TEAM.into(),
        display_name: "The first team".into(),
        customer: CUSTOMER.into(),
        ..Default::default()
    };
    unless_there(TeamServiceClient::new(channel).create_team(CreateTeamRequest { team: Some(team) }).await)?;
    let key = Key { name: KEY.into(), team: TEAM.into(), ..Default::default() };
    let KeySecret { secret, .. } = keys.create_key(CreateKeyRequest { key: Some(key) }).await?.into_inner();
    Ok(Some(secret))
}

// The simulator takes another free port at each start.
async fn provider(
    mut providers: ProviderServiceClient<InterceptedService<Channel, Bearer>>,
    upstream: &Upstream,
) -> Result<(), Status> {
    let wanted = Provider {
        name: upstream.name.into(),
        dialect: "anthropic".into(),
        base_url: upstream.base_url.clone(),
        allow_private: upstream.private,
        vendor: "anthropic".into(),
        credentials: vec![Credential {
            name: "primary".into(),
            secret: upstream.secret.into(),
            weight: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    match providers.get_provider(GetProviderRequest { provider: upstream.name.into() }).await {
        Ok(found) if found.get_ref().base_url == upstream.base_url => Ok(()),
        Ok(found) => {
            let provider =
                Provider { id: found.into_inner().id, base_url: upstream.base_url.clone(), ..Default::default() };
            let update_mask = Some(prost_types::FieldMask { paths: vec!["base_url".into()] });
            providers.update_provider(UpdateProviderRequest { provider: Some(provider), update_mask }).await.map(|_| ())
        }
        Err(status) if status.code() == Code::NotFound => {
            providers.create_provider(CreateProviderRequest { provider: Some(wanted) }).await.map(|_| ())
        }
        Err(status) => Err(status),
    }
}

fn unless_there<T>(answer: Result<T, Status>) -> Result<(), Status> {
    match answer {
        Err(status) if status.code() != Code::AlreadyExists => Err(status),
        _ => Ok(()),
    }
}
