//! The audit log of a fleet: whatever is killed, it verifies, and every request is in it once.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tollgate_proto::{
    admin::v1::{CreateKeyRequest, Key},
    audit::v1::{Entry, ExportEntriesRequest, ListEntriesRequest},
};
use tollgate_tests::{client, cluster::Cluster, fleet::Fleet, postgres::Postgres, process::binary, until};

/// Agents that send at a time.
const AGENTS: usize = 12;
/// Requests that are answered between two kills.
const STRETCH: usize = 150;

/// What a client saw of its requests: the id that it was told, the status, and whether the answer came whole.
type Seen = Arc<Mutex<HashMap<String, (u16, bool)>>>;

// Every entry behind an index, oldest first.
async fn entries(fleet: &Fleet) -> Vec<Entry> {
    let (mut entries, mut behind) = (Vec::new(), 0);
    loop {
        let request = ListEntriesRequest { page_size: 1_000, after_index: Some(behind), ..Default::default() };
        let page = fleet.admin.audit().list_entries(request).await.unwrap().into_inner().entries;
        let Some(last) = page.last() else { return entries };
        behind = last.index;
        entries.extend(page);
    }
}

async fn load(fleet: &Fleet, key: &str, seen: &Seen, stop: &CancellationToken) -> JoinSet<()> {
    let mut agents = JoinSet::new();
    for agent in 0..AGENTS {
        let urls: Vec<String> = fleet.replicas.iter().map(|replica| replica.url.clone()).collect();
        let (http, key, seen, stop) = (fleet.http.clone(), key.to_owned(), Arc::clone(seen), stop.clone());
        agents.spawn(async move {
            for turn in agent.. {
                if stop.is_cancelled() {
                    return;
                }
                let settings = [("events", "6"), ("spacing", "4ms")];
                let request = client::shaped(&http, &urls[turn % urls.len()], &key, turn % 2 == 0, &settings);
                let Ok(mut response) = request.send().await else {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let id = response.headers().get("request-id").unwrap().to_str().unwrap().to_owned();
                let status = response.status().as_u16();
                seen.lock().unwrap().insert(id.clone(), (status, false));
                let whole = loop {
                    match response.chunk().await {
                        Ok(Some(_)) => {}
                        ended => break ended.is_ok(),
                    }
                };
                seen.lock().unwrap().insert(id, (status, whole));
            }
        });
    }
    agents
}

async fn answered(seen: &Seen, more: usize) {
    let count = || seen.lock().unwrap().values().filter(|(status, whole)| *status == 200 && *whole).count();
    let enough = count() + more;
    until("so many answers", || async { (count() >= enough).then_some(()) }).await;
}

// What the command line says of an export, beside what replicas and the control plane kept elsewhere.
fn verify(export: &Path, witnesses: &[PathBuf]) -> (Option<i32>, String) {
    let mut command = Command::new(binary("tollgate"));
    command.env_clear().args(["audit", "verify"]).arg(export);
    for witness in witnesses {
        command.arg("--checkpoint").arg(witness);
    }
    let ended = command.output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    (ended.status.code(), said.concat())
}

async fn export(fleet: &Fleet, path: &Path) {
    let mut pieces = fleet.admin.audit().export_entries(ExportEntriesRequest::default()).await.unwrap().into_inner();
    let mut file = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        file.extend(piece.lines);
    }
    std::fs::write(path, file).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_control_plane_and_postgresql_are_killed_under_load_and_the_log_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(directory.path()).await;
    let mut fleet = Fleet::start_over(postgres.url.clone(), directory, 2, &[]).await;
    let key = fleet.admin.key("dev").await.secret;
    fleet.admin.converged(2).await;
    let (seen, stop) = (Seen::default(), CancellationToken::new());
    let agents = load(&fleet, &key, &seen, &stop).await;

    let http = fleet.http.clone();
    answered(&seen, STRETCH).await;
    fleet.replicas[0].kill();
    answered(&seen, STRETCH).await;
    fleet.replicas[0].restart(&http).await;
    fleet.control_plane.kill();
    answered(&seen, STRETCH).await;
    fleet.control_plane.restart(&http).await;
    answered(&seen, STRETCH).await;
    postgres.kill();
    answered(&seen, STRETCH).await;
    postgres.restart().await;
    answered(&seen, STRETCH).await;
    // All at once, as when the power fails.
    fleet.replicas.iter().for_each(|replica| replica.kill());
    fleet.control_plane.kill();
    postgres.kill();
    stop.cancel();
    agents.join_all().await;
    postgres.restart().await;
    fleet.control_plane.restart(&http).await;
    for replica in &mut fleet.replicas {
        replica.restart(&http).await;
    }

    // Nobody that the replicas know.
    for replica in &fleet.replicas {
        let answer = client::send(&http, &replica.url, "nobody", client::message("hello", false)).await;
        assert!(matches!(answer.status.as_u16(), 401 | 503), "{answer:?}");
        let id = answer.header("request-id").to_owned();
        seen.lock().unwrap().insert(id, (answer.status.as_u16(), true));
    }

    // Every id that a client was told, whole or cut.
    let seen = seen.lock().unwrap().clone();
    let terminal = until("everything that was seen to be in the log", || async {
        let found = entries(&fleet).await;
        let terminal: Vec<Entry> = found.iter().filter(|entry| entry.action.starts_with("request.")).cloned().collect();
        let told: HashSet<&str> = terminal.iter().map(|entry| entry.request_id.as_str()).collect();
        let missing = seen.keys().filter(|id| !told.contains(id.as_str())).count();
        let lost: i64 = found.iter().map(lost).sum();
        (i64::try_from(missing).unwrap() <= lost).then_some(terminal)
    })
    .await;
    let mut counted: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in &terminal {
        *counted.entry(&entry.request_id).or_default() += 1;
    }
    let twice: Vec<_> = counted.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "ended twice: {twice:?}");
    let missing = |id: &str| !counted.contains_key(id);
    let in_gaps = seen.keys().filter(|id| missing(id)).count();
    let early = seen.iter().filter(|(id, (status, _))| matches!(status, 401 | 503) && !missing(id)).count();
    assert!(early >= fleet.replicas.len(), "who was refused before their key was known is told too");
    // Whatever a client read to its end is told as it ended.
    let admitted = |id: &str| terminal.iter().any(|entry| entry.request_id == id && entry.action == "request.admit");
    let ended: Vec<_> = seen.iter().filter(|(_, (status, whole))| *status == 200 && *whole).map(|(id, _)| id).collect();
    let untold = ended.iter().filter(|id| !admitted(id) && !missing(id)).count();
    let uncertain = terminal.iter().filter(|entry| entry.action == "request.uncertain").count();
    assert!(untold <= uncertain, "{untold} were read to the end and are told otherwise, {uncertain} are uncertain");

    let file = fleet.directory.path().join("export.jsonl");
    export(&fleet, &file).await;
    let kept = |name: &str| fleet.directory.path().join(name);
    let witnesses = [
        kept("audit-checkpoints.jsonl"),
        kept("replica-0").join("audit-witness.jsonl"),
        kept("replica-1").join("audit-witness.jsonl"),
    ];
    let (code, said) = verify(&file, &witnesses);
    assert_eq!(code, Some(0), "{said}");
    println!(
        "{} seen, {} ended, {uncertain} uncertain, {early} before their key was known, {in_gaps} in gaps\n{said}",
        seen.len(),
        terminal.len()
    );
}

