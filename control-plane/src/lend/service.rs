//! LeaseService: what a replica calls when it runs low, has too much, or has a request waiting.

use std::collections::HashSet;

use tollgate_policy::{
    id::BudgetId,
    lend::{Ask, Standing},
    money::NanoUsd,
};
use tollgate_proto::fleet::v1::{self, lease_service_server::LeaseService};
use tonic::{Request, Response, Status};

use super::{Answered, Asked, Exchange, LendError, Lender};
use crate::{
    api::{failure::Failure, violations::Violations},
    intake::Reporter,
};

/// The most budgets of one exchange, as the contract says.
const ASKS_MAX: usize = 256;
/// The most earlier runs of one exchange: a replica that restarts in a circle names its last ones.
const REPLAYED_MAX: usize = 256;
/// The largest amount, in nano-dollars: 72 million dollars, so that no sum of asks overflows.
const AMOUNT_MAX: i64 = i64::MAX / 128;

/// Answers the LeaseService.
#[derive(Clone, Debug)]
pub struct Leases {
    lender: Lender,
}

impl Leases {
    /// By this lender.
    #[must_use]
    pub const fn new(lender: Lender) -> Self {
        Self { lender }
    }
}

#[tonic::async_trait]
impl LeaseService for Leases {
    async fn exchange(&self, request: Request<v1::ExchangeRequest>) -> Result<Response<v1::ExchangeResponse>, Status> {
        let reporter = request.extensions().get::<Reporter>().cloned();
        let reporter = reporter.ok_or_else(|| Status::unauthenticated("only a replica may borrow"))?;
        let exchange = read(reporter, request.into_inner())?;
        let answers = self.lender.exchange(exchange).await?;
        Ok(Response::new(v1::ExchangeResponse { answers: answers.iter().map(written).collect() }))
    }
}

impl From<LendError> for Status {
    fn from(error: LendError) -> Self {
        match error {
            LendError::Superseded { .. } => Self::failed_precondition(error.to_string()),
            LendError::Unavailable => Self::unavailable("the books are busy or cannot be reached: try again"),
            LendError::Failed => Self::internal("the control plane could not lend: its log says why"),
        }
    }
}

fn read(Reporter(replica): Reporter, request: v1::ExchangeRequest) -> Result<Exchange, Failure> {
    let v1::ExchangeRequest { incarnation, asks, replayed_incarnations: replayed } = request;
    let mut violations = Violations::default();
    if incarnation < 1 {
        violations.add("incarnation", "must be 1 or more");
    }
    if replayed.len() > REPLAYED_MAX {
        violations.add("replayed_incarnations", format!("must be at most {REPLAYED_MAX}"));
    } else if replayed.iter().any(|run| !(1..incarnation).contains(run)) {
        violations.add("replayed_incarnations", "must be earlier than the incarnation, and 1 or more");
    }
    if asks.len() > ASKS_MAX {
        violations.add("asks", format!("must be at most {ASKS_MAX}"));
        return violations.finish(None);
    }
    let mut seen = HashSet::with_capacity(asks.len());
    let mut read = Vec::with_capacity(asks.len());
    for (at, ask) in asks.into_iter().enumerate() {
        if !seen.insert((ask.budget.clone(), ask.window_ms)) {
            violations.add(format!("asks[{at}].budget"), "must not be asked for twice in one window");
        }
        read.extend(asked(at, &ask, &mut violations));
    }
    violations.finish(Some(Exchange { replica, incarnation, asks: read, replayed }))
}

fn asked(at: usize, wire: &v1::LeaseAsk, violations: &mut Violations) -> Option<Asked> {
    let v1::LeaseAsk { budget, window_ms, granted, returned, need, wish, mean_hold } = wire;
    let budget = violations.take(&format!("asks[{at}].budget"), BudgetId::parse(budget));
    let mut amount = |name: &str, value: i64| {
        if !(0..=AMOUNT_MAX).contains(&value) {
            violations.add(format!("asks[{at}].{name}"), format!("must be from 0 to {AMOUNT_MAX}"));
        }
        NanoUsd::new(value)
    };
    let ask = Ask {
        granted: amount("granted", *granted),
        returned: amount("returned", *returned),
        need: amount("need", *need),
        wish: amount("wish", *wish),
        mean_hold: amount("mean_hold", *mean_hold),
    };
    Some(Asked { budget: budget?, window: *window_ms, ask })
}

fn written(answered: &Answered) -> v1::LeaseAnswer {
    match *answered {
        Answered::Lent { window, valid_ms, answer } => v1::LeaseAnswer {
            window_ms: window,
            granted: answer.granted.get(),
            valid_ms,
            standing: match answer.standing {
                Standing::Ample => v1::LeaseStanding::Ample,
                Standing::Scarce => v1::LeaseStanding::Scarce,
                Standing::Exhausted => v1::LeaseStanding::Exhausted,
            }
            .into(),
            limit: answer.limit.get(),
            settled: answer.settled.get(),
        },
        Answered::Gone => v1::LeaseAnswer { standing: v1::LeaseStanding::Gone.into(), ..Default::default() },
    }
}
