//! A control plane of its own for each test, over a database of its own.

use std::{
    net::SocketAddr,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    sync::Arc,
};

use futures_util::FutureExt as _;
use prost::bytes::{Buf as _, BufMut as _};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_control_plane::{
    app::{self, RunError},
    config::{Config, DatabaseUrl},
    seal::Keyring,
};
use tollgate_proto::{
    admin::v1::{
        self, budget_service_client::BudgetServiceClient, customer_service_client::CustomerServiceClient,
        guardrail_service_client::GuardrailServiceClient, identity_service_client::IdentityServiceClient,
        key_service_client::KeyServiceClient, mcp_service_client::McpServiceClient,
        provider_service_client::ProviderServiceClient, replica_service_client::ReplicaServiceClient,
        route_service_client::RouteServiceClient, team_service_client::TeamServiceClient,
        user_service_client::UserServiceClient,
    },
    audit::v1::{self as audit_v1, audit_service_client::AuditServiceClient},
    usage::v1::usage_service_client::UsageServiceClient,
};
use tollgate_settings::Reader;
use tonic::{
    Code, Request, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use tonic_types::StatusExt as _;

/// Runs each of these tests over both databases.
macro_rules! over_both {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::world::run(crate::world::Database::sqlite(), super::$name).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                crate::world::run(crate::world::Database::postgres().await, super::$name).await;
            })*
        }
    };
}
pub(crate) use over_both;

pub(crate) struct Database {
    pub(crate) url: String,
    directory: TempDir,
    // The administrator's URL and the name of the database to drop.
    postgres: Option<(String, String)>,
}

pub(crate) struct World {
    pub(crate) data_dir: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) fleet: SocketAddr,
    pub(crate) token: String,
    pub(crate) store: tollgate_control_plane::store::Store,
    channel: Channel,
    stop: CancellationToken,
    parts: JoinSet<Result<(), RunError>>,
}

/// Puts the token on each call.
#[derive(Clone)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

pub(crate) type Authorised = InterceptedService<Channel, Bearer>;

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Runs a test over a database, which is dropped afterwards even if the test panics.
pub(crate) async fn run<F>(database: Database, test: impl FnOnce(Place) -> F)
where
    F: Future<Output = ()>,
{
    let place = Place { url: database.url.clone(), directory: database.directory.path().to_owned() };
    let ended = AssertUnwindSafe(test(place)).catch_unwind().await;
    database.drop_database().await;
    if let Err(panic) = ended {
        panic::resume_unwind(panic);
    }
}

/// Where a test has its database, and a directory of its own.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) directory: PathBuf,
}

impl Place {
    pub(crate) fn is_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }

    /// Every byte that the database holds: SQLite's files, or the rows of every PostgreSQL table.
    pub(crate) async fn dump(&self) -> Vec<u8> {
        if !self.is_postgres() {
            let files = std::fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path());
            let own = files.filter(|path| path.to_str().unwrap().contains("tollgate.db"));
            return own.flat_map(|path| std::fs::read(path).unwrap()).collect();
        }
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let tables = sqlx::query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'");
        let mut bytes = Vec::new();
        for table in tables.fetch_all(&mut connection).await.unwrap() {
            let name: String = table.get(0);
            let rows = sqlx::query(AssertSqlSafe(format!("SELECT row_to_json(t)::text FROM {name} t")));
            for row in rows.fetch_all(&mut connection).await.unwrap() {
                bytes.extend_from_slice(row.get::<String, _>(0).as_bytes());
            }
        }
        bytes
    }
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("tollgate.db").display());
        Self { url, directory, postgres: None }
    }

    #[expect(clippy::disallowed_methods, reason = "a test learns from its environment where PostgreSQL is")]
    pub(crate) async fn postgres() -> Self {
        let Ok(admin) = std::env::var("TOLLGATE_TEST_POSTGRES_URL") else {
            panic!("TOLLGATE_TEST_POSTGRES_URL is not set: run `make test`, which starts a throw-away PostgreSQL")
        };
        let name = format!("tollgate_test_{}", ulid::Ulid::generate().to_string().to_lowercase());
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        connection.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        let (before, options) = admin.split_once('?').unwrap_or((&admin, ""));
        let (server, _) = before.rsplit_once('/').unwrap();
        let url = format!("{server}/{name}?{options}");
        Self { url, directory: tempfile::tempdir().unwrap(), postgres: Some((admin, name)) }
    }

    async fn drop_database(self) {
        let Some((admin, name)) = self.postgres else { return };
        let mut connection = PgConnection::connect(&admin).await.unwrap();
        connection.execute(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)"))).await.unwrap();
    }
}

