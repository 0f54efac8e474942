//! HTTP APIs whose operations are tools, over real connections to one that says what it was asked.

use tollgate_policy::guardrail::Action;

use super::*;

/// An API that tells back each request, and answers in other ways where it is asked to.
struct Echo {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Value>>>,
    _serving: JoinSet<()>,
}

const DOCUMENT: &str = r##"{
  "openapi": "3.0.3",
  "info": { "title": "Pets", "version": "1" },
  "servers": [{ "url": "https://elsewhere.example" }],
  "paths": {
    "/pets": {
      "get": { "operationId": "listPets", "summary": "Lists pets.", "parameters": [
        { "name": "tag", "in": "query", "schema": { "type": "array", "items": { "type": "string" } } },
        { "name": "X-Trace", "in": "header", "schema": { "type": "string" } },
        { "name": "X-Api-Key", "in": "header", "schema": { "type": "string" } },
        { "name": "filter", "in": "query", "style": "deepObject", "schema": { "type": "object" } }
      ] },
      "post": { "operationId": "createPet", "requestBody": { "required": true, "content": { "application/json": { "schema": { "type": "object" } } } } }
    },
    "/pets/{petId}": {
      "parameters": [{ "name": "petId", "in": "path", "required": true, "schema": { "type": "string" } }],
      "get": { "operationId": "getPet" },
      "delete": { "operationId": "deletePet" },
      "head": { "operationId": "hasPet" }
    },
    "/answers/{kind}": {
      "get": { "operationId": "answer", "parameters": [{ "name": "kind", "in": "path", "required": true, "schema": { "type": "string" } }] }
    }
  }
}"##;

impl Echo {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (mut serving, seen) = (JoinSet::new(), Arc::new(Mutex::new(Vec::new())));
        let shared = Arc::clone(&seen);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let seen = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| echo(request, Arc::clone(&seen)));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen, _serving: serving }
    }

    async fn server(&self, name: &str) -> McpServer {
        let url = format!("http://{}/base/", self.address).into();
        let transport = Transport::OpenApi;
        McpServer { url, transport, document: Some(DOCUMENT.into()), ..server(name, &Fake::modern().await) }
    }

    fn seen(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }
}

