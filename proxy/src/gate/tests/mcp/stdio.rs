//! Servers of tools that run as processes of the replica.

use super::*;

mod fake;

// The test that a process of this program is started as.
const SERVER: &str = "gate::tests::mcp::stdio::a_process_has_the_environment_of_its_configuration_and_no_other";

fn process(kind: &str) -> McpProcess {
    let environment = [(fake::KIND, kind), ("PATH", "/usr/bin:/bin"), ("TOKEN", "for-the-process")];
    McpProcess {
        command: std::env::current_exe().unwrap(),
        arguments: ["--exact", "--nocapture", SERVER].map(str::to_owned).into(),
        environment: environment.map(|(name, value)| (name.to_owned(), tollgate_settings::Secret::new(value))).into(),
        directory: None,
        processes_max: 4,
    }
}

fn local(name: &str) -> McpServer {
    McpServer { allow_private: false, transport: Transport::Stdio, ..blank(name, String::new()) }
}

async fn started(name: &str, process: McpProcess) -> Tools {
    Tools::with(vec![local(name)], BTreeMap::from([(name.to_owned(), process)])).await
}

fn text(said: &Value) -> String {
    said["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{said}")).to_owned()
}

impl Tools {
    async fn use_tool(&self, session: &str, name: &str) -> Value {
        self.ask("/mcp", session, "tools/call", json!({"name": name, "arguments": {"message": "hi"}})).await
    }

    /// The process that serves a session, and how often it was called.
    async fn pid(&self, session: &str) -> (i32, u64) {
        let said = text(&self.use_tool(session, "notes__pid").await);
        let (pid, calls) = said.split_once(' ').unwrap();
        (pid.parse().unwrap(), calls.parse().unwrap())
    }

    /// How often something has happened in the processes of a server, as they note it.
    fn noted(&self, name: &str, what: &str) -> usize {
        std::fs::read(self.home.path().join("mcp").join(name).join(what)).map_or(0, |notes| notes.len())
    }

    fn starts(&self, name: &str) -> usize {
        self.noted(name, "start")
    }
}

// Whether it runs: one that was not waited for is still there, as a zombie.
fn is_there(pid: i32) -> bool {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::test_kill_process(pid).is_ok()
}

#[tokio::test]
async fn a_process_has_the_environment_of_its_configuration_and_no_other() {
    fake::serve_if_asked();
    let tools = started("notes", process("legacy")).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let said: Value = serde_json::from_str(&text(&tools.use_tool(&session, "notes__surroundings").await)).unwrap();
    let home = tools.home.path().join("mcp/notes");
    let home = home.to_str().unwrap();
    assert_eq!(
        said,
        json!({
            "directory": home,
            "environment": {"HOME": home, "PATH": "/usr/bin:/bin", "TOKEN": "for-the-process", fake::KIND: "legacy"},
        })
    );
    assert!(std::env::vars_os().count() > 4, "there is more here that could have been inherited");
}

// SECURITY row 17: on every transport.
#[tokio::test]
async fn a_denied_tool_of_a_process_is_neither_listed_nor_called() {
    let tools = started("notes", process("legacy")).await;
    tools.allow(&["notes.*", "!notes.pid"]);
    let sessions = [tools.initialize("/mcp", json!({})).await, tools.initialize("/mcp/notes", json!({})).await];
    for ((path, name), session) in [("/mcp", "notes__pid"), ("/mcp/notes", "pid")].into_iter().zip(&sessions) {
        let params = json!({"name": name, "arguments": {}});
        for (list, said) in [
            (
                tools.ask(path, session, "tools/list", json!({})).await,
                tools.ask(path, session, "tools/call", params.clone()).await,
            ),
            (tools.alone(path, "tools/list", json!({})).await, tools.alone(path, "tools/call", params.clone()).await),
        ] {
            let listed = names(&list, "tools", "name");
            assert!(listed.len() > 2 && !listed.iter().any(|listed| listed == name), "{listed:?}");
            assert_eq!(said["error"]["code"], -32_602, "{path} {said}");
        }
    }
    tools.allow(&[]);
    assert_eq!(tools.pid(&sessions[0]).await.1, 1, "the first call that reached its process");
}

