//! Fills a database with a large organisation, for measuring how a control plane and a replica start over it.
//!
//! `cargo run --profile measure -p tollgate-tests --example organisation URL DIRECTORY [users [groups]]`, with a URL of an empty
//! database, `sqlite:///tmp/organisation.db` or `postgres://user@host/name`, and the data directory of the control plane that
//! will start over it, whose encryption key seals what is written. `bench/run --only organisation` measures.
#![expect(clippy::print_stdout, reason = "it prints the name of a key")]

use std::sync::Arc;

use anyhow::Context as _;
use tollgate_control_plane::{config::Config, store::Store};
use tollgate_settings::Reader;
use tollgate_tests::organisation::Organisation;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("needs the URL of an empty database")?;
    let directory = arguments.next().context("needs the data directory of a control plane")?;
    let config = Config::read(&mut Reader::new(Some(&format!("data_dir = '{directory}'")), []))?;
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let organisation = Organisation { users: number(10_000)?, groups: number(200)?, together: 1 };
    anyhow::ensure!(organisation.users > 0 && organisation.groups > 0, "needs a user and a group");
    organisation.fill(&Store::open(&url, Arc::new(config.keyring()?)).await?).await?;
    println!("the key of the last user is {}", Organisation::key_name(organisation.users - 1));
    Ok(())
}
