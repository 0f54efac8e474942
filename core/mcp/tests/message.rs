//! JSON-RPC as it is accepted and refused. The rows of the threat model that are about it: 14 (members in another case) and the one parse
//! that 17 (a filter on the list and not on the call) rests on.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what is not as expected fails the test"
)]

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};
use tollgate_mcp::{Edit, Fault, Id, Json, Message, failure::code, params::meta, write};

fn parse(body: &str) -> Message<'_> {
    Message::parse(body.as_bytes()).unwrap_or_else(|invalid| panic!("{body}: {invalid}"))
}

#[track_caller]
fn refused(body: &[u8], fault: &Fault, id: Option<&str>) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(200)]);
    let invalid = Message::parse(body).expect_err(&shown);
    assert_eq!(&invalid.fault, fault, "{shown}");
    assert_eq!(invalid.id.as_ref().map(Id::raw), id, "{shown}");
}

#[test]
fn each_kind_of_message_is_read() {
    let Message::Request(request) = parse(r#" {"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"x"}} "#)
    else {
        panic!("a request");
    };
    assert_eq!((request.id.raw(), &*request.method), ("7", "tools/call"));
    assert_eq!(request.params.text("name").as_deref(), Some("x"));
    let Message::Request(request) = parse(r#"{"id":"a","method":"tools\/list","jsonrpc":"2.\u0030"}"#) else {
        panic!("a request");
    };
    assert_eq!((request.id.raw(), &*request.method, request.params.given()), (r#""a""#, "tools/list", None));
    assert!(matches!(
        parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized","params":{}}"#),
        Message::Notification(notification) if notification.params.given() == Some(Json::empty_object())
    ));
    assert!(matches!(
        parse(r#"{"jsonrpc":"2.0","id":0,"result":{"a":[1.0]}}"#),
        Message::Response(response) if response.result.get() == r#"{"a":[1.0]}"#
    ));
    for (id, expected) in [(r#""id":1,"#, Some("1")), (r#""id":null,"#, None), ("", None)] {
        let body = format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":-32601,"message":"no","data":[]}}}}"#);
        let Message::Failure(failure) = parse(&body) else { panic!("{body}") };
        assert_eq!((failure.code, &*failure.message), (-32_601, "no"));
        assert_eq!(failure.id.as_ref().map(Id::raw), expected);
    }
}

#[test]
fn what_is_no_message_is_refused() {
    let deep =
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{{"a":{}{}}}}}"#, "[".repeat(127), "]".repeat(127));
    for (body, fault, id) in [
        ("", Fault::NotJson { line: 1, column: 0 }, None),
        ("{", Fault::NotJson { line: 1, column: 1 }, None),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x"} {}"#, Fault::NotJson { line: 1, column: 39 }, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x"},"#, Fault::NotJson { line: 1, column: 38 }, Some("1")),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"x","params":{,}}"#,
            Fault::NotJson { line: 1, column: 50 },
            Some(r#""a""#),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x",}"#, Fault::NotJson { line: 1, column: 38 }, Some("1")),
        (r#"{'jsonrpc':"2.0"}"#, Fault::NotJson { line: 1, column: 2 }, None),
        ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"x\ty\"}", Fault::NotJson { line: 1, column: 35 }, Some("1")),
        ("\u{feff}{}", Fault::NotJson { line: 1, column: 1 }, None),
        ("[]", Fault::Batch, None),
        (r#" [{"jsonrpc":"2.0","id":1,"method":"x"}]"#, Fault::Batch, None),
        ("7", Fault::NotAnObject, None),
        ("null", Fault::NotAnObject, None),
        (r#""x""#, Fault::NotAnObject, None),
        ("{}", Fault::Version, None),
        (deep.as_str(), Fault::TooDeep, Some("1")),
        (r#"{"id":1,"method":"x"}"#, Fault::Version, Some("1")),
        (r#"{"jsonrpc":2.0,"id":1,"method":"x"}"#, Fault::Version, Some("1")),
        (r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, Fault::Version, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1}"#, Fault::NoKind, Some("1")),
        (r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#, Fault::Id, None),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"x"}"#, Fault::Id, None),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"x"}"#, Fault::Id, None),
        (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, Fault::Id, None),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"x"}"#, Fault::Id, None),
        (r#"{"jsonrpc":"2.0","id":true,"method":"x"}"#, Fault::Id, None),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Fault::Method, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, Fault::Method, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call "}"#, Fault::Method, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/c\u0430ll"}"#, Fault::Method, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000"}"#, Fault::Method, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":[]}"#, Fault::Params, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":null}"#, Fault::Params, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"notifications/x"}"#, Fault::Answered, Some("1")),
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"x"}}"#, Fault::Unanswered, None),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, Fault::Mixed, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","result":{}}"#, Fault::Mixed, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"params":{},"result":{}}"#, Fault::Mixed, Some("1")),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Fault::NoId, None),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Fault::Id, None),
        (r#"{"jsonrpc":"2.0","id":1,"result":[]}"#, Fault::Result, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, Fault::Result, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#, Fault::Error, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"no"}}"#, Fault::Error, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":"no"}}"#, Fault::Error, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, Fault::Error, Some("1")),
    ] {
        refused(body.as_bytes(), &fault, id);
    }
    refused(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", &Fault::NotUtf8(34), None);
    refused(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xed\xa0\x80\"}", &Fault::NotUtf8(34), None);
}

/// Row 14: Go's readers take a member in any letter case, and the last of them.
#[test]
fn a_member_in_another_case_is_refused() {
    let with = |member: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list",{member}}}"#);
    for (member, meant) in [
        (r#""Method":"tools/call""#, "method"),
        (r#""METHOD":"tools/call""#, "method"),
        (r#""m\u0045thod":"tools/call""#, "method"),
        (r#""PARAMS":{}"#, "params"),
        (r#""param\u017f":{}"#, "params"),
        (r#""param\u0073\u0000":{}"#, "params"),
        (r#""Id":2"#, "id"),
        (r#""JsonRPC":"2.0""#, "jsonrpc"),
        (r#""Result":{}"#, "result"),
        (r#""eRror":{}"#, "error"),
        (r#""params":{"Name":"x"}"#, "name"),
        (r#""params":{"name":"x","NAME":"y"}"#, "name"),
        (r#""params":{"name":"x","name\u0000":"y"}"#, "name"),
        (r#""params":{"name":"x","name\u200b":"y"}"#, "name"),
        (r#""params":{"name":"x"," name":"y"}"#, "name"),
        (r#""params":{"argument\u017f":{}}"#, "arguments"),
        (r#""params":{"ta\u017f\u212aId":"t"}"#, "taskId"),
        (r#""params":{"URI":"a:b"}"#, "uri"),
        (r#""params":{"_Meta":{}}"#, "_meta"),
        (r#""params":{"_meta":{"IO.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#, meta::PROTOCOL_VERSION),
    ] {
        refused(with(member).as_bytes(), &Fault::Spelling(meant), Some("1"));
    }
    for member in [r#""x":1"#, r#""meta":{}"#, r#""_method":1"#, r#""":1"#] {
        let name = member.split('"').nth(1).unwrap_or_default().to_owned();
        refused(with(member).as_bytes(), &Fault::Unknown(name), Some("1"));
    }
    // What a tool is given is its own affair.
    parse(&with(r#""params":{"arguments":{"Name":1,"name":2},"names":3}"#));
}

/// Row 14: whoever reads the first and whoever reads the last of two must not be told apart.
#[test]
fn a_member_that_stands_twice_is_refused_wherever_it_is() {
    let twice = |name: &str| Fault::Duplicate(name.to_owned());
    for (body, name, id) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}"#, "method", "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","m\u0065thod":"tools/call"}"#, "method", "1"),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#, "id", "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{},"params":{"name":"y"}}"#, "params", "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"name":"a","n\u0061me":"b"}}"#, "name", "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"a":1,"a":1}}}"#, "a", "1"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"arguments":{"x":[[{"y":1,"\u0079":2}]]}}}"#, "y", "1"),
        (r#"{"jsonrpc":"2.0","id":"q","result":{"tools":[{"name":"a","name":"b"}]}}"#, "name", r#""q""#),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"code":2,"message":""}}"#, "code", "1"),
    ] {
        refused(body.as_bytes(), &twice(name), Some(id));
    }
}

#[test]
fn a_refusal_has_the_code_that_json_rpc_has() {
    for (body, expected) in [
        ("{", code::PARSE_ERROR),
        ("[]", code::INVALID_REQUEST),
        ("{}", code::INVALID_REQUEST),
        (r#"{"jsonrpc":"2.0","id":1,"method":"x","x":1}"#, code::INVALID_REQUEST),
    ] {
        let invalid = Message::parse(body.as_bytes()).unwrap_err();
        assert_eq!(invalid.fault.code(), expected, "{body}");
        assert!(invalid.to_string().ends_with('.'), "{invalid}");
    }
}

#[test]
fn parameters_are_changed_one_by_one() {
    let params = |body: &'static str| match parse(body) {
        Message::Request(request) => request.params,
        other => panic!("{other:?}"),
    };
    let given = params(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{ "name" : "a__b", "arguments":{"n":1.0,"e":"\u00e9"} , "_meta":{"progressToken": 7,"claudecode/toolUseId":"toolu_1"}}}"#,
    );
    assert_eq!(
        given.with("name", &Json::text("b")).as_str(),
        r#"{ "name" : "b", "arguments":{"n":1.0,"e":"\u00e9"} , "_meta":{"progressToken": 7,"claudecode/toolUseId":"toolu_1"}}"#
    );
    assert_eq!(given.meta_text(meta::TOOL_USE_ID).as_deref(), Some("toolu_1"));
    assert_eq!(given.meta_value(meta::PROGRESS_TOKEN).map(|raw| raw.get()), Some("7"));
    assert_eq!(given.meta_text(meta::PROGRESS_TOKEN), None);
    let edits = [
        Edit::Set("progressToken", Json::text("p")),
        Edit::Remove("claudecode/toolUseId"),
        Edit::Set("x", true.into()),
    ];
    assert_eq!(
        given.with_meta(&edits).as_str(),
        r#"{ "name" : "a__b", "arguments":{"n":1.0,"e":"\u00e9"} , "_meta":{"progressToken": "p","x":true}}"#
    );
    let edits = [Edit::Remove("name"), Edit::Remove("_meta"), Edit::Remove("nothing")];
    assert_eq!(given.edited(&edits).as_str(), r#"{ "arguments":{"n":1.0,"e":"\u00e9"}}"#);
    let none = params(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#);
    assert_eq!(none.with_meta(&[Edit::Set("x", Json::text("y"))]).as_str(), r#"{"_meta":{"x":"y"}}"#);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| json!(f64::from(number) / 4.0)),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec(("[a-e\"\\\\é]{0,3}", inner), 0..5).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    vec(("[a-eé\"]{1,3}", any_json()), 0..5).prop_map(|members| members.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_read_or_refused(body in vec(any::<u8>(), 0..200)) {
        let _ = Message::parse(&body);
    }

    #[test]
    fn bytes_that_look_like_a_message_are_read_or_refused(
        parts in vec(
            prop_oneof![
                Just("\"jsonrpc\":\"2.0\""), Just("\"id\":1"), Just("\"id\":"), Just("\"method\":\"tools/call\""), Just("\"params\":{"),
                Just("}"), Just("{"), Just("["), Just("]"), Just(","), Just("\""), Just("\\"), Just("\\ud800"), Just("\"name\":\"x\""),
            ],
            0..24,
        ),
    ) {
        let _ = Message::parse(parts.concat().as_bytes());
        let _ = Message::parse(format!("{{{}}}", parts.join(",")).as_bytes());
    }

    #[test]
    fn what_is_written_is_read_again(
        id in prop_oneof![any::<i64>().prop_map(Id::of_number), "\\PC{0,40}".prop_map(|text| Id::of_text(&text))],
        method in "[!-~]{1,40}",
        object in any_object(),
        code in any::<i64>(),
    ) {
        let params = Json::of(&object);
        prop_assume!(!method.starts_with("notifications/"));
        let bytes = write::request(&id, &method, Some(&params));
        let Message::Request(request) = Message::parse(&bytes).unwrap() else { panic!("a request") };
        prop_assert_eq!((&request.id, &*request.method, request.params.given()), (&id, method.as_str(), Some(params.clone())));
        prop_assert_eq!(request.to_bytes(), bytes.clone());
        let told = format!("notifications/{method}");
        let bytes = write::notification(&told, None);
        let Message::Notification(notification) = Message::parse(&bytes).unwrap() else { panic!("a notification") };
        prop_assert_eq!(notification.to_bytes(), bytes.clone());
        let bytes = write::response(&id, &params);
        let Message::Response(response) = Message::parse(&bytes).unwrap() else { panic!("a response") };
        prop_assert_eq!(response.result.get(), params.as_str());
        prop_assert_eq!(response.to_bytes(), bytes.clone());
        let error = Json::object([("code", Json::of(&code)), ("message", Json::text(&method)), ("data", params)]);
        let bytes = write::failure(Some(&id), &error);
        let Message::Failure(failure) = Message::parse(&bytes).unwrap() else { panic!("a failure") };
        prop_assert_eq!((failure.code, &*failure.message), (code, method.as_str()));
        prop_assert_eq!(failure.to_bytes(), bytes.clone());
    }

    #[test]
    fn a_changed_object_is_the_object_with_its_changes(
        members in vec(("[a-d\"é]{1,2}", any_json(), "[ \n]{0,2}"), 0..6),
        set in "[a-d]{1,2}",
        gone in "[a-d]{1,2}",
    ) {
        let mut expected = serde_json::Map::new();
        let mut text = String::from("{");
        for (name, value, space) in &members {
            if expected.insert(name.clone(), value.clone()).is_none() {
                let comma = if text == "{" { "" } else { "," };
                text.push_str(&format!("{space}{comma}{space}{}{space}:{space}{}{space}", Value::from(name.as_str()), value));
            } else {
                expected.insert(name.clone(), members.iter().find(|(other, ..)| other == name).unwrap().1.clone());
            }
        }
        text.push('}');
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"x","params":{text}}}"#);
        let Ok(Message::Request(request)) = Message::parse(body.as_bytes()) else { panic!("{body}") };
        prop_assert_eq!(request.params.edited(&[]).to_string(), text);
        prop_assume!(set != gone);
        let changed = request.params.edited(&[Edit::Remove(&gone), Edit::Set(&set, Json::of(&7))]);
        expected.remove(&gone);
        expected.insert(set, 7.into());
        prop_assert_eq!(serde_json::from_str::<Value>(changed.as_str()).unwrap(), Value::from(expected), "{}", changed);
    }
}