impl World {
    pub(crate) async fn start(place: &Place) -> Self {
        Self::start_in(place, "data").await
    }

    /// One of several control planes over one database: each has a data directory, all have the same encryption key.
    pub(crate) async fn start_in(place: &Place, directory: &str) -> Self {
        Self::start_from(config(place, directory)).await
    }

    pub(crate) async fn start_from(config: Config) -> Self {
        let data_dir = config.data_dir.clone();
        let app = app::build(config).await.unwrap();
        let addresses = app.addresses();
        let store = app.store().clone();
        let stop = CancellationToken::new();
        let mut parts = JoinSet::new();
        parts.spawn(app.run(stop.clone()));
        let token = std::fs::read_to_string(data_dir.join("admin-token")).unwrap_or_default().trim().to_owned();
        let channel = Channel::from_shared(format!("http://{}", addresses.admin)).unwrap().connect_lazy();
        Self { data_dir, http: addresses.http, fleet: addresses.fleet, token, store, channel, stop, parts }
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        self.parts.join_next().await.unwrap().unwrap().unwrap();
    }

    pub(crate) fn bearer(token: &str) -> Bearer {
        Bearer(format!("Bearer {token}").parse().unwrap())
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    fn authorised(&self) -> Authorised {
        InterceptedService::new(self.channel(), Self::bearer(&self.token))
    }

    pub(crate) fn customers(&self) -> CustomerServiceClient<Authorised> {
        CustomerServiceClient::new(self.authorised())
    }

    pub(crate) fn teams(&self) -> TeamServiceClient<Authorised> {
        TeamServiceClient::new(self.authorised())
    }

    pub(crate) fn users(&self) -> UserServiceClient<Authorised> {
        UserServiceClient::new(self.authorised())
    }

    pub(crate) fn keys(&self) -> KeyServiceClient<Authorised> {
        KeyServiceClient::new(self.authorised())
    }

    pub(crate) fn providers(&self) -> ProviderServiceClient<Authorised> {
        ProviderServiceClient::new(self.authorised())
    }

    pub(crate) fn routes(&self) -> RouteServiceClient<Authorised> {
        RouteServiceClient::new(self.authorised())
    }

    pub(crate) fn guardrails(&self) -> GuardrailServiceClient<Authorised> {
        GuardrailServiceClient::new(self.authorised())
    }

    pub(crate) fn mcp(&self) -> McpServiceClient<Authorised> {
        McpServiceClient::new(self.authorised())
    }

    pub(crate) fn budgets(&self) -> BudgetServiceClient<Authorised> {
        BudgetServiceClient::new(self.authorised())
    }

    pub(crate) fn identity(&self) -> IdentityServiceClient<Authorised> {
        IdentityServiceClient::new(self.authorised())
    }

    pub(crate) fn replicas(&self) -> ReplicaServiceClient<Authorised> {
        ReplicaServiceClient::new(self.authorised())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Authorised> {
        AuditServiceClient::new(self.authorised())
    }

    pub(crate) fn usage(&self) -> UsageServiceClient<Authorised> {
        UsageServiceClient::new(self.authorised())
    }

    pub(crate) async fn customer(&self, name: &str) -> v1::Customer {
        let customer = v1::Customer { name: name.into(), ..Default::default() };
        let request = v1::CreateCustomerRequest { customer: Some(customer) };
        self.customers().create_customer(request).await.unwrap().into_inner()
    }

    pub(crate) async fn team(&self, name: &str, customer: &str) -> v1::Team {
        let team = v1::Team { name: name.into(), customer: customer.into(), ..Default::default() };
        self.teams().create_team(v1::CreateTeamRequest { team: Some(team) }).await.unwrap().into_inner()
    }

    pub(crate) async fn user(&self, name: &str) -> v1::User {
        let user = v1::User { name: name.into(), ..Default::default() };
        self.users().create_user(v1::CreateUserRequest { user: Some(user) }).await.unwrap().into_inner()
    }

    pub(crate) async fn provider(&self, name: &str, credentials: &[(&str, &str)]) -> v1::Provider {
        let credential = |(name, secret): &(&str, &str)| v1::Credential {
            name: (*name).into(),
            secret: (*secret).into(),
            ..Default::default()
        };
        let provider = v1::Provider {
            name: name.into(),
            dialect: "anthropic".into(),
            base_url: "https://api.anthropic.com".into(),
            credentials: credentials.iter().map(credential).collect(),
            ..Default::default()
        };
        let request = v1::CreateProviderRequest { provider: Some(provider) };
        self.providers().create_provider(request).await.unwrap().into_inner()
    }

    pub(crate) async fn key(&self, key: v1::Key) -> Result<v1::KeySecret, Status> {
        Ok(self.keys().create_key(v1::CreateKeyRequest { key: Some(key) }).await?.into_inner())
    }

    /// A key of a fresh team of a fresh customer.
    pub(crate) async fn any_key(&self, name: &str) -> v1::KeySecret {
        self.customer(&format!("{name}-customer")).await;
        self.team(&format!("{name}-team"), &format!("{name}-customer")).await;
        self.key(v1::Key { name: name.into(), team: format!("{name}-team"), ..Default::default() }).await.unwrap()
    }

    /// The whole log, oldest first.
    pub(crate) async fn log(&self, filter: &str) -> Vec<audit_v1::Entry> {
        let request = audit_v1::ListEntriesRequest { page_size: 1_000, filter: filter.into(), ..Default::default() };
        let mut entries = self.audit().list_entries(request).await.unwrap().into_inner().entries;
        entries.reverse();
        entries
    }
}

/// Half of the encryption key of every test.
pub(crate) const ENCRYPTION_KEY: &str = "00112233445566778899aabbccddeeff";

/// The keyring of that key.
pub(crate) fn keyring() -> Arc<Keyring> {
    Arc::new(Keyring::new(Keyring::parse_key(&ENCRYPTION_KEY.repeat(2)).unwrap(), None))
}

/// Carries messages that are encoded already.
#[derive(Clone, Copy)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut bytes = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut bytes);
        Ok(Some(bytes))
    }
}

pub(crate) fn config(place: &Place, directory: &str) -> Config {
    let key = ENCRYPTION_KEY.repeat(2);
    let file = format!(
        "data_dir = '{}'\nadmin_listen = '127.0.0.1:0'\nfleet_listen = '127.0.0.1:0'\nhttp_listen = '127.0.0.1:0'\nencryption_key = '{key}'",
        place.directory.join(directory).display()
    );
    let config = Config::read(&mut Reader::new(Some(&file), [])).unwrap();
    Config { database_url: DatabaseUrl::new(&place.url), ..config }
}

/// The fields that a refusal names, sorted; fails when the call was not refused as invalid.
pub(crate) fn violations<T: std::fmt::Debug>(answer: Result<T, Status>) -> Vec<String> {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let mut fields: Vec<_> =
        details.bad_request().unwrap().field_violations.iter().map(|violation| violation.field.clone()).collect();
    fields.sort();
    fields
}

pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    answer.unwrap_err().code()
}

pub(crate) fn mask(paths: &[&str]) -> Option<prost_types::FieldMask> {
    Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() })
}
