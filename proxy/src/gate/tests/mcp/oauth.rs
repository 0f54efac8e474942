//! Servers of tools that are shown tokens of OAuth 2, which a control plane gives: for all callers, or for each user.

use tollgate_policy::{id::UserId, snapshot::User};

use super::{fake::tool, *};
use crate::mcp::tokens::tests::{consent, token};

const CONNECT_URL: &str = "https://tollgate.example/mcp/connect/one";

impl Tools {
    /// Makes the key that of a user.
    fn become_user(&self, last: char) -> UserId {
        let id = UserId::from_ulid(&format!("{ULID}{last}")).unwrap();
        let user = User { id: id.clone(), name: format!("user-{last}").into(), disabled: false, quota: None };
        let current = self.stand.holder.load().unwrap();
        let key = current.snapshot.key_by_id(&KeyId::from_ulid(&format!("{ULID}k")).unwrap()).unwrap();
        self.put(vec![Object::User(user), Object::Key(Key { user: Some(id.clone()), ..Key::clone(key) })]);
        id
    }

    async fn tools_of(&self, path: &str) -> Vec<String> {
        names(&self.alone(path, "tools/list", json!({})).await, "tools", "name")
    }
}

fn personal(fake: &Fake) -> McpServer {
    McpServer { auth: McpAuth::PerUser, ..server("one", fake) }
}

#[tokio::test]
async fn a_token_of_the_installation_is_shown_and_renewed_when_it_is_turned_away() {
    let one = Fake::modern().await;
    one.admit(&[("t1", json!([tool("echo", "")]))]);
    let tools = Tools::bare(BTreeMap::new()).await;
    tools.stand.tokens.give("", token("t1", 60_000, 0));
    tools.policy(vec![McpServer { auth: McpAuth::ClientCredentials, ..server("one", &one) }]).await;
    let call = || tools.alone("/mcp", "tools/call", json!({"name": "one__echo", "arguments": {"message": "hi"}}));
    assert_eq!(call().await["result"]["content"][0]["text"], "hi");
    // The authorisation server has ended it before its time.
    one.admit(&[("t2", json!([tool("echo", "")]))]);
    tools.stand.tokens.give("", token("t2", 60_000, 0));
    assert_eq!(call().await["result"]["content"][0]["text"], "hi");
    assert!(
        one.all_seen().iter().all(|(headers, _)| headers["authorization"] != format!("Bearer {}", tools.stand.key))
    );
    // And now for good.
    one.admit(&[]);
    let said = call().await;
    assert!(said["result"]["isError"].as_bool().unwrap() && said.to_string().contains("HTTP 401"), "{said}");
    let calls = one.seen("tools/call");
    assert_eq!(calls.len(), 2, "what was turned away did nothing");
}

#[tokio::test]
async fn each_user_has_a_token_and_tools_of_their_own() {
    for one in [Fake::modern().await, Fake::legacy().await] {
        one.admit(&[("t-a", json!([tool("echo", ""), tool("mine_a", "")])), ("t-b", json!([tool("echo", "")]))]);
        let tools = Tools::new(vec![personal(&one)]).await;
        let (a, b) = (tools.become_user('a'), tools.become_user('b'));
        tools.stand.tokens.give(a.as_str(), token("t-a", 60_000, 0));
        tools.stand.tokens.give(b.as_str(), token("t-b", 60_000, 0));
        assert_eq!(tools.tools_of("/mcp").await, ["one__echo"], "of b");
        tools.become_user('a');
        assert_eq!(tools.tools_of("/mcp").await, ["one__echo", "one__mine_a"]);
        assert_eq!(tools.tools_of("/mcp/one").await, ["echo", "mine_a"]);
        for path in ["/mcp", "/mcp/one"] {
            let name = if path == "/mcp" { "one__echo" } else { "echo" };
            let session = tools.initialize(path, json!({})).await;
            let params = json!({"name": name, "arguments": {"message": "from a"}});
            let said = tools.ask(path, &session, "tools/call", params).await;
            assert_eq!(said["result"]["content"][0]["text"], "from a", "{said}");
        }
        tools.become_user('b');
        let said = tools.alone("/mcp", "tools/call", json!({"name": "one__mine_a", "arguments": {}})).await;
        assert!(said["error"]["message"].as_str().unwrap().contains("There is no tool"), "{said}");
        tools.alone("/mcp", "tools/call", json!({"name": "one__echo", "arguments": {"message": "from b"}})).await;
        for (headers, message) in one.seen("tools/call") {
            let said = message["params"]["arguments"]["message"].as_str().unwrap().to_owned();
            assert_eq!(headers["authorization"], format!("Bearer t-{}", said.strip_prefix("from ").unwrap()));
        }
    }
}

