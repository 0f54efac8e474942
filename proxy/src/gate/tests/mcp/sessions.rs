//! How clients begin and go on, in each revision, and on each replica.

use super::*;

#[tokio::test]
async fn a_session_lists_what_all_servers_offer_under_their_names() {
    let (one, two) = (Fake::legacy().await, Fake::modern().await);
    let tools = Tools::new(vec![server("one", &one), server("two", &two)]).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let list = tools.ask("/mcp", &session, "tools/list", json!({})).await;
    let expect = ["one__echo", "one__delete_all", "one__ask", "two__echo", "two__delete_all", "two__ask"];
    assert_eq!(names(&list, "tools", "name"), expect);
    assert!(list["result"].get("resultType").is_none() && list["result"].get("nextCursor").is_none());
    let prompts = tools.ask("/mcp", &session, "prompts/list", json!({})).await;
    assert_eq!(names(&prompts, "prompts", "name"), ["one__review", "one__secret"]);
    let resources = tools.ask("/mcp", &session, "resources/list", json!({})).await;
    assert_eq!(names(&resources, "resources", "uri"), ["one+file:///a"]);
    let alone = tools.alone("/mcp", "tools/list", json!({})).await;
    assert_eq!(names(&alone, "tools", "name"), expect);
    assert_eq!(
        (&alone["result"]["resultType"], &alone["result"]["cacheScope"]),
        (&"complete".into(), &"private".into())
    );
    let discovered = tools.alone("/mcp", "server/discover", json!({})).await;
    assert_eq!(discovered["result"]["supportedVersions"][0], "2026-07-28");
}

#[tokio::test]
async fn one_server_is_served_under_its_own_names() {
    let one = Fake::legacy().await;
    let tools = Tools::new(vec![server("one", &one)]).await;
    let session = tools.initialize("/mcp/one", json!({})).await;
    let list = tools.ask("/mcp/one", &session, "tools/list", json!({})).await;
    assert_eq!(names(&list, "tools", "name"), ["echo", "delete_all", "ask"]);
    let said =
        tools.ask("/mcp/one", &session, "tools/call", json!({"name": "echo", "arguments": {"message": "hi"}})).await;
    assert_eq!(said["result"]["content"][0]["text"], "hi");
    let elsewhere = tools.ask("/mcp", &session, "tools/list", json!({})).await;
    assert!(elsewhere["error"]["message"].as_str().unwrap().contains("not known"), "{elsewhere}");
    for (path, status) in [("/mcp/two", 404), ("/mcp/One", 404)] {
        assert_eq!(tools.post(path, &tools.message("ping", json!({})), &[]).await.status, status, "{path}");
    }
}

// Acceptance: kill -9 of a replica in the middle of a session; the client's next call works on another.
#[tokio::test]
async fn a_session_goes_on_at_another_replica() {
    let one = Fake::legacy().await;
    let first = Tools::new(vec![server("one", &one)]).await;
    let session = first.initialize("/mcp", json!({})).await;
    let call = json!({"name": "one__echo", "arguments": {"message": "hi"}});
    first.ask("/mcp", &session, "tools/call", call.clone()).await;
    drop(first);
    let second = Tools::new(vec![server("one", &one)]).await;
    let said = second.ask("/mcp", &session, "tools/call", call).await;
    assert_eq!(said["result"]["content"][0]["text"], "hi", "{said}");
    let sessions: Vec<_> = one
        .seen("tools/call")
        .iter()
        .map(|(headers, _)| headers["mcp-session-id"].to_str().unwrap().to_owned())
        .collect();
    assert_eq!(sessions[0], sessions[1], "the session with the server is the same");
}

#[tokio::test]
async fn a_session_that_a_server_has_ended_is_opened_anew() {
    let one = Fake::legacy().await;
    let tools = Tools::new(vec![server("one", &one)]).await;
    let session = tools.initialize("/mcp", json!({"elicitation": {}})).await;
    one.end_sessions();
    for _ in 0..2 {
        let said = tools
            .ask("/mcp", &session, "tools/call", json!({"name": "one__echo", "arguments": {"message": "hi"}}))
            .await;
        assert_eq!(said["result"]["content"][0]["text"], "hi", "{said}");
    }
    let greeted = one.seen("initialize");
    let ours = greeted.iter().filter(|(_, message)| message["params"]["capabilities"]["elicitation"].is_object());
    assert_eq!(ours.count(), 2, "once at its beginning, and once when it had ended");
}

#[tokio::test]
async fn a_session_is_nobody_elses() {
    let one = Fake::legacy().await;
    let tools = Tools::new(vec![server("one", &one)]).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let list = tools.message("tools/list", json!({}));
    for (headers, status) in [
        (vec![("mcp-session-id", session.as_str())], 200),
        (vec![], 400),
        (vec![("mcp-session-id", "0b4c1b52-7d55-4c55-9d5b-1f8f4a3c9e11")], 404),
        (vec![("mcp-session-id", &session[1..])], 404),
        (vec![("mcp-session-id", session.as_str()), ("mcp-session-id", session.as_str())], 400),
        (vec![("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2099-01-01")], 400),
    ] {
        assert_eq!(tools.post("/mcp", &list, &headers).await.status, status, "{headers:?}");
    }
    let ended = tools.stand.call("DELETE", "/mcp", "", &[("mcp-session-id", &session)]).await;
    assert_eq!(ended.status, 200);
    let headers = [("mcp-session-id", session.as_str())];
    assert_eq!(tools.post("/mcp", &list, &headers).await.status, 404, "it has ended");
}

