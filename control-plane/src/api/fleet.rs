//! FleetService: joining, renewing, the Follow stream, what is observed of servers of tools, and the tokens for them.

use std::{pin::Pin, time::Duration};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tollgate_policy::{id::ReplicaId, name::Name};
use tollgate_proto::{
    convert::fleet::TEXT_BYTES_MAX,
    fleet::v1::{
        AccessToken, FollowRequest, FollowResponse, GetTokenRequest, GetTokenResponse, Hello, JoinRequest,
        JoinResponse, NoToken, ObserveRequest, ObserveResponse, RenewRequest, RenewResponse,
        fleet_service_server::FleetService, follow_request::Message as Hear, get_token_response,
    },
    push::SILENCE_SECONDS_MAX,
};
use tonic::{Request, Response, Status, Streaming};

use self::follower::Follower;
use super::failure::Failure;
use crate::{
    authority::{self, AuthorityError},
    clock,
    fleet::{Fleet, unavailable},
    intake::Reporter,
    mcp_oauth::broker::{Asked, Brought, Lacking, Outcome},
    observe::{self, read::Observation},
    store::{StoreError, replicas::Replica},
};

mod follower;

/// What waits to be sent on one stream: four chunks. A replica that reads slowly slows nobody else.
const QUEUE_MAX: usize = 4;
/// How long a join waits for those before it.
const JOIN_PATIENCE: Duration = Duration::from_secs(5);
/// The longest region, in bytes.
const REGION_BYTES_MAX: usize = 63;

/// Answers the FleetService.
#[derive(Debug)]
pub struct FleetApi {
    fleet: Fleet,
}

impl FleetApi {
    /// Over this fleet.
    #[must_use]
    pub const fn new(fleet: Fleet) -> Self {
        Self { fleet }
    }

    async fn admitted_by(&self, token: &str) -> Result<String, Status> {
        let found = async {
            let mut txn = self.fleet.parts.store.begin_read().await?;
            let found = txn.join_token_find(&authority::token_hash(token), clock::now_ms()).await?;
            txn.end().await?;
            Ok::<_, StoreError>(found)
        };
        let principal = found.await.map_err(|error| unavailable(&error))?;
        principal
            .ok_or_else(|| Status::unauthenticated("the join token is not known or has expired: create another one"))
    }

    fn certify(&self, replica: &ReplicaId, request: &[u8]) -> Result<String, Status> {
        self.fleet.parts.authority.certify(replica, request).map_err(|error| match error {
            AuthorityError::Request => Status::invalid_argument(format!("certificate_request: {error}")),
            other => {
                tracing::error!(error = %other, "failed to issue a certificate");
                Status::internal("the control plane could not issue a certificate: its log says why")
            }
        })
    }
}

