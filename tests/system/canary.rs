//! A canary as provider credential and as virtual key is found in no log, trace, metric, error, database or file.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tollgate_simulator::{Options, Simulator};
use tollgate_tests::{
    admin::Admin,
    client::{self, message, simulate},
    cluster::FLEET_TOKEN,
    database::{self, Kind},
    process::{Program, answers, free_port},
    until,
};

const CANARY: &str = "sk-ant-canary-5f3a9c1e7b2d4f60";
const PROMPT: &str = "a prompt that must stay between the two ends";

/// Every file under a directory.
fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Takes whatever is sent to it: a collector of traces.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let taken = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&taken);
    tokio::task::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let into = Arc::clone(&into);
            tokio::task::spawn(async move {
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let into = Arc::clone(&into);
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        into.lock().unwrap().extend_from_slice(&body);
                        Ok::<_, hyper::Error>(http::Response::new(Full::<bytes::Bytes>::default()))
                    }
                });
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (address, taken)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sink_holds_a_secret_or_a_prompt() {
    let http = client::http();
    let directory: TempDir = tempfile::tempdir().unwrap();
    let (otlp, traces) = collector().await;
    let simulator =
        Simulator::start(Options { listen: ([127, 0, 0, 1], 0).into(), ..Options::default() }).await.unwrap();
    let local = || format!("127.0.0.1:{}", free_port());
    let (admin_listen, fleet, plane_http, listen, status) = (local(), local(), local(), local(), local());
    let data = directory.path().display().to_string();
    let observed = [("LOG_FILTER", "trace".to_owned()), ("OTLP_ENDPOINT", otlp), ("TRACE_RATIO", "1.0".into())];
    let mut plane_settings = vec![
        ("DATABASE_URL", database::fresh(Kind::Sqlite, &directory).await),
        ("DATA_DIR", data.clone()),
        ("ADMIN_LISTEN", admin_listen.clone()),
        ("FLEET_LISTEN", fleet.clone()),
        ("HTTP_LISTEN", plane_http.clone()),
        ("FLEET_TOKEN", FLEET_TOKEN.into()),
    ];
    plane_settings.extend(observed.clone());
    let mut replica_settings = vec![
        ("NAME", "replica-1".into()),
        ("DATA_DIR", format!("{data}/replica-1")),
        ("LISTEN", listen.clone()),
        ("STATUS_LISTEN", status.clone()),
        ("CONTROL_PLANE", format!("http://{fleet}")),
        ("FLEET_TOKEN", FLEET_TOKEN.into()),
    ];
    replica_settings.extend(observed);
    let plane =
        Program::start("tollgate-control-plane", &[], &plane_settings, &directory.path().join("control-plane.log"));
    answers(&http, &format!("http://{plane_http}/readyz")).await;
    let token = std::fs::read_to_string(directory.path().join("admin-token")).unwrap().trim().to_owned();
    let admin = Admin::new(&format!("http://{admin_listen}"), &token);
    admin.furnish(&format!("http://{}", simulator.addr()), CANARY).await;
    let key = admin.key("dev").await.secret;
    let replica = Program::start("tollgate-proxy", &[], &replica_settings, &directory.path().join("proxy.log"));
    answers(&http, &format!("http://{status}/readyz")).await;
    let proxy = format!("http://{listen}");

    // Every way in which a request can end, so that every sink has something to say.
    let mut said = Vec::new();
    assert_eq!(client::send(&http, &proxy, &key, message(PROMPT, true)).await.status, 200);
    for settings in [
        &[("status", "401"), ("error-message", CANARY)][..],
        &[("answer-header", format!("x-debug: {CANARY}").as_str())][..],
        &[("cut", "2")][..],
        &[("cut", "head")][..],
        &[("redirect", "http://127.0.0.1:1/")][..],
        &[("body", "garbage")][..],
    ] {
        let answer = simulate(&http, &proxy, &key, true, settings).await;
        said.push(format!("{:?}", answer.headers));
    }
    for bad in [format!("{}x", &key[..key.len() - 1]), CANARY.to_owned()] {
        said.push(client::send(&http, &proxy, &bad, message(PROMPT, false)).await.text());
    }
    assert!(admin.keys().get_key(tollgate_proto::admin::v1::GetKeyRequest { key: CANARY.into() }).await.is_err());
    admin.records_at_least(5, "").await;
    admin.revoke("dev").await;
    for address in [format!("http://{plane_http}/metrics"), format!("http://{status}/metrics")] {
        said.push(client::read(http.get(address)).await.text());
    }
    until("traces", || async { (!traces.lock().unwrap().is_empty()).then_some(()) }).await;
    plane.kill();
    replica.kill();

    let secret_of_key = key.rsplit('_').nth(1).unwrap().to_owned();
    let secrets = [
        ("the provider's credential", CANARY),
        ("the virtual key", &key),
        ("its secret part", &secret_of_key),
        ("the prompt", PROMPT),
    ];
    let traces = traces.lock().unwrap().clone();
    for (what, secret) in secrets {
        assert!(!contains(&traces, secret), "{what} is in a trace");
        assert!(said.iter().all(|text| !text.contains(secret)), "{what} is in an answer or a metric");
        for file in files(directory.path()) {
            assert!(!contains(&std::fs::read(&file).unwrap(), secret), "{what} is in {}", file.display());
        }
    }
    for file in files(directory.path()).iter().filter(|file| file.file_name().unwrap() != "admin-token") {
        assert!(!contains(&std::fs::read(file).unwrap(), &token), "the administrator's token is in {}", file.display());
        assert!(!contains(&std::fs::read(file).unwrap(), FLEET_TOKEN), "the fleet token is in {}", file.display());
    }
}