// SECURITY row 14: members in another case, twice, or hidden by escapes; row 15: no headers of trust.
#[tokio::test]
async fn a_message_with_two_readings_reaches_no_server() {
    let one = Fake::legacy().await;
    let tools = Tools::new(vec![server("one", &one)]).await;
    let session = tools.initialize("/mcp", json!({})).await;
    let headers = [ACCEPT, JSON_BODY, ("mcp-session-id", session.as_str())];
    let before = one.all_seen().len();
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo","Name":"one__delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo","name":"one__delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo","n\u0061me":"one__delete_all"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","METHOD":"tools/call","params":{"name":"one__echo"}}"#,
        r#"[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo"}}]"#,
        r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"one__echo"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"one__echo"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo"}} {}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"one__echo","arguments":{"a":1,"a":2}}}"#,
    ] {
        let answer = tools.stand.send("/mcp", body, &headers).await;
        assert_eq!(answer.status, 400, "{body} {}", answer.text);
        assert!(last(&answer)["error"]["code"].is_i64(), "{}", answer.text);
    }
    assert_eq!(one.all_seen().len(), before);
}

#[tokio::test]
async fn headers_of_a_request_say_what_its_body_says() {
    let one = Fake::modern().await;
    let tools = Tools::new(vec![server("one", &one)]).await;
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
    });
    let call = tools.message("tools/call", json!({"name": "one__delete_all", "_meta": meta}));
    let version = ("mcp-protocol-version", "2026-07-28");
    for (headers, code) in [
        (vec![version, ("mcp-method", "tools/call"), ("mcp-name", "one__echo")], -32_020),
        (vec![version, ("mcp-method", "tools/list"), ("mcp-name", "one__delete_all")], -32_020),
        (vec![version, ("mcp-method", "tools/call")], -32_020),
        (
            vec![("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/call"), ("mcp-name", "one__delete_all")],
            -32_020,
        ),
    ] {
        let answer = tools.post("/mcp", &call, &headers).await;
        assert_eq!(
            (answer.status, &last(&answer)["error"]["code"]),
            (400, &code.into()),
            "{headers:?} {}",
            answer.text
        );
    }
    assert!(one.seen("tools/call").is_empty());
    let mut unknown = call;
    unknown["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = "2030-01-01".into();
    let headers =
        [("mcp-protocol-version", "2030-01-01"), ("mcp-method", "tools/call"), ("mcp-name", "one__delete_all")];
    let answer = tools.post("/mcp", &unknown, &headers).await;
    assert_eq!((answer.status, &last(&answer)["error"]["code"]), (400, &(-32_022).into()), "{}", answer.text);
}

// SECURITY row 16: authentication also on loopback, and pages of other origins refused.
#[tokio::test]
async fn nobody_speaks_to_servers_without_a_key_or_from_a_page_of_another_origin() {
    let tools = Tools::new(vec![]).await;
    let ping = tools.message("ping", json!({})).to_string();
    let answer = tools.stand.send("/mcp", &ping, &[ACCEPT, JSON_BODY, ("authorization", "Bearer nobody")]).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert!(answer.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
    assert!(last(&answer)["error"]["message"].as_str().unwrap().contains("Tollgate key"), "{}", answer.text);
    let answer = tools.stand.send("/mcp", &ping, &[ACCEPT, JSON_BODY, ("origin", "http://evil.example")]).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    let own = format!("http://{}", tools.stand.address);
    let answer = tools.stand.send("/mcp", &ping, &[ACCEPT, JSON_BODY, ("origin", &own)]).await;
    assert_eq!(answer.status, 400, "a page of this machine has no session yet: {}", answer.text);
    let answer = tools.stand.send("/mcp", &ping, &[ACCEPT, ("content-type", "text/plain")]).await;
    assert_eq!(answer.status, 415, "{}", answer.text);
}

#[tokio::test]
async fn a_server_is_asked_anew_whenever_it_is_to_be_tested() {
    let (well, ill) = (Fake::modern().await, blank("ill", "http://10.0.0.1/mcp".into()));
    let ill = McpServer { allow_private: false, ..ill };
    let tools = Tools::new(vec![server("well", &well), ill.clone()]).await;
    // The last one as after a database was restored, whose count is smaller.
    for tests in [1, 5, 3] {
        let lists = || well.seen("tools/list").len();
        let before = lists();
        let both = [server("well", &well), ill.clone()];
        tools.put(both.map(|server| Object::McpServer(McpServer { tests, ..server })).into());
        let asked = tools.until(|| lists() > before);
        tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap_or_else(|_| panic!("not asked for {tests}"));
    }
    assert!(tools.server(&ill.id).unwrap().problem().is_some(), "what keeps one from being asked is known as before");
}
