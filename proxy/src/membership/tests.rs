//! Against an authority and a control plane that the test plays.

use std::{net::SocketAddr, os::unix::fs::PermissionsExt as _, pin::Pin, sync::Mutex};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer, SanType};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tollgate_proto::fleet::v1::{
    FollowRequest, FollowResponse, GetTokenRequest, GetTokenResponse, JoinResponse, ObserveRequest, ObserveResponse,
    RenewResponse,
    fleet_service_server::{FleetService, FleetServiceServer},
};
use tonic::{
    Response, Status, Streaming,
    transport::{Certificate, Identity as ServerIdentity, Server, ServerTlsConfig},
};

use super::*;

const REPLICA: &str = "replica-01k9zq3v5m8c4t2n7r6x0w1y9b";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
    life: Duration,
    // What was asked, in order.
    asked: Mutex<Vec<String>>,
}

impl Authority {
    fn new(life: Duration) -> Arc<Self> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Arc::new(Self { issuer: Issuer::new(params, key), certificate, life, asked: Mutex::default() })
    }

    fn token(&self) -> Secret {
        Secret::new(format!("tgj_secret.{}", URL_SAFE_NO_PAD.encode(self.certificate.der())))
    }

    fn certify(&self, request: &[u8], replica: &str) -> String {
        let request = CertificateSigningRequestParams::from_der(&request.into()).unwrap();
        let mut params = CertificateParams::default();
        params.not_after = (SystemTime::now() + self.life).into();
        params.subject_alt_names = vec![SanType::URI(format!("tollgate://replica/{replica}").try_into().unwrap())];
        params.signed_by(&request.public_key, &self.issuer).unwrap().pem()
    }

    async fn serve(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> SocketAddr {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![push::SERVER_NAME.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let tls = ServerTlsConfig::new()
            .identity(ServerIdentity::from_pem(certificate.pem(), key.serialize_pem()))
            .client_ca_root(Certificate::from_pem(self.certificate.pem()))
            .client_auth_optional(true);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = FleetServiceServer::new(Service(Arc::clone(self)));
        let server = Server::builder().tls_config(tls).unwrap().add_service(service);
        tasks.spawn(async move { server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap() });
        address
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

struct Service(Arc<Authority>);

#[tonic::async_trait]
impl FleetService for Service {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        assert!(request.peer_certs().is_none_or(|certificates| certificates.is_empty()));
        let JoinRequest { token, certificate_request, name, region } = request.into_inner();
        self.0.asked.lock().unwrap().push(format!("join {token} {name} {region}"));
        if name == "refused" {
            return Err(Status::unauthenticated("the join token is not known"));
        }
        let certificate_chain = self.0.certify(&certificate_request, REPLICA);
        Ok(Response::new(JoinResponse { replica: REPLICA.into(), certificate_chain }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let certificates = request.peer_certs().expect("a certificate");
        self.0.asked.lock().unwrap().push(format!("renew {}", certificates.len()));
        // The first renewal fails: the valid certificate is kept, and renewal tried again.
        if self.0.asked().len() < 3 {
            return Err(Status::unavailable("not now"));
        }
        let certificate_chain = self.0.certify(&request.into_inner().certificate_request, REPLICA);
        Ok(Response::new(RenewResponse { certificate_chain }))
    }

    async fn observe(&self, _: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_token(&self, _: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    type FollowStream = Pin<Box<dyn Stream<Item = Result<FollowResponse, Status>> + Send>>;

    async fn follow(&self, _: Request<Streaming<FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn options(dir: &TempDir, address: SocketAddr, token: Option<Secret>) -> Options {
    Options {
        control_plane: format!("https://{address}"),
        data_dir: dir.path().to_owned(),
        name: "replica-one".into(),
        region: "local".into(),
        join_token: token,
        fleet_token: None,
        authority: None,
    }
}

fn maintain(link: &Link, tasks: &mut JoinSet<()>) -> CancellationToken {
    let (link, stop) = (link.clone(), CancellationToken::new());
    let stopped = stop.clone();
    tasks.spawn(async move { link.maintain(stopped).await });
    stop
}

async fn until(link: &Link, wanted: impl FnMut(&Standing) -> bool) -> Standing {
    let mut standing = link.standing();
    let found = tokio::time::timeout(Duration::from_secs(20), standing.wait_for(wanted)).await;
    found.expect("standing").unwrap().clone()
}

#[tokio::test]
async fn a_replica_joins_once_and_renews_until_it_succeeds() {
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), JoinSet::new());
    let authority = Authority::new(Duration::from_secs(4));
    let address = authority.serve(&mut tasks).await;
    let link = Link::open(options(&dir, address, Some(authority.token()))).unwrap();
    assert!(!link.is_member());
    assert_eq!(link.standing().borrow().anchor, [0; 32]);
    let stop = maintain(&link, &mut tasks);
    let joined = until(&link, |standing| standing.generation == 1).await;
    assert_eq!(joined.replica.as_ref().map(ReplicaId::as_str), Some(REPLICA));
    assert_ne!(joined.anchor, [0; 32]);
    let failed = until(&link, |standing| standing.last_error.is_some()).await;
    assert_eq!(failed.generation, 1, "the valid certificate is kept");
    let renewed = until(&link, |standing| standing.generation == 2).await;
    assert!(renewed.expires > joined.expires || renewed.last_error.is_none());
    assert_eq!(renewed.anchor, joined.anchor);
    stop.cancel();
    let asked = authority.asked();
    assert_eq!(asked[0], "join tgj_secret replica-one local", "the certificate in the token need not be sent");
    assert!(asked[1..].iter().all(|asked| asked == "renew 1"), "{asked:?}");
    let mode = std::fs::metadata(dir.path().join("identity.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // After a restart it is a member at once, with the same token or none; with another token it joins anew.
    for token in [Some(authority.token()), None] {
        assert!(Link::open(options(&dir, address, token)).unwrap().is_member());
    }
    let other = Secret::new(authority.token().expose().replace("secret", "another"));
    assert!(!Link::open(options(&dir, address, Some(other))).unwrap().is_member());
}

#[tokio::test]
async fn a_replica_whose_certificate_has_ended_starts_and_knows_whose_policy_it_has() {
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), JoinSet::new());
    let authority = Authority::new(Duration::from_secs(1));
    let address = authority.serve(&mut tasks).await;
    let link = Link::open(options(&dir, address, Some(authority.token()))).unwrap();
    let stop = maintain(&link, &mut tasks);
    let joined = until(&link, |standing| standing.generation == 1).await;
    stop.cancel();
    let expires = joined.expires.unwrap();
    while SystemTime::now() < expires {
        tokio::time::sleep(expires.duration_since(SystemTime::now()).unwrap_or_default()).await;
    }
    let link = Link::open(options(&dir, address, None)).unwrap();
    assert!(!link.is_member());
    let standing = link.standing().borrow().clone();
    assert_eq!(standing.anchor, joined.anchor);
    assert!(standing.last_error.unwrap().contains("has ended"));
}

#[tokio::test]
async fn a_control_plane_of_another_authority_learns_no_token() {
    let (dir, mut tasks) = (tempfile::tempdir().unwrap(), JoinSet::new());
    let (ours, theirs) = (Authority::new(Duration::from_secs(60)), Authority::new(Duration::from_secs(60)));
    let address = theirs.serve(&mut tasks).await;
    let link = Link::open(options(&dir, address, Some(ours.token()))).unwrap();
    let stop = maintain(&link, &mut tasks);
    until(&link, |standing| standing.last_error.is_some()).await;
    stop.cancel();
    assert!(theirs.asked().is_empty());
    assert!(!dir.path().join("identity.json").exists());
    assert!(!link.is_member());
}

#[test]
fn what_cannot_be_a_membership_is_refused_at_start() {
    let dir = tempfile::tempdir().unwrap();
    let address: SocketAddr = "127.0.0.1:7071".parse().unwrap();
    let authority = Authority::new(Duration::from_secs(60));
    let with = |change: fn(&mut Options)| {
        let mut options = options(&dir, address, None);
        change(&mut options);
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async { Link::open(options).map(|_| ()) })
    };
    let fleet_token = |url: &str| {
        let options = Options {
            control_plane: url.into(),
            fleet_token: Some(Secret::new("a-fleet-token-of-the-tests")),
            ..options(&dir, address, None)
        };
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async { Link::open(options).map(|_| ()) })
    };
    assert!(matches!(with(|_| ()), Err(MembershipError::NoToken)));
    assert!(matches!(with(|options| options.control_plane = "nowhere".into()), Err(MembershipError::Address(_))));
    assert!(matches!(
        with(|options| options.control_plane = "http://127.0.0.1:1".into()),
        Err(MembershipError::Address(_))
    ));
    assert!(fleet_token("http://127.0.0.1:7071").is_ok());
    for url in ["http://control.example.com:7071", "https://127.0.0.1:7071"] {
        assert!(matches!(fleet_token(url), Err(MembershipError::Address(_))), "{url}");
    }
    for bad in ["", "tgj_", "secret", "tgj_secret", "tgj_secret.!!!", "other.AAAA"] {
        assert!(identity::Ticket::parse(&Secret::new(bad)).is_err(), "{bad}");
    }
    assert_eq!(identity::Ticket::parse(&authority.token()).unwrap().secret.expose(), "tgj_secret");
    std::fs::write(dir.path().join("identity.json"), b"{}").unwrap();
    assert!(matches!(with(|_| ()), Err(MembershipError::File { .. })));
}
