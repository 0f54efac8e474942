//! What an administrator does, over gRPC.

use tollgate_proto::{
    admin::v1::{
        CreateCustomerRequest, CreateKeyRequest, CreateProviderRequest, CreateTeamRequest, Credential, Customer, Key,
        KeySecret, ListReplicasRequest, Provider, Replica, RevokeKeyRequest, Team,
        binding_service_client::BindingServiceClient, budget_service_client::BudgetServiceClient,
        customer_service_client::CustomerServiceClient, identity_service_client::IdentityServiceClient,
        key_service_client::KeyServiceClient, mcp_service_client::McpServiceClient,
        model_service_client::ModelServiceClient, provider_service_client::ProviderServiceClient,
        replica_service_client::ReplicaServiceClient, route_service_client::RouteServiceClient,
        session_service_client::SessionServiceClient, team_service_client::TeamServiceClient,
        user_service_client::UserServiceClient,
    },
    audit::v1::{Entry, ListEntriesRequest, audit_service_client::AuditServiceClient},
    usage::v1::{
        Dimension, ListRecordsRequest, StoredRecord, SummarizeRequest, Summary,
        usage_service_client::UsageServiceClient,
    },
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{must, until};

/// A connection as the administrator.
pub type Authorized = InterceptedService<Channel, Bearer>;

/// Adds a token to each call.
#[derive(Clone, Debug)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The administrator.
#[derive(Clone, Debug)]
pub struct Admin {
    channel: Authorized,
}

macro_rules! services {
    ($($name:ident: $client:ident,)*) => {$(
        /// The client of this service.
        #[must_use]
        pub fn $name(&self) -> $client<Authorized> {
            $client::new(self.channel.clone())
        }
    )*};
}

impl Admin {
    /// Connects when first used.
    #[must_use]
    pub fn new(address: &str, token: &str) -> Self {
        let channel = must("endpoint", Endpoint::from_shared(address.to_owned())).connect_lazy();
        let bearer = Bearer(must("token", format!("Bearer {token}").parse()));
        Self { channel: InterceptedService::new(channel, bearer) }
    }

    services! {
        customers: CustomerServiceClient,
        teams: TeamServiceClient,
        users: UserServiceClient,
        bindings: BindingServiceClient,
        sessions: SessionServiceClient,
        keys: KeyServiceClient,
        providers: ProviderServiceClient,
        models: ModelServiceClient,
        routes: RouteServiceClient,
        mcp: McpServiceClient,
        replicas: ReplicaServiceClient,
        identity: IdentityServiceClient,
        audit: AuditServiceClient,
        usage: UsageServiceClient,
        budgets: BudgetServiceClient,
    }

    /// Creates the customer `acme`, its team `platform`, and the provider `simulator` with the credential `primary`.
    pub async fn furnish(&self, base_url: &str, secret: &str) {
        let customer = Customer { name: "acme".into(), ..Default::default() };
        must("customer", self.customers().create_customer(CreateCustomerRequest { customer: Some(customer) }).await);
        let team = Team { name: "platform".into(), customer: "acme".into(), ..Default::default() };
        must("team", self.teams().create_team(CreateTeamRequest { team: Some(team) }).await);
        self.provider("simulator", base_url, &[("primary", secret)]).await;
    }

    /// Creates a provider of the vendor `anthropic` on this machine.
    pub async fn provider(&self, name: &str, base_url: &str, credentials: &[(&str, &str)]) -> Provider {
        let credential = |(name, secret): &(&str, &str)| Credential {
            name: (*name).into(),
            secret: (*secret).into(),
            weight: 1,
            ..Default::default()
        };
        let provider = Provider {
            name: name.into(),
            dialect: "anthropic".into(),
            vendor: "anthropic".into(),
            base_url: base_url.into(),
            allow_private: true,
            credentials: credentials.iter().map(credential).collect(),
            ..Default::default()
        };
        let created = self.providers().create_provider(CreateProviderRequest { provider: Some(provider) }).await;
        must("provider", created).into_inner()
    }

    /// Creates a key of the team `platform` that may use every model.
    pub async fn key(&self, name: &str) -> KeySecret {
        self.key_with(Key { name: name.into(), team: "platform".into(), ..Default::default() }).await
    }

    /// Creates a key.
    pub async fn key_with(&self, key: Key) -> KeySecret {
        must("key", self.keys().create_key(CreateKeyRequest { key: Some(key) }).await).into_inner()
    }

    /// Revokes a key.
    pub async fn revoke(&self, key: &str) {
        let request = RevokeKeyRequest { key: key.into(), reason: "a test".into() };
        must("revoke", self.keys().revoke_key(request).await);
    }

    /// The replicas.
    pub async fn fleet(&self) -> Vec<Replica> {
        let request = ListReplicasRequest { page_size: 1_000, ..Default::default() };
        must("replicas", self.replicas().list_replicas(request).await).into_inner().replicas
    }

    /// Waits until so many replicas follow and have what is newest.
    pub async fn converged(&self, replicas: usize) {
        until("the replicas to converge", || async {
            let fleet = self.fleet().await;
            let current =
                |replica: &&Replica| replica.connected && replica.acknowledged_revision == replica.head_revision;
            (fleet.iter().filter(current).count() >= replicas).then_some(())
        })
        .await;
    }

    /// The records that match, newest first, at most a thousand.
    pub async fn records(&self, filter: &str) -> Vec<StoredRecord> {
        let request = ListRecordsRequest { page_size: 1_000, filter: filter.into(), ..Default::default() };
        must("records", self.usage().list_records(request).await).into_inner().records
    }

    /// Waits until at least so many records match, and returns them.
    pub async fn records_at_least(&self, count: usize, filter: &str) -> Vec<StoredRecord> {
        until("the records to arrive", || async {
            let records = self.records(filter).await;
            (records.len() >= count).then_some(records)
        })
        .await
    }

    /// The ledger by one dimension.
    pub async fn summary(&self, by: Dimension) -> Vec<Summary> {
        let request = SummarizeRequest { by: by.into(), ..Default::default() };
        must("summary", self.usage().summarize(request).await).into_inner().rows
    }

    /// The entries of the audit log that match, newest first.
    pub async fn entries(&self, filter: &str) -> Vec<Entry> {
        let request = ListEntriesRequest { page_size: 1_000, filter: filter.into(), ..Default::default() };
        must("entries", self.audit().list_entries(request).await).into_inner().entries
    }
}
