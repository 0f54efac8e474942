//! Who may call, and what the listeners say to everybody.

use std::os::unix::fs::PermissionsExt as _;

use tokio_util::sync::CancellationToken;
use tollgate_control_plane::app::{self, BuildError};
use tollgate_proto::{
    admin::v1::{self, customer_service_client::CustomerServiceClient, identity_service_client::IdentityServiceClient},
    permission,
};
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    service::interceptor::InterceptedService,
    transport::{Certificate, Channel, ClientTlsConfig},
};
use tonic_prost::ProstCodec;

use crate::world::{Place, World, code, config, over_both};

over_both! {
    every_call_is_refused_without_the_token
    the_token_is_private_made_once_and_replaceable
    a_caller_learns_who_it_is_and_whether_all_is_well
    health_reflection_and_metrics_are_served
    a_plain_listener_on_the_network_is_refused
}

async fn every_call_is_refused_without_the_token(place: Place) {
    let world = World::start(&place).await;
    let paths = permission::table().iter().map(|row| row.path);
    for path in paths.chain(["/tollgate.admin.v1.KeyService/Nothing", "/x.Y/Z"]) {
        let mut grpc = Grpc::new(world.channel());
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<v1::WhoAmIRequest, v1::WhoAmIResponse>::default();
        let answer = grpc.unary(Request::new(v1::WhoAmIRequest {}), PathAndQuery::from_static(path), codec).await;
        assert_eq!(code(answer), Code::Unauthenticated, "{path}");
    }
    let good = world.token.clone();
    for token in ["", "x", &good[..good.len() - 1], &format!("{good}0"), &good.to_uppercase(), &"tga_".repeat(100)] {
        let service = InterceptedService::new(world.channel(), World::bearer(token));
        let answer = CustomerServiceClient::new(service).list_customers(v1::ListCustomersRequest::default()).await;
        assert_eq!(code(answer), Code::Unauthenticated, "{token}");
    }
    // Two tokens are refused even if both are good.
    let twice = |mut request: Request<()>| {
        for _ in 0..2 {
            request.metadata_mut().append("authorization", format!("Bearer {good}").parse().unwrap());
        }
        Ok::<_, Status>(request)
    };
    let mut client = IdentityServiceClient::with_interceptor(world.channel(), twice);
    assert_eq!(code(client.who_am_i(v1::WhoAmIRequest {}).await), Code::Unauthenticated);
    // With the token a path that does not exist is refused, too.
    let mut grpc = Grpc::new(InterceptedService::new(world.channel(), World::bearer(&world.token)));
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<v1::WhoAmIRequest, v1::WhoAmIResponse>::default();
    let path = PathAndQuery::from_static("/tollgate.admin.v1.KeyService/Nothing");
    assert_eq!(code(grpc.unary(Request::new(v1::WhoAmIRequest {}), path, codec).await), Code::PermissionDenied);
    world.stop().await;
}

async fn the_token_is_private_made_once_and_replaceable(place: Place) {
    let world = World::start(&place).await;
    let file = world.data_dir.join("admin-token");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let first = world.token.clone();
    assert!(first.starts_with("tga_") && first.len() == 4 + 64);
    world.stop().await;

    let world = World::start(&place).await;
    assert_eq!(world.token, first, "a second start makes no second token");
    let reset = app::reset_admin_token(&config(&place, "data")).await.unwrap();
    assert_eq!(reset, file);
    let second = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert_ne!(second, first);
    for (token, good) in [(&first, false), (&second, true)] {
        let service = InterceptedService::new(world.channel(), World::bearer(token));
        assert_eq!(IdentityServiceClient::new(service).who_am_i(v1::WhoAmIRequest {}).await.is_ok(), good);
    }
    let dump = place.dump().await;
    for token in [&first, &second] {
        let digits = &token[4..];
        assert!(!dump.windows(digits.len()).any(|window| window == digits.as_bytes()));
        let raw = hex::decode(digits).unwrap();
        assert!(!dump.windows(raw.len()).any(|window| window == raw));
    }
    world.stop().await;
}

