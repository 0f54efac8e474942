//! The connection to the control plane: where it is, how it is trusted, and with whose token.

use std::{fmt, fs::File, path::Path, time::Duration};

use http::Uri;
use tollgate_proto::{
    admin::v1::{
        binding_service_client::BindingServiceClient, budget_service_client::BudgetServiceClient,
        customer_service_client::CustomerServiceClient, guardrail_service_client::GuardrailServiceClient,
        identity_service_client::IdentityServiceClient, key_service_client::KeyServiceClient,
        mcp_service_client::McpServiceClient, model_service_client::ModelServiceClient,
        provider_service_client::ProviderServiceClient, replica_service_client::ReplicaServiceClient,
        role_service_client::RoleServiceClient, route_service_client::RouteServiceClient,
        service_account_service_client::ServiceAccountServiceClient, session_service_client::SessionServiceClient,
        team_service_client::TeamServiceClient, user_service_client::UserServiceClient,
    },
    audit::v1::audit_service_client::AuditServiceClient,
    usage::v1::usage_service_client::UsageServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{failure::Failure, settings::Settings, surroundings::read_bounded};

/// As whom the audit log knows this program.
pub(crate) const USER_AGENT: &str = concat!("tollgate/", env!("CARGO_PKG_VERSION"));
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one call may take: a page of a thousand objects, or a report over a large ledger.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer: a page of 1,000 keys with 200 patterns of 200 bytes each is 40 MB.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A connection that carries the caller's token.
pub(crate) type Authorized = InterceptedService<Channel, Bearer>;

/// Adds the token to each call.
#[derive(Clone)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

/// The control plane's services.
#[derive(Clone)]
pub(crate) struct Client {
    channel: Channel,
    bearer: Bearer,
}

/// Makes the accessor of one service.
macro_rules! services {
    ($($name:ident: $client:ident),* $(,)?) => {
        impl Client {
            $(pub(crate) fn $name(&self) -> $client<Authorized> {
                $client::with_interceptor(self.channel.clone(), self.bearer.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
            })*
        }
    };
}

services! {
    customers: CustomerServiceClient,
    teams: TeamServiceClient,
    users: UserServiceClient,
    keys: KeyServiceClient,
    providers: ProviderServiceClient,
    models: ModelServiceClient,
    budgets: BudgetServiceClient,
    routes: RouteServiceClient,
    guardrails: GuardrailServiceClient,
    mcp: McpServiceClient,
    roles: RoleServiceClient,
    bindings: BindingServiceClient,
    service_accounts: ServiceAccountServiceClient,
    sessions: SessionServiceClient,
    replicas: ReplicaServiceClient,
    identity: IdentityServiceClient,
    audit: AuditServiceClient,
    usage: UsageServiceClient,
}

impl Client {
    /// Connects, so that an address at which nobody listens is told apart from a call that fails.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, Failure> {
        let endpoint = endpoint(settings)?;
        let channel =
            endpoint.connect().await.map_err(|error| Failure::unreachable(&settings.server, &innermost(&error)))?;
        Ok(Self { channel, bearer: Bearer::new(settings.token.as_deref().map(String::as_str))? })
    }
}

fn endpoint(settings: &Settings) -> Result<Endpoint, Failure> {
    let address = &settings.server;
    let malformed = || Failure::usage(format!("the server {address:?} must be a URL such as http://127.0.0.1:7070"));
    let uri: Uri = address.parse().map_err(|_| malformed())?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(malformed()),
    };
    let endpoint = Endpoint::from_shared(address.clone()).map_err(|_| malformed())?;
    let endpoint = endpoint.user_agent(USER_AGENT).map_err(|_| malformed())?;
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(CALL_TIMEOUT);
    match (&settings.ca, secure) {
        (None, false) => Ok(endpoint),
        (Some(_), false) => Err(Failure::usage("--ca is for an https server")),
        (ca, true) => {
            let unusable = |error: tonic::transport::Error| {
                Failure::new("tls", format!("cannot prepare TLS for {address}: {}", innermost(&error)))
            };
            endpoint.tls_config(trust(ca.as_deref())?).map_err(unusable)
        }
    }
}

// Either the file's authorities or the system's, not both: who names an authority means that one.
fn trust(ca: Option<&Path>) -> Result<ClientTlsConfig, Failure> {
    let Some(path) = ca else { return Ok(ClientTlsConfig::new().with_native_roots()) };
    let shown = path.display().to_string();
    let read = File::open(path).and_then(|mut file| read_bounded(&mut file));
    let pem = read.map_err(|error| Failure::unreadable(&shown, &error))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

/// The deepest cause, which is the one that says something: `Connection refused`, not `transport error`.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

// === impl Bearer ===

impl Bearer {
    fn new(token: Option<&str>) -> Result<Self, Failure> {
        let Some(token) = token else { return Ok(Self(None)) };
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| Failure::usage("the token has characters that no token has; is it the right file?"))?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Bearer(***)" } else { "Bearer(none)" })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("bearer", &self.bearer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(server: &str, ca: Option<&str>) -> Settings {
        Settings { server: server.to_owned(), ca: ca.map(Into::into), ..Settings::default() }
    }

    #[test]
    fn an_address_is_a_url_of_http_or_https() {
        for good in ["http://127.0.0.1:7070", "https://tollgate.example.com", "http://[::1]:7070"] {
            assert!(endpoint(&settings(good, None)).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1:7070", "ftp://x", "", "http//x", "/run/socket"] {
            assert_eq!(endpoint(&settings(bad, None)).unwrap_err().code, "usage", "{bad}");
        }
    }

    #[test]
    fn an_authority_file_must_be_there_and_wants_https() {
        assert_eq!(endpoint(&settings("http://127.0.0.1:7070", Some("/ca.pem"))).unwrap_err().code, "usage");
        assert_eq!(endpoint(&settings("https://127.0.0.1:7070", Some("/no/such.pem"))).unwrap_err().code, "unreadable");
    }

    #[test]
    fn a_token_with_a_line_break_is_refused_and_none_is_shown() {
        assert!(Bearer::new(Some("two\nlines")).is_err());
        assert!(!format!("{:?}", Bearer::new(Some("canary")).unwrap()).contains("canary"));
    }
}
