//! `tollgate-proxy`: one replica of the proxy.



#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Before anything makes a TLS connection. It fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    tollgate_proxy::program::run(std::env::args().skip(1), variables.collect()).await
}
