//! `tollgate-control-plane`.

use clap::Parser as _;
use tollgate_control_plane::command::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Another part may have installed the same provider: what counts is that there is one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Command::parse().run().await
}