#[tonic::async_trait]
impl FleetService for FleetApi {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        if !self.fleet.admits_joins() {
            return Err(Status::failed_precondition("this control plane admits replicas by its fleet token"));
        }
        let place = tokio::time::timeout(JOIN_PATIENCE, self.fleet.parts.joins.acquire()).await;
        let _place =
            place.map_err(|_| Status::resource_exhausted("too many replicas join at this moment: try again"))?;
        let JoinRequest { token, certificate_request, name, region } = request.into_inner();
        let principal = self.admitted_by(&token).await?;
        let name = Name::parse(&name).map_err(|error| Status::invalid_argument(format!("name: {error}")))?;
        let region = region_of(&region)?;
        // A request that is not one must not leave a replica behind.
        let probe = ReplicaId::from_ulid(&ulid::Ulid::generate().to_string());
        self.certify(&probe.map_err(|error| Status::internal(error.to_string()))?, &certificate_request)?;
        let Replica { id, .. } = self.fleet.enroll(&name, region, &format!("join-token/{principal}")).await?;
        let certificate_chain = self.certify(&id, &certificate_request)?;
        Ok(Response::new(JoinResponse { replica: id.to_string(), certificate_chain }))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        if !self.fleet.admits_joins() {
            return Err(Status::failed_precondition("this control plane admits replicas by its fleet token"));
        }
        let replica = self.fleet.identify(request.extensions(), request.metadata().as_ref()).await?;
        let RenewRequest { certificate_request } = request.into_inner();
        Ok(Response::new(RenewResponse { certificate_chain: self.certify(&replica, &certificate_request)? }))
    }

    type FollowStream = Pin<Box<ReceiverStream<Result<FollowResponse, Status>>>>;

    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        let replica = self.fleet.caller(request.extensions(), request.metadata().as_ref()).await?;
        let mut requests = request.into_inner();
        let hello = hello(&mut requests).await?;
        if hello.name != replica.name.as_str() {
            return Err(Status::permission_denied(format!("this is the certificate of {}", replica.name)));
        }
        let region = region_of(&hello.region)?.to_owned();
        bounded("version", &hello.version, TEXT_BYTES_MAX)?;
        let (send, receive) = mpsc::channel(QUEUE_MAX);
        let follower = Follower::new(&self.fleet, replica.id, region, hello, send);
        self.fleet.parts.streams.spawn(follower.run(requests));
        Ok(Response::new(Box::pin(ReceiverStream::new(receive))))
    }

    async fn observe(&self, request: Request<ObserveRequest>) -> Result<Response<ObserveResponse>, Status> {
        let reporter = request.extensions().get::<Reporter>().cloned();
        let Reporter(replica) = reporter.ok_or_else(|| Status::unauthenticated("only a replica may observe"))?;
        let found = Observation::read(request.into_inner())?;
        observe::take(&self.fleet.parts.store, &replica, &found).await.map_err(Failure::from)?;
        Ok(Response::new(ObserveResponse {}))
    }

    async fn get_token(&self, request: Request<GetTokenRequest>) -> Result<Response<GetTokenResponse>, Status> {
        request
            .extensions()
            .get::<Reporter>()
            .ok_or_else(|| Status::unauthenticated("only a replica may get tokens"))?;
        let GetTokenRequest { server, user, rejected } = request.into_inner();
        let asked = Asked { server: &server, user: &user, rejected: &rejected };
        let outcome = self.fleet.parts.mcp.token(asked).await.map_err(Failure::from)?;
        Ok(Response::new(GetTokenResponse { outcome: Some(written(outcome)) }))
    }
}

fn written(outcome: Outcome) -> get_token_response::Outcome {
    match outcome {
        Outcome::Token(Brought { token, left_ms, grants }) => get_token_response::Outcome::Token(AccessToken {
            token: token.to_string(),
            left_ms,
            grants: u64::try_from(grants).unwrap_or_default(),
        }),
        Outcome::None(Lacking { reason, connect_url }) => get_token_response::Outcome::None(NoToken {
            consent: connect_url.is_some(),
            reason,
            connect_url: connect_url.unwrap_or_default(),
        }),
    }
}

async fn hello(requests: &mut Streaming<FollowRequest>) -> Result<Hello, Status> {
    let patience = Duration::from_secs(SILENCE_SECONDS_MAX);
    let first = tokio::time::timeout(patience, requests.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("the hello did not come"))??;
    match first.and_then(|request| request.message) {
        Some(Hear::Hello(hello)) => Ok(*hello),
        _ => Err(Status::invalid_argument("the first message is a hello")),
    }
}

fn region_of(text: &str) -> Result<&str, Status> {
    bounded("region", text, REGION_BYTES_MAX)
}

fn bounded<'t>(field: &str, text: &'t str, bytes_max: usize) -> Result<&'t str, Status> {
    if text.len() > bytes_max || text.chars().any(char::is_control) {
        return Err(Status::invalid_argument(format!("{field}: at most {bytes_max} bytes without control characters")));
    }
    Ok(text)
}