async fn echo(request: Request<Incoming>, seen: Arc<Mutex<Vec<Value>>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap())));
    let told = json!({
        "method": head.method.as_str(), "path": head.uri.path(), "query": head.uri.query(), "body": body,
        "headers": headers.collect::<serde_json::Map<_, _>>(),
    });
    seen.lock().unwrap().push(told.clone());
    let (status, media, body): (u16, &str, Vec<u8>) = match head.uri.path().strip_prefix("/base/answers/") {
        None => (200, "application/json; charset=utf-8", told.to_string().into()),
        Some("missing") => (404, "application/problem+json", r#"{"title":"no such pet"}"#.into()),
        Some("broken") => (500, "text/html", "x".repeat(100_000).into()),
        Some("moved") => (302, "text/plain", "look elsewhere".into()),
        Some("limited") => (429, "application/octet-stream", vec![0xff]),
        Some("unknown") => (401, "text/plain", "the key sk-1 is not known".into()),
        Some("nothing") => (204, "", Vec::new()),
        Some("text") => (200, "text/plain", "plain".into()),
        Some("list") => (200, "application/json", "[1,2]".into()),
        Some("twice") => (200, "application/json", r#"{"a":1,"a":2}"#.into()),
        Some("image") => (200, "image/png", vec![0x89, b'P']),
        Some("bytes") => (200, "application/zip", vec![0; 9]),
        Some("packed") => (200, "application/json", b"{}".into()),
        Some(_) => (200, "application/json", json!({ "long": "x".repeat(10_000) }).to_string().into()),
    };
    let mut answer = Response::builder().status(status).header("location", "http://elsewhere.example/");
    if !media.is_empty() {
        answer = answer.header("content-type", media);
    }
    if head.uri.path().ends_with("packed") {
        answer = answer.header("content-encoding", "gzip");
    }
    Ok(answer.header("retry-after", "30").body(Full::from(body)).unwrap())
}

impl Tools {
    /// The result of a call in 2026-07-28.
    async fn result_of(&self, name: &str, arguments: Value) -> Value {
        let said = self.alone("/mcp", "tools/call", json!({ "name": name, "arguments": arguments })).await;
        assert!(said["result"].is_object(), "{said}");
        said["result"].clone()
    }
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{result}"))
}

#[tokio::test]
async fn operations_are_listed_and_called_in_each_revision() {
    let api = Echo::new().await;
    let tools = Tools::new(vec![api.server("pets").await]).await;
    assert_eq!(api.seen().len(), 0, "a document is not asked for");
    let all = ["answer", "listPets", "createPet", "getPet", "deletePet", "hasPet"];
    for (path, prefix) in [("/mcp", "pets__"), ("/mcp/pets", "")] {
        let session = tools.initialize(path, json!({})).await;
        let call = json!({ "name": format!("{prefix}listPets"), "arguments": { "tag": ["a", "b&c"], "X-Trace": "t" } });
        for is_alone in [true, false] {
            let ask = async |method: &str, params: Value| match is_alone {
                true => tools.alone(path, method, params).await,
                false => tools.ask(path, &session, method, params).await,
            };
            let list = ask("tools/list", json!({})).await;
            let mut listed = names(&list, "tools", "name");
            listed.sort();
            let mut expected = all.map(|name| format!("{prefix}{name}"));
            expected.sort();
            assert_eq!(listed, expected);
            let said = ask("tools/call", call.clone()).await;
            let (result, told) = (&said["result"], &said["result"]["structuredContent"]);
            assert_eq!(
                (&told["method"], &told["path"], &told["query"]),
                (&"GET".into(), &"/base/pets".into(), &"tag=a&tag=b%26c".into()),
                "{said}"
            );
            assert_eq!((&told["headers"]["x-trace"], &told["body"]), (&"t".into(), &"".into()));
            assert_eq!(serde_json::from_str::<Value>(text(result)).unwrap(), *told, "as text too");
            assert_eq!(result["resultType"].is_string(), is_alone, "{said}");
        }
        // What is no call goes nowhere.
        let before = api.seen().len();
        let headers = [("mcp-session-id", session.as_str()), ("mcp-protocol-version", "2025-11-25")];
        let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
        assert_eq!(tools.post(path, &cancelled, &headers).await.status, 202);
        let said = tools.ask(path, &session, "prompts/list", json!({})).await;
        assert_eq!(said["result"]["prompts"], json!([]), "{said}");
        assert_eq!(api.seen().len(), before);
    }
    // Nothing of the client's own headers goes on.
    for told in api.seen() {
        let names: Vec<&String> = told["headers"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent", "x-trace"]);
    }
    let created = tools.result_of("pets__createPet", json!({ "body": { "name": "Rex", "age": 1.50 } })).await;
    let told = &created["structuredContent"];
    assert_eq!((&told["method"], &told["headers"]["content-type"]), (&"POST".into(), &"application/json".into()));
    assert_eq!(told["body"], r#"{"age":1.5,"name":"Rex"}"#);
    assert_eq!(text(&tools.result_of("pets__hasPet", json!({ "petId": "1" })).await), "HTTP 200 OK");
    let records = tools.records().await;
    let call = records.iter().find(|record| record.operation == "mcp_call").unwrap();
    let entry = entry(call);
    assert_eq!(
        (&entry["target"], &entry["detail"]["tool"]["outcome"]),
        (&"tool/pets.listPets".into(), &"result".into())
    );
}

// SECURITY row 13: agentgateway CVE-2026-29791, arguments of tools in paths, queries and headers.
#[tokio::test]
async fn no_argument_leaves_the_place_that_the_document_gives_it() {
    let api = Echo::new().await;
    let tools = Tools::new(vec![api.server("pets").await]).await;
    for bad in
        ["..", ".", "", "../admin", "a/../../admin", "%2e%2e", "..%2fadmin", "..\\admin", "..;x", "a\r\nb", "a\0"]
    {
        let said = tools.result_of("pets__getPet", json!({ "petId": bad })).await;
        assert!(said["isError"] == true && text(&said).contains("stay in its place"), "{bad}: {said}");
    }
    for bad in ["a\r\nHost: evil.example", "a\nb", "ä", " a", "a\u{7f}"] {
        let said = tools.result_of("pets__listPets", json!({ "X-Trace": bad })).await;
        assert!(said["isError"] == true && text(&said).contains("visible ASCII"), "{bad}: {said}");
    }
    for unknown in ["Host", "Authorization", "host", "body", "path", "query", "petId", "__proto__"] {
        let said = tools.result_of("pets__listPets", json!({ unknown: "evil.example" })).await;
        assert!(said["isError"] == true && text(&said).contains("has no argument"), "{unknown}: {said}");
    }
    for arguments in
        [json!({ "petId": { "a": ["b"] } }), json!({ "petId": ["a", "b"] }), json!({ "petId": 7 }), json!([])]
    {
        let said = tools.alone("/mcp", "tools/call", json!({ "name": "pets__getPet", "arguments": arguments })).await;
        assert!(said["error"].is_object() || said["result"]["isError"] == true, "{arguments}: {said}");
    }
    assert_eq!(api.seen().len(), 0, "none of these was sent");
    for (arguments, path) in [
        (json!({ "petId": "a/b?c=d#e" }), "/base/pets/a%2Fb%3Fc%3Dd%23e"),
        (json!({ "petId": "@evil.example" }), "/base/pets/%40evil.example"),
        (json!({ "petId": "http://evil.example/" }), "/base/pets/http%3A%2F%2Fevil.example%2F"),
        (json!({ "petId": "ü" }), "/base/pets/%C3%BC"),
    ] {
        let told = tools.result_of("pets__getPet", arguments).await["structuredContent"].clone();
        assert_eq!((&told["path"], &told["query"]), (&path.into(), &Value::Null), "{told}");
        assert_eq!(told["headers"]["host"], api.address.to_string());
    }
    let arguments = json!({ "tag": ["x&admin=true#", "y=z"], "filter": { "a]=1&admin": "true" } });
    let told = tools.result_of("pets__listPets", arguments).await["structuredContent"].clone();
    assert_eq!(told["query"], "tag=x%26admin%3Dtrue%23&tag=y%3Dz&filter%5Ba%5D%3D1%26admin%5D=true");
}

#[tokio::test]
async fn a_denied_operation_is_neither_listed_nor_called() {
    let api = Echo::new().await;
    let tools = Tools::new(vec![api.server("pets").await]).await;
    tools.allow(&["pets.*", "!pets.delete*"]);
    for (path, prefix) in [("/mcp", "pets__"), ("/mcp/pets", "")] {
        let list = tools.alone(path, "tools/list", json!({})).await;
        assert!(!list.to_string().contains("deletePet") && list.to_string().contains("getPet"), "{list}");
        let call = json!({ "name": format!("{prefix}deletePet"), "arguments": { "petId": "1" } });
        assert_eq!(tools.alone(path, "tools/call", call).await["error"]["code"], -32_602);
    }
    assert_eq!(api.seen().len(), 0);
}

#[tokio::test]
async fn an_operation_that_has_become_another_request_waits_for_an_approval() {
    let api = Echo::new().await;
    let policy = api.server("pets").await;
    let tools = Tools::new(vec![policy.clone()]).await;
    let known = tools.server(&policy.id).unwrap().catalogue().unwrap();
    let hash = *known.tool("getPet").unwrap().pin().as_bytes();
    let pinned =
        McpServer { pinning: Pinning::Approval, pins: [Pin { tool: "getPet".into(), hash }].into(), ..policy.clone() };
    tools.put(vec![Object::McpServer(pinned.clone())]);
    let listed = async || names(&tools.alone("/mcp", "tools/list", json!({})).await, "tools", "name");
    assert_eq!(listed().await, ["pets__getPet"]);
    // The same words for another path.
    let document = DOCUMENT.replace("/pets/{petId}", "/admins/{petId}");
    tools.put(vec![Object::McpServer(McpServer { document: Some(document.into()), ..pinned })]);
    tools
        .until(|| {
            let known = tools.server(&policy.id).and_then(|server| server.catalogue());
            known.is_some_and(|known| *known.tool("getPet").unwrap().pin().as_bytes() != hash)
        })
        .await;
    assert_eq!(listed().await, Vec::<String>::new());
    let said =
        tools.alone("/mcp", "tools/call", json!({ "name": "pets__getPet", "arguments": { "petId": "1" } })).await;
    assert!(said["error"]["message"].as_str().unwrap().contains("waits for an approval"), "{said}");
    assert_eq!(api.seen().len(), 0);
}

#[tokio::test]
async fn an_answer_becomes_a_result_that_says_what_it_was() {
    let api = Echo::new().await;
    let tools = Tools::new(vec![api.server("pets").await]).await;
    for (kind, is_error, expect) in [
        (
            "missing",
            true,
            json!([{ "type": "text", "text": "HTTP 404 Not Found\nRetry-After: 30\n\n{\"title\":\"no such pet\"}" }]),
        ),
        (
            "moved",
            true,
            json!([{ "type": "text", "text": "HTTP 302 Found: the API answers with a redirect, and none is followed." }]),
        ),
        ("limited", true, json!([{ "type": "text", "text": "HTTP 429 Too Many Requests\nRetry-After: 30" }])),
        ("nothing", false, json!([{ "type": "text", "text": "HTTP 204 No Content" }])),
        ("text", false, json!([{ "type": "text", "text": "plain" }])),
        ("list", false, json!([{ "type": "text", "text": "[1,2]" }])),
        ("twice", false, json!([{ "type": "text", "text": "{\"a\":1,\"a\":2}" }])),
        ("image", false, json!([{ "type": "image", "data": "iVA=", "mimeType": "image/png" }])),
        (
            "bytes",
            true,
            json!([{ "type": "text", "text": "HTTP 200 OK: the answer is 9 bytes of application/zip, which a tool's result has no form for." }]),
        ),
        (
            "packed",
            true,
            json!([{ "type": "text", "text": "HTTP 200 OK: the answer is compressed, although that was not asked for, and is not read." }]),
        ),
        // Nothing was shown to it: what it says is what it says to everybody.
        (
            "unknown",
            true,
            json!([{ "type": "text", "text": "HTTP 401 Unauthorized\nRetry-After: 30\n\nthe key sk-1 is not known" }]),
        ),
    ] {
        let result = tools.result_of("pets__answer", json!({ "kind": kind })).await;
        assert_eq!((&result["content"], result["isError"] == true), (&expect, is_error), "{kind}");
        assert!(result.get("structuredContent").is_none(), "{kind}: {result}");
    }
    let broken = tools.result_of("pets__answer", json!({ "kind": "broken" })).await;
    assert!(text(&broken).starts_with("HTTP 500") && text(&broken).ends_with("\n[cut by Tollgate]"), "{broken}");
    assert!(text(&broken).len() < 20_000);
    assert_eq!(api.seen().len(), 12, "no redirect was followed, and nothing was asked twice");
    let records = tools.records().await;
    let outcomes: Vec<Value> =
        records.iter().map(|record| entry(record)["detail"]["tool"]["outcome"].clone()).collect();
    assert_eq!((&outcomes[0], &outcomes[3]), (&"tool_error".into(), &"result".into()));
}

#[tokio::test]
async fn a_call_of_an_api_is_bounded_priced_and_looked_at() {
    use guardrails::SECRET;
    let api = Echo::new().await;
    let price = ToolPrice { tools: Pattern::parse("*").unwrap(), call: NanoUsd::new(1_000) };
    let policy = McpServer { prices: [price].into(), result_bytes_max: 800, ..api.server("pets").await };
    let tools = Tools::new(vec![policy.clone()]).await;
    let long = tools.result_of("pets__answer", json!({ "kind": "long" })).await;
    assert!(long["isError"] == true && text(&long).contains("longer than 800 bytes"), "{long}");
    tools.put(vec![Object::McpServer(McpServer { truncate: true, ..policy })]);
    let cut = tools.result_of("pets__answer", json!({ "kind": "long" })).await;
    assert!(cut.to_string().len() < 1_000 && cut.to_string().contains("cut by Tollgate"), "{cut}");
    let bad = tools.result_of("pets__getPet", json!({ "petId": ".." })).await;
    assert!(bad["isError"] == true, "{bad}");
    tools.put(vec![Object::Guardrail(guardrails::guardrail("in", [true, false], Action::Block))]);
    let blocked = tools.result_of("pets__createPet", json!({ "body": { "name": SECRET } })).await;
    assert!(blocked["isError"] == true && !blocked.to_string().contains(SECRET), "{blocked}");
    assert_eq!(api.seen().len(), 2);
    let costs: Vec<i64> = tools.records().await.iter().map(|record| record.cost_nano_usd).collect();
    assert_eq!(costs, [1_000, 1_000, 0, 0], "what was not sent costs nothing");
}

#[tokio::test]
async fn an_api_is_shown_its_own_credential_whatever_an_argument_says() {
    let api = Echo::new().await;
    let credential = McpCredential { id: credential(0), reference: None };
    let bearer = McpServer { auth: McpAuth::Bearer, credential: Some(credential.clone()), ..api.server("pets").await };
    let tools = Tools::new(vec![bearer.clone()]).await;
    let told = tools.result_of("pets__listPets", json!({ "X-Api-Key": "mine" })).await["structuredContent"].clone();
    assert_eq!(told["headers"]["authorization"], "Bearer sk-1");
    // What is said of a credential stays here.
    let turned = tools.result_of("pets__answer", json!({ "kind": "unknown" })).await;
    assert!(turned["isError"] == true && text(&turned).contains("HTTP 401") && !text(&turned).contains("sk-1"));
    tools.policy(vec![McpServer { auth: McpAuth::Header("x-api-key".into()), ..bearer }]).await;
    let told = tools.result_of("pets__listPets", json!({ "X-Api-Key": "mine" })).await["structuredContent"].clone();
    assert_eq!(told["headers"]["x-api-key"], "sk-1");
}

#[tokio::test]
async fn a_document_that_cannot_be_read_is_told_and_nothing_is_called() {
    let api = Echo::new().await;
    let bad = McpServer { document: Some(r#"{"swagger":"2.0"}"#.into()), ..api.server("old").await };
    let tools = Tools::new(vec![bad, McpServer { document: None, ..api.server("none").await }]).await;
    for (name, why) in [("old__getPet", "the version is missing"), ("none__getPet", "there is none")] {
        let result = tools.result_of(name, json!({ "petId": "1" })).await;
        assert!(result["isError"] == true && text(&result).contains(why), "{result}");
    }
    assert_eq!(api.seen().len(), 0);
}