#[tokio::test]
async fn each_session_is_a_process_of_its_own_and_clients_without_share_one() {
    let tools = started("notes", process("legacy")).await;
    let (one, two) = (tools.initialize("/mcp", json!({})).await, tools.initialize("/mcp", json!({})).await);
    let list = tools.ask("/mcp", &one, "tools/list", json!({})).await;
    assert_eq!(names(&list, "tools", "name")[..2], ["notes__echo", "notes__pid"]);
    let (first, second) = (tools.pid(&one).await, tools.pid(&two).await);
    assert_ne!(first.0, second.0);
    assert_eq!((first.1, second.1), (1, 1), "each counts for itself");
    assert_eq!(tools.pid(&one).await, (first.0, 2));
    let alone = async || text(&tools.alone("/mcp", "tools/call", json!({"name": "notes__pid", "arguments": {}})).await);
    let (third, fourth) = (alone().await, alone().await);
    let pid = |said: &str| said.split_once(' ').unwrap().0.parse::<i32>().unwrap();
    assert_eq!(pid(&third), pid(&fourth));
    assert!(![first.0, second.0].contains(&pid(&third)));
    assert_eq!(tools.starts("notes"), 3, "and no other was started");
    // A session that its client ends takes its process along.
    let answer = tools.stand.call("DELETE", "/mcp", "", &[("mcp-session-id", &one)]).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    tools.until(|| !is_there(first.0)).await;
    assert!(is_there(second.0));
}

#[tokio::test]
async fn what_a_server_asks_while_it_works_is_answered_by_the_client_of_that_session() {
    let tools = started("notes", process("legacy")).await;
    let session = tools.initialize("/mcp", json!({"elicitation": {}})).await;
    let call =
        tools.message("tools/call", json!({"name": "notes__ask", "arguments": {}, "_meta": {"progressToken": "mine"}}));
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")];
    let answer = json!({"jsonrpc": "2.0", "id": "notes:7", "result": {"action": "accept", "content": {"name": "Ada"}}});
    let answering = async {
        loop {
            assert_eq!(tools.post("/mcp", &answer, &headers).await.status, 202);
        }
    };
    let said = tokio::select! {
        said = tools.post("/mcp", &call, &headers) => messages(&said),
        () = answering => unreachable!(),
    };
    assert_eq!(said.len(), 3, "{said:?}");
    assert_eq!(
        (&said[0]["method"], &said[0]["params"]["progressToken"]),
        (&"notifications/progress".into(), &"mine".into())
    );
    assert_eq!((&said[1]["method"], &said[1]["id"]), (&"elicitation/create".into(), &"notes:7".into()));
    assert_eq!(said[2]["id"], call["id"]);
    assert!(text(&said[2]).contains("Ada"));
    // Who cannot be asked is not.
    let said = tools.alone("/mcp", "tools/call", json!({"name": "notes__ask", "arguments": {}})).await;
    assert!(text(&said).contains("error"), "{said}");
    // Nor is anybody where it could be about either of two calls.
    let alone = async |name: &str| tools.alone("/mcp", "tools/call", json!({"name": name, "arguments": {}})).await;
    let asking = async {
        tools.until(|| tools.noted("notes", "hang") == 1).await;
        text(&alone("notes__ask").await)
    };
    let said = tokio::select! {
        said = alone("notes__hang") => panic!("{said}"),
        said = asking => said,
    };
    assert!(said.contains("error"), "{said}");
}

#[tokio::test]
async fn a_call_that_nobody_waits_for_is_cancelled_in_the_process() {
    let tools = started("notes", process("legacy")).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")];
    for (number, says_so) in [(1, true), (2, false)] {
        let call = tools.message("tools/call", json!({"name": "notes__hang", "arguments": {}}));
        let cancel =
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": call["id"]}});
        let going = async {
            tools.until(|| tools.noted("notes", "hang") == number).await;
            if says_so {
                assert_eq!(tools.post("/mcp", &cancel, &headers).await.status, 202);
                tools.until(|| tools.noted("notes", "cancelled") == number).await;
            }
        };
        tokio::select! {
            said = tools.post("/mcp", &call, &headers) => panic!("{}", said.text),
            () = going => {}
        }
        tools.until(|| tools.noted("notes", "cancelled") == number).await;
    }
    assert_eq!(tools.pid(&session).await.1, 3, "in the same process");
    assert_eq!(tools.noted("notes", "cancelled"), 2, "each once");
}

