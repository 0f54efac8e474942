//! Tools of a process: an administrator names the server, and each replica says for itself which program that is, or that it has none.

use serde_json::Value;
use tollgate_proto::admin::v1::{CreateMcpServerRequest, GetMcpServerRequest, Key, McpServer};
use tollgate_tests::{database::Kind, fleet::Fleet, process::Program, until};

use super::mcp::Agent;

/// A server of 2025-11-25 whose only tool tells its number, its token, and how much it sees of its replica's settings.
const PROGRAM: &str = r#"
while IFS= read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/^{"jsonrpc":"2.0","id":\([0-9]*\),.*/\1/p')
  [ -n "$id" ] || continue
  case "$line" in
    *'"method":"initialize"'*) said='"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"local","version":"1"}}' ;;
    *'"method":"tools/list"'*) said='"result":{"tools":[{"name":"tell","inputSchema":{"type":"object"}}]}' ;;
    *'"method":"tools/call"'*) said="\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"$$ $TOKEN $(env | grep -c TOLLGATE)\"}]}" ;;
    *) said='"error":{"code":-32601,"message":"unknown"}' ;;
  esac
  printf '{"jsonrpc":"2.0","id":%s,%s}\n' "$id" "$said"
done
"#;

fn text(said: &Value) -> &str {
    said["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{said}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_an_address_runs_where_a_replica_names_its_program_and_nowhere_else() {
    let mut fleet = Fleet::start(Kind::Sqlite, 2).await;
    let (program, file) = (fleet.directory.path().join("local.sh"), fleet.directory.path().join("proxy.toml"));
    std::fs::write(&program, PROGRAM).unwrap();
    let table = format!(
        "[mcp_stdio.local]\ncommand = '/bin/sh'\nargs = ['{}']\nenv = {{ TOKEN = 'of-the-process' }}\n",
        program.display()
    );
    std::fs::write(&file, table).unwrap();
    let file = file.to_str().unwrap().to_owned();

    // SECURITY row 2: a table alone is not enough.
    let log = fleet.directory.path().join("refused.log");
    let refused = Program::start("tollgate-proxy", &["--config", &file, "--check-config"], &[], &log);
    assert!(!refused.ended().await && refused.said().contains("--mcp-stdio"), "{}", refused.said());

    fleet.replicas[0].end().await;
    fleet.replicas[0].argue(&["--config", &file, "--mcp-stdio"]);
    fleet.replicas[0].restart(&fleet.http).await;
    let server = McpServer { name: "local".into(), transport: "stdio".into(), ..McpServer::default() };
    fleet.admin.mcp().create_mcp_server(CreateMcpServerRequest { mcp_server: Some(server) }).await.unwrap();
    let key = Key { name: "agent".into(), team: "platform".into(), ..Key::default() };
    let key = fleet.admin.key_with(key).await.secret;
    let health = until("both replicas to have tried it", || async {
        let server = fleet.admin.mcp().get_mcp_server(GetMcpServerRequest { mcp_server: "local".into() }).await;
        let health = server.unwrap().into_inner().health?;
        (health.replicas == 2 && health.tools == 1 && health.pending == 0).then_some(health)
    })
    .await;
    assert_eq!(health.failing, 1, "{health:?}");
    fleet.admin.converged(2).await;

    let mut agent = Agent::new(&fleet.http, key);
    let [one, other] = [0, 1].map(|at| fleet.replicas[at].url.clone());
    agent.begin(&one).await;
    until("the tool to be offered", || async { (agent.listed(&one).await == ["local__tell"]).then_some(()) }).await;
    let said = agent.call(&one, "local__tell", "toolu_1").await;
    let (pid, rest) = text(&said).split_once(' ').unwrap();
    assert_eq!(rest, "of-the-process 0");
    let said = agent.call(&other, "local__tell", "toolu_2").await;
    assert!(text(&said).contains("the configuration of this replica names none for it"), "{said}");

    // Whoever ends the replica ends what it runs; and one that is cut off leaves nothing either.
    let is_there = |pid: &str| std::fs::metadata(format!("/proc/{pid}")).is_ok();
    assert!(is_there(pid));
    fleet.replicas[0].end().await;
    assert!(!is_there(pid), "it outlived its replica");
    fleet.replicas[0].restart(&fleet.http).await;
    let pid = until("another process", || async {
        let said = agent.call(&one, "local__tell", "toolu_3").await;
        Some(text(&said).split_once(" of-the-process")?.0.to_owned())
    })
    .await;
    fleet.replicas[0].kill();
    until("the process to see its input end", || async { (!is_there(&pid)).then_some(()) }).await;
}
