//! Rules of a key over the arguments of its calls.

use super::*;

// SECURITY row 17: what a key may not send is not sent, in any revision, at any path.
#[tokio::test]
async fn arguments_of_which_a_rule_does_not_hold_reach_no_server() {
    let (one, two) = (Fake::legacy().await, Fake::modern().await);
    let tools = Tools::new(vec![server("one", &one), server("two", &two)]).await;
    tools.rule(&[("*.echo", "arguments.message.startsWith('acme/')"), ("two.*", "caller.key == 'other'")]);
    let session = tools.initialize("/mcp", json!({})).await;
    let only = tools.initialize("/mcp/one", json!({})).await;
    let call = |name: &str, arguments: &str| {
        let arguments: Value = serde_json::from_str(arguments).unwrap();
        json!({"name": name, "arguments": arguments})
    };
    for (arguments, why) in [
        (r#"{"message": "other/web"}"#, "does not hold of them"),
        (r#"{"message": ["acme/"]}"#, "cannot be decided over them: it compares or combines"),
        (r#"{"Message": "acme/"}"#, "cannot be decided over them: it asks for something that is not there"),
        ("{}", "cannot be decided over them"),
    ] {
        for said in [
            tools.ask("/mcp", &session, "tools/call", call("one__echo", arguments)).await,
            tools.ask("/mcp/one", &only, "tools/call", call("echo", arguments)).await,
            tools.alone("/mcp", "tools/call", call("one__echo", arguments)).await,
        ] {
            let text = said["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{said}"));
            assert!(said["result"]["isError"] == true && text.contains(why), "{arguments}: {text}");
            assert!(text.contains("arguments.message.startsWith('acme/')"), "{text}");
        }
    }
    // A name twice, of which a server may take the other value: no message at all.
    let twice = tools
        .message("tools/call", call("one__echo", "{}"))
        .to_string()
        .replace(r#""arguments":{}"#, r#""arguments":{"message":"acme/a","message":"other/b"}"#);
    let headers = [ACCEPT, JSON_BODY, ("mcp-session-id", &session)];
    let said = last(&tools.stand.send("/mcp", &twice, &headers).await);
    assert!(said["error"].is_object() || said["result"]["isError"] == true, "{said}");
    let said = tools.alone("/mcp", "tools/call", call("two__echo", r#"{"message": "acme/web"}"#)).await;
    assert!(said["result"]["content"][0]["text"].as_str().unwrap().contains("`caller.key == 'other'`"), "{said}");
    assert!(one.seen("tools/call").is_empty() && two.seen("tools/call").is_empty());

    let good = call("one__echo", r#"{"message": "acme/web"}"#);
    for said in
        [tools.ask("/mcp", &session, "tools/call", good.clone()).await, tools.alone("/mcp", "tools/call", good).await]
    {
        assert_eq!(said["result"]["content"][0]["text"], "acme/web", "{said}");
    }
    assert_eq!(one.seen("tools/call").len(), 2);
    // A tool of which no rule speaks takes whatever it takes.
    let said = tools.ask("/mcp", &session, "tools/call", call("one__ask", "{}")).await;
    assert!(said["result"]["isError"] != true, "{said}");
    let records = tools.records().await;
    let refused: Vec<&Record> = records.iter().filter(|record| record.refusal.as_str() == "tool_denied").collect();
    assert_eq!(refused.len(), 13, "each is in the log");
    assert_eq!(entry(refused[0])["detail"]["tool"]["outcome"], entry(refused[1])["detail"]["tool"]["outcome"]);
}