#[tokio::test]
async fn a_process_that_dies_fails_what_is_open_at_once_and_the_session_goes_on_in_another() {
    let tools = started("notes", process("legacy")).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let before = tools.pid(&session).await;
    let (hung, crashed) =
        tokio::join!(tools.use_tool(&session, "notes__hang"), tools.use_tool(&session, "notes__crash"));
    for said in [hung, crashed] {
        assert_eq!(said["result"]["isError"], true, "{said}");
        assert!(text(&said).contains("its process has ended (exit status 7)"), "{said}");
    }
    let after = tools.pid(&session).await;
    assert_ne!(before.0, after.0);
    assert_eq!(after.1, 1, "what it kept is lost");
    assert!(!is_there(before.0));
}

#[tokio::test]
async fn lines_that_are_no_messages_are_dropped_and_a_line_that_is_too_long_ends_the_process() {
    let server = McpServer { result_bytes_max: 64 * 1024, ..local("notes") };
    let tools = Tools::with(vec![server], BTreeMap::from([("notes".to_owned(), process("legacy"))])).await;
    let session = tools.initialize("/mcp", json!({})).await;
    assert_eq!(text(&tools.use_tool(&session, "notes__garbage").await), "after it");
    let before = tools.pid(&session).await;
    for (name, is_same) in [("notes__long", true), ("notes__endless", false)] {
        let said = tools.use_tool(&session, name).await;
        assert!(text(&said).contains("its answer is longer than"), "{said}");
        assert_eq!(tools.pid(&session).await.0 == before.0, is_same, "{name}");
    }
}

