//! The FleetService as its listener has it: what replicas tell of servers of tools is long, and is read of nobody but a replica, and nobody
//! else gets tokens.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tollgate_proto::fleet::v1::fleet_service_server::FleetServiceServer;
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::Identified;
use crate::api::fleet::FleetApi;

/// The call that may be long.
const OBSERVE: &str = "/tollgate.fleet.v1.FleetService/Observe";

/// The call that gives something away.
const GET_TOKEN: &str = "/tollgate.fleet.v1.FleetService/GetToken";

type Calls = FleetServiceServer<FleetApi>;

/// The FleetService.
#[derive(Clone, Debug)]
pub struct FleetCalls {
    pub(super) short: Calls,
    pub(super) known: Identified<Calls>,
    pub(super) long: Identified<Calls>,
}

impl Service<http::Request<Body>> for FleetCalls {
    type Response = http::Response<Body>;
    type Error = <Calls as Service<http::Request<Body>>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    // None of them ever waits.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match request.uri().path() {
            OBSERVE => self.long.call(request),
            GET_TOKEN => self.known.call(request),
            _ => self.short.call(request),
        }
    }
}

impl NamedService for FleetCalls {
    const NAME: &'static str = Calls::NAME;
}