// A text that would be more than one entry, one field or one element, were it written as it is.
const FORGED: &str =
    "m\"] \\ \n{\"index\":1}\n<13>1 2026-01-01T00:00:00Z host tollgate - forged [x y=\"z\"] admitted\r\nCEF:0|x|a=b";

#[tokio::test(flavor = "multi_thread")]
async fn nobody_forges_an_entry_by_a_name_a_model_or_a_user_agent() {
    let cluster = Cluster::small().await;
    let key = cluster.key("dev").await;
    // A key cannot be called so at all.
    let named = Key { name: FORGED.into(), team: "platform".into(), ..Key::default() };
    assert!(cluster.admin.keys().create_key(CreateKeyRequest { key: Some(named) }).await.is_err());
    let body =
        serde_json::json!({"model": FORGED, "max_tokens": 8, "messages": [{"role": "user", "content": "hello"}]});
    let visible: String =
        FORGED.chars().map(|character| if character.is_control() { '|' } else { character }).collect();
    let request = cluster.http.post(format!("{}/v1/messages", cluster.replicas[0].url)).bearer_auth(&key);
    let request = request.header("user-agent", &visible).header("x-claude-code-session-id", &visible);
    let request = request.header("anthropic-version", "2023-06-01").header("content-type", "application/json");
    client::read(request.body(body.to_string())).await;
    let told =
        until("the request to be in the log", || async { cluster.admin.entries("action=request.*").await.pop() });
    let told = told.await;
    let detail: serde_json::Value = serde_json::from_str(&told.detail).unwrap();
    assert_eq!(detail["user_agent"], visible.as_str());
    assert!([&told.target, &told.session].iter().all(|fact| !fact.contains(char::is_control)), "{told:?}");

    let token = std::fs::read_to_string(cluster.directory().join("admin-token")).unwrap();
    let server = &cluster.control_planes[0].admin;
    let exported = |form: &str| {
        let mut command = Command::new(binary("tollgate"));
        command.env_clear().env("HOME", cluster.directory());
        command.args(["--server", server, "--token", token.trim(), "audit", "export", "--format", form]);
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    let sealed = cluster.directory().join("sealed.jsonl");
    std::fs::write(&sealed, exported("jsonl")).unwrap();
    let (code, said) = verify(&sealed, &[]);
    assert_eq!(code, Some(0), "{said}");
    let entries = std::fs::read_to_string(&sealed).unwrap().lines().filter(|line| line.contains("\"leaf\"")).count();
    for form in ["syslog", "cef", "ocsf"] {
        let text = exported(form);
        assert_eq!(text.lines().count(), entries, "{form}");
        let begins = |line: &str| match form {
            "syslog" => line.starts_with('<') && line.contains(" tollgate "),
            "cef" => line.starts_with("CEF:0|Tollgate|"),
            _ => serde_json::from_str::<serde_json::Value>(line).is_ok(),
        };
        assert!(text.lines().all(begins), "{form}: {text}");
        assert!(!text.lines().any(|line| line.contains("<13>1") && line.find("<13>1") == Some(0)), "{form}");
    }
}

// How many requests an entry declares lost.
fn lost(entry: &Entry) -> i64 {
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    let number = |name: &str| detail[name].as_i64().unwrap_or_default();
    match entry.action.as_str() {
        "usage.drop" => number("dropped"),
        "usage.forget" => number("to_sequence") - number("from_sequence") + 1,
        _ => 0,
    }
}
