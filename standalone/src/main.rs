//! `tollgate-standalone`: a control plane and one proxy in one process over SQLite: what `make run` starts.
//!
//! Reading order: `options`, what can be typed; `parts`, the two configurations that follow from it; `seed`, what a first start
//! puts there; `banner`, what is printed; `process`, which starts the parts and ends them.

mod options;
mod parts;
mod seed;
mod banner;
mod process;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> anyhow::Result<()> {
    let options = options::Options::parse();
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("another provider of TLS was installed before"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(Box::pin(process::run(options)))
}