async fn a_caller_learns_who_it_is_and_whether_all_is_well(place: Place) {
    let world = World::start(&place).await;
    let me = world.identity().who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
    assert_eq!((me.principal.as_str(), me.permissions.as_slice()), ("administrator/bootstrap", &["*".to_owned()][..]));
    world.provider("bare", &[]).await;
    let check = world.identity().check(v1::CheckRequest {}).await.unwrap().into_inner();
    assert_eq!(check.database, if place.is_postgres() { "postgres" } else { "sqlite" });
    assert_eq!(check.revision, world.store.revision().await.unwrap());
    assert!(check.warnings.iter().any(|warning| warning.contains("'bare' has no enabled credential")), "{check:?}");
    world.stop().await;
}

async fn health_reflection_and_metrics_are_served(place: Place) {
    let world = World::start(&place).await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(world.channel());
    let asked = tonic_health::pb::HealthCheckRequest { service: String::new() };
    assert_eq!(health.check(asked).await.unwrap().into_inner().status, 1);
    let mut reflection =
        tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient::new(world.channel());
    let list = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(tonic_reflection::pb::v1::server_reflection_request::MessageRequest::ListServices(
            String::new(),
        )),
    };
    let answer = reflection.server_reflection_info(tokio_stream::iter([list])).await.unwrap();
    let first = answer.into_inner().message().await.unwrap().unwrap();
    assert!(format!("{first:?}").contains("tollgate.admin.v1.KeyService"));
    world.customer("acme").await;
    let get = async |path: &str| {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(world.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    assert!(get("/healthz").await.starts_with("HTTP/1.1 200"));
    assert!(get("/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(get("/other").await.starts_with("HTTP/1.1 404"));
    let metrics = get("/metrics").await;
    let counted = "rpcs_total{method=\"/tollgate.admin.v1.CustomerService/CreateCustomer\",code=\"OK\"} 1";
    assert!(metrics.contains(counted), "{metrics}");
    assert!(metrics.contains(&format!("revision {}", world.store.revision().await.unwrap())));
    world.stop().await;
}

async fn a_plain_listener_on_the_network_is_refused(place: Place) {
    let mut config = config(&place, "data");
    config.admin_listen = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(app::build(config).await, Err(BuildError::Plaintext(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_listener_speaks_tls_when_it_has_a_certificate() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let issued = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (cert, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    std::fs::write(&cert, issued.cert.pem()).unwrap();
    std::fs::write(&key, issued.signing_key.serialize_pem()).unwrap();
    let url = format!("sqlite://{}", directory.path().join("tollgate.db").display());
    let place = Place { url, directory: directory.path().to_owned() };
    let mut config = config(&place, "data");
    (config.tls_cert, config.tls_key) = (Some(cert), Some(key.clone()));
    config.admin_listen = "0.0.0.0:0".parse().unwrap();
    let app = app::build(config.clone()).await.unwrap();
    let (admin, stop) = (app.addresses().admin, CancellationToken::new());
    let token = std::fs::read_to_string(config.data_dir.join("admin-token")).unwrap();
    let mut parts = tokio::task::JoinSet::new();
    parts.spawn(app.run(stop.clone()));

    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(issued.cert.pem())).domain_name("localhost");
    let endpoint = Channel::from_shared(format!("https://127.0.0.1:{}", admin.port())).unwrap();
    let channel = endpoint.clone().tls_config(tls).unwrap().connect().await.unwrap();
    let service = InterceptedService::new(channel, World::bearer(&token));
    assert!(IdentityServiceClient::new(service).who_am_i(v1::WhoAmIRequest {}).await.is_ok());
    let plain = Channel::from_shared(format!("http://127.0.0.1:{}", admin.port())).unwrap().connect_lazy();
    let service = InterceptedService::new(plain, World::bearer(&token));
    assert!(IdentityServiceClient::new(service).who_am_i(v1::WhoAmIRequest {}).await.is_err());
    stop.cancel();
    parts.join_next().await.unwrap().unwrap().unwrap();

    std::fs::write(key, "nonsense").unwrap();
    assert!(matches!(app::build(config).await, Err(BuildError::Tls(_))));
}
