//! Fills a database with a large organisation, for measuring how a control plane and a replica start over it.
//!
//! `cargo run --profile measure -p tollgate-tests --example organisation URL [users [groups]]`, with a URL of an empty
//! database: `sqlite:///tmp/organisation.db` or `postgres://user@host/name`. `bench/run --only organisation` measures.
#![expect(clippy::print_stdout, reason = "it prints the name of a key")]

use anyhow::Context as _;
use tollgate_control_plane::store::Store;
use tollgate_tests::organisation::Organisation;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("needs the URL of an empty database")?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let organisation = Organisation { users: number(10_000)?, groups: number(200)?, together: 1 };
    anyhow::ensure!(organisation.users > 0 && organisation.groups > 0, "needs a user and a group");
    organisation.fill(&Store::open(&url).await?).await?;
    println!("the key of the last user is {}", Organisation::key_name(organisation.users - 1));
    Ok(())
}
