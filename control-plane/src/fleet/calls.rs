//! The FleetService as its listener has it: what replicas tell of servers of tools is long, and is read of nobody but a replica.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tollgate_proto::fleet::v1::fleet_service_server::FleetServiceServer;
use tonic::{body::Body, server::NamedService};
use tower::Service;

use super::Identified;
use crate::api::fleet::FleetApi;

/// The call that may be long.
const OBSERVE: &str = "/tollgate.fleet.v1.FleetService/Observe";

type Calls = FleetServiceServer<FleetApi>;

/// The FleetService.
#[derive(Clone, Debug)]
pub struct FleetCalls {
    pub(super) short: Calls,
    pub(super) long: Identified<Calls>,
}

impl Service<http::Request<Body>> for FleetCalls {
    type Response = http::Response<Body>;
    type Error = <Calls as Service<http::Request<Body>>>::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    // Neither ever waits.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() == OBSERVE { self.long.call(request) } else { self.short.call(request) }
    }
}

impl NamedService for FleetCalls {
    const NAME: &'static str = Calls::NAME;
}