#[tokio::test]
async fn who_has_not_signed_in_is_told_where() {
    let one = Fake::modern().await;
    one.admit(&[("t-a", json!([tool("echo", "")]))]);
    let tools = Tools::new(vec![personal(&one)]).await;
    let said = tools.alone("/mcp", "tools/call", json!({"name": "one__echo", "arguments": {}})).await;
    assert!(said.to_string().contains("this key has no user"), "{said}");
    assert_eq!(tools.tools_of("/mcp").await, Vec::<String>::new());

    let a = tools.become_user('a');
    tools.stand.tokens.give(a.as_str(), consent(CONNECT_URL));
    assert_eq!(tools.tools_of("/mcp").await, ["one__connect"]);
    assert_eq!(tools.tools_of("/mcp/one").await, ["connect"]);
    let said = tools.alone("/mcp", "tools/call", json!({"name": "one__connect", "arguments": {}})).await;
    let text = said["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains(CONNECT_URL) && said["result"]["isError"].is_null(), "{said}");
    let said = tools.alone("/mcp", "tools/call", json!({"name": "one__echo", "arguments": {}})).await;
    assert!(said["result"]["isError"].as_bool().unwrap() && said.to_string().contains(CONNECT_URL), "{said}");
    // A client that can show an address is given it.
    let session = tools.initialize("/mcp", json!({"elicitation": {"url": {}}})).await;
    let said = tools.ask("/mcp", &session, "tools/call", json!({"name": "one__echo", "arguments": {}})).await;
    assert_eq!(
        (&said["error"]["code"], &said["error"]["data"]["elicitations"][0]["url"]),
        (&json!(-32_042), &json!(CONNECT_URL))
    );
    assert_eq!(one.all_seen().len(), 0, "nothing went there without a token");

    // Now they sign in: what they do next finds the tools.
    tools.stand.tokens.give(a.as_str(), token("t-a", 60_000, 0));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(tools.tools_of("/mcp").await, ["one__echo"]);
    let said = tools.alone("/mcp", "tools/call", json!({"name": "one__connect", "arguments": {}})).await;
    assert!(said["error"]["message"].as_str().unwrap().contains("There is no tool"), "{said}");
}

#[tokio::test]
async fn what_was_taken_back_is_used_no_more() {
    let one = Fake::legacy().await;
    one.admit(&[("t-a", json!([tool("echo", "")]))]);
    let tools = Tools::new(vec![personal(&one)]).await;
    let a = tools.become_user('a');
    tools.stand.tokens.give(a.as_str(), token("t-a", 3_600_000, 0));
    let session = tools.initialize("/mcp", json!({})).await;
    let call =
        || tools.ask("/mcp", &session, "tools/call", json!({"name": "one__echo", "arguments": {"message": "hi"}}));
    assert_eq!(call().await["result"]["content"][0]["text"], "hi");
    tools.stand.tokens.give(a.as_str(), consent(CONNECT_URL));
    assert_eq!(call().await["result"]["content"][0]["text"], "hi", "the token is good for an hour");
    tools.put(vec![Object::McpServer(McpServer { grants: 1, ..personal(&one) })]);
    let before = one.seen("tools/call").len();
    // The keeper hears of the policy a moment later than the gate.
    let is_told = async || call().await.to_string().contains(CONNECT_URL);
    while !is_told().await {}
    let said = call().await;
    assert!(said["result"]["isError"].as_bool().unwrap() && said.to_string().contains(CONNECT_URL), "{said}");
    assert!(one.seen("tools/call").len() <= before + 1);
    assert_eq!(tools.tools_of("/mcp").await, ["one__echo"], "a call says what to do");
}

#[tokio::test]
async fn a_key_that_does_not_reach_a_server_has_no_token_got_for_it() {
    let one = Fake::modern().await;
    let tools = Tools::new(vec![personal(&one)]).await;
    tools.become_user('a');
    tools.allow(&["other.*"]);
    assert_eq!(tools.tools_of("/mcp").await, Vec::<String>::new());
    tools.alone("/mcp", "tools/call", json!({"name": "one__echo", "arguments": {}})).await;
    assert!(tools.stand.tokens.asked.lock().unwrap().is_empty());
}