#[tokio::test]
async fn a_server_that_leaves_the_policy_ends_with_all_that_it_has_started() {
    let tools = started("notes", process("legacy")).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let pid = tools.pid(&session).await.0;
    let offspring: i32 = text(&tools.use_tool(&session, "notes__offspring").await).parse().unwrap();
    assert!(is_there(pid) && is_there(offspring));
    tools.put(vec![Object::McpServer(McpServer { disabled: true, ..local("notes") })]);
    // Whoever has lost its parent is waited for by others.
    let is_zombie = || {
        let stat = std::fs::read_to_string(format!("/proc/{offspring}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    };
    tools.until(|| !is_there(pid) && is_zombie()).await;
}

#[tokio::test]
async fn a_process_that_does_not_end_is_killed_when_the_replica_ends() {
    let stubborn = process("stubborn");
    let mut arguments = vec!["-c".to_owned(), "trap '' TERM; exec \"$@\"".to_owned(), "sh".to_owned()];
    arguments.push(stubborn.command.to_str().unwrap().to_owned());
    arguments.extend(stubborn.arguments.iter().cloned());
    let mut tools = started("notes", McpProcess { command: "/bin/sh".into(), arguments, ..stubborn }).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let pid = tools.pid(&session).await.0;
    tools.ending.cancel();
    while tools.keeping.join_next().await.is_some() {}
    assert!(!is_there(pid));
}

// SECURITY row 2: what starts a process is the replica's own configuration, and nothing that comes from elsewhere.
#[tokio::test]
async fn a_policy_that_names_a_server_as_a_process_starts_nothing_where_the_configuration_has_none() {
    let tools = Tools::with(vec![local("notes")], BTreeMap::from([("other".to_owned(), process("legacy"))])).await;
    let problem = tools.stand.servers.get(&local("notes"), None).unwrap().problem().unwrap().to_string();
    assert_eq!(problem, "it runs as a process, and the configuration of this replica names none for it");
    let session = tools.initialize("/mcp", json!({})).await;
    let said = tools.use_tool(&session, "notes__echo").await;
    assert!(text(&said).contains(&problem), "{said}");
    // Nor does an address that looks like a command.
    for url in ["/bin/sh", "stdio:/bin/sh", "file:///bin/sh", "command:/bin/sh"] {
        tools.put(vec![Object::McpServer(McpServer {
            url: url.into(),
            transport: Transport::StreamableHttp,
            ..local("notes")
        })]);
        let problem = || tools.stand.servers.get(&local("notes"), None)?.problem();
        tools.until(|| problem().is_some_and(|problem| matches!(problem, crate::mcp::Unreached::Address(_)))).await;
    }
    assert_eq!((tools.starts("notes"), tools.starts("other")), (0, 0));
}

#[tokio::test]
async fn the_session_that_was_silent_for_longest_makes_room_and_one_in_use_does_not() {
    // One is the replica's own.
    let tools = started("notes", McpProcess { processes_max: 3, ..process("legacy") }).await;
    let one = tools.initialize("/mcp", json!({})).await;
    let first = tools.pid(&one).await;
    let two = tools.initialize("/mcp", json!({})).await;
    let second = tools.pid(&two).await;
    let three = tools.initialize("/mcp", json!({})).await;
    tools.pid(&three).await;
    assert!(!is_there(first.0) && is_there(second.0));
    // The others are busy now.
    let busy = async {
        tokio::join!(tools.use_tool(&two, "notes__hang"), tools.use_tool(&three, "notes__hang"));
    };
    let refused = async {
        tools.until(|| tools.noted("notes", "hang") == 2).await;
        text(&tools.use_tool(&one, "notes__echo").await)
    };
    let said = tokio::select! {
        () = busy => unreachable!(),
        said = refused => said,
    };
    assert!(said.contains("all of the 3 processes that it may have are in use"), "{said}");
}

#[tokio::test]
async fn a_server_of_2026_07_28_is_one_process_in_which_nothing_of_two_clients_is_mixed_up() {
    let tools = started("notes", process("modern")).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let ask = async |id: u64, message: &str| {
        let meta = json!({"progressToken": 1, "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                          "io.modelcontextprotocol/clientCapabilities": {}});
        let params = json!({"name": "notes__echo", "arguments": {"message": message}, "_meta": meta});
        let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        let headers =
            [("mcp-protocol-version", "2026-07-28"), ("mcp-method", "tools/call"), ("mcp-name", "notes__echo")];
        messages(&tools.post("/mcp", &body, &headers).await)
    };
    let (one, two) = tokio::join!(ask(1, "one"), ask(1, "two"));
    for (said, expect) in [(one, "one"), (two, "two")] {
        assert_eq!((said.len(), &said[0]["params"]["progressToken"]), (2, &1.into()), "{said:?}");
        assert_eq!((&said[1]["id"], text(&said[1])), (&1.into(), expect.to_owned()));
    }
    assert_eq!(text(&tools.use_tool(&session, "notes__echo").await), "hi");
    assert_eq!(tools.starts("notes"), 2, "a session was tried, and is not tried again");
    assert_eq!(text(&tools.use_tool(&session, "notes__echo").await), "hi");
    assert_eq!(tools.starts("notes"), 2);
}

#[tokio::test]
async fn a_changed_list_is_heard_on_the_standing_stream() {
    let tools = started("notes", process("legacy")).await;
    let grown = tools.alone("/mcp", "tools/call", json!({"name": "notes__grow", "arguments": {}})).await;
    assert_eq!(text(&grown), "grown");
    let has = || tools.stand.servers.get(&local("notes"), None).unwrap().catalogue().unwrap().tool("grown").is_some();
    tools.until(has).await;
    assert_eq!(tools.starts("notes"), 1, "it is asked again, and not started again");
}

#[tokio::test]
async fn a_server_that_ends_over_a_question_that_it_does_not_know_is_not_asked_it_again() {
    let tools = started("notes", process("rude")).await;
    let session = tools.initialize("/mcp", json!({})).await;
    assert_eq!(text(&tools.use_tool(&session, "notes__echo").await), "hi");
    assert_eq!(tools.starts("notes"), 3, "asked, greeted, and once for the session");
}
