use std::{net::TcpListener, path::Path};

use tollgate_policy::{
    budget::{Budget, Enforcement, Holding},
    pattern::Patterns,
};
use tollgate_settings::Secret;

use super::*;
use crate::{
    membership,
    spool::{BYTES_MIN, Durability, Options},
};

// More than one call carries.
const BUDGETS: usize = 400;

fn budget(number: usize) -> Arc<Budget> {
    Arc::new(Budget {
        id: BudgetId::from_ulid(&format!("01k9zq3v5m8c4t2n7r6x{number:06}")).unwrap(),
        limit: NanoUsd::new(1_000),
        period: "1h".parse().unwrap(),
        models: Patterns::default(),
        provider: None,
        enforcement: Enforcement::Hard,
        holding: Holding::Strict,
        grace: None,
        contact: Arc::default(),
    })
}

// Over a link to a control plane that nobody runs.
fn borrowing(funds: &Arc<Funds>) -> Borrowing {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let link = Link::open(membership::Options {
        control_plane: format!("http://{address}"),
        data_dir: Path::new("/nowhere").to_path_buf(),
        name: "replica-1".to_owned(),
        region: "local".to_owned(),
        join_token: None,
        fleet_token: Some(Secret::new("fleet-token")),
        authority: None,
    });
    let options = Options { durability: Durability::Memory, bytes_max: BYTES_MIN };
    let (spool, _) = Spool::open(Path::new("/nowhere"), options).unwrap();
    Borrowing::new(Arc::clone(funds), link.unwrap(), spool)
}

#[tokio::test]
async fn a_budget_that_finds_no_room_in_a_call_is_asked_for_in_the_next() {
    let funds = Arc::new(Funds::new());
    let mut borrowing = borrowing(&funds);
    for number in 0..BUDGETS {
        funds.soil(&funds.purse(&budget(number)));
    }
    let _ = borrowing.turn().await;
    let dirty = funds.wash();
    assert_eq!(dirty.len(), BUDGETS, "those that were said in vain, and those that were not said");
    let told = dirty.iter().filter(|purse| purse.heard.borrow().attempts == 1).count();
    assert!(told > 0 && told < BUDGETS, "{told}");
}
