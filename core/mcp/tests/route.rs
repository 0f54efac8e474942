//! Headers of 2026-07-28 against the body (Transports, "Request Metadata").

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use serde_json::value::RawValue;
use tollgate_mcp::{
    Definition, Kind, Message, Request, Revision,
    failure::code,
    parameter::Parameters,
    route::{Headers, Refused, outgoing},
};

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

/// Headers, with their values.
type Given<'a> = &'a [(&'a str, &'a str)];

fn request(body: &str) -> Request<'_> {
    match Message::parse(body.as_bytes()) {
        Ok(Message::Request(request)) => request,
        other => panic!("{body}: {other:?}"),
    }
}

fn headers<'a>(headers: &[(&'a str, &'a str)]) -> Result<Headers<'a>, Refused> {
    Headers::read(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
}

fn body(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
}

/// What becomes of a request: its revision, or the code.
fn judge(given: &[(&str, &str)], method: &str, params: &str) -> Result<Revision, i64> {
    let body = body(method, params);
    let request = request(&body);
    let judged = headers(given).and_then(|headers| {
        let revision = headers.revision(&request.params)?;
        if revision.is_stateless() {
            headers.check(&request)?;
        }
        Ok(revision)
    });
    judged.map_err(|refused| {
        assert_eq!(refused.status, 400, "{refused}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(refused.error().as_str()).unwrap()["code"], refused.code);
        refused.code
    })
}

#[test]
fn headers_say_what_the_body_says_or_the_request_is_refused() {
    let version = ("mcp-protocol-version", "2026-07-28");
    let call = ("Mcp-Method", "tools/call");
    let (modern, legacy) = (Ok(Revision::V2026_07_28), Ok(Revision::V2025_11_25));
    let (mismatch, params) = (Err(code::HEADER_MISMATCH), Err(code::INVALID_PARAMS));
    let unsupported = Err(code::UNSUPPORTED_PROTOCOL_VERSION);
    let echo = format!(r#""name":"echo",{META}"#);
    let other = META.replace("2026-07-28", "v999");
    let rows: &[(Given<'_>, &str, &str, Result<Revision, i64>)] = &[
        (&[version, call, ("Mcp-Name", "echo")], "tools/call", &echo, modern),
        (&[version, ("MCP-METHOD", "tools/call"), ("mcp-name", "  echo\t")], "tools/call", &echo, modern),
        (&[version, call, ("Mcp-Name", "=?base64?ZWNobw==?=")], "tools/call", &echo, modern),
        (&[version, ("Mcp-Method", "tools/list")], "tools/list", META, modern),
        (&[version, ("Mcp-Method", "server/discover"), ("Mcp-Name", "x")], "server/discover", META, modern),
        // Missing, another, or in another case.
        (&[version, ("Mcp-Name", "echo")], "tools/call", &echo, mismatch),
        (&[version, call], "tools/call", &echo, mismatch),
        (&[version, call, ("Mcp-Name", "Echo")], "tools/call", &echo, mismatch),
        (&[version, call, ("Mcp-Name", "safe")], "tools/call", &echo, mismatch),
        (&[version, call, ("Mcp-Name", "=?base64?c2FmZQ==?=")], "tools/call", &echo, mismatch),
        (&[version, call, ("Mcp-Name", "=?base64?ZWNobx==?=")], "tools/call", &echo, mismatch),
        (&[version, call, ("Mcp-Name", "=?base64?****?=")], "tools/call", &echo, mismatch),
        (&[version, ("Mcp-Method", "TOOLS/CALL"), ("Mcp-Name", "echo")], "tools/call", &echo, mismatch),
        (&[version, ("Mcp-Method", "tools/list"), ("Mcp-Name", "echo")], "tools/call", &echo, mismatch),
        // Twice, whichever is right.
        (&[version, call, call, ("Mcp-Name", "echo")], "tools/call", &echo, mismatch),
        (&[version, call, ("Mcp-Name", "safe"), ("mcp-name", "echo")], "tools/call", &echo, mismatch),
        (&[version, version, call, ("Mcp-Name", "echo")], "tools/call", &echo, mismatch),
        (&[version, call, ("Mcp-Name", "echo\u{e9}")], "tools/call", &echo, mismatch),
        (&[version, call, ("Mcp-Name", "ec\u{1}ho")], "tools/call", &echo, mismatch),
        // Revisions.
        (&[call, ("Mcp-Name", "echo")], "tools/call", &echo, mismatch),
        (&[("MCP-Protocol-Version", "2025-11-25"), call, ("Mcp-Name", "echo")], "tools/call", &echo, mismatch),
        (&[version, ("Mcp-Method", "tools/list")], "tools/list", &other, mismatch),
        (&[("MCP-Protocol-Version", "v999"), ("Mcp-Method", "tools/list")], "tools/list", &other, unsupported),
        (&[("MCP-Protocol-Version", "v999")], "tools/list", "", unsupported),
        (&[version, ("Mcp-Method", "tools/list")], "tools/list", "", params),
        (
            &[version, ("Mcp-Method", "tools/list")],
            "tools/list",
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#,
            params,
        ),
        (
            &[version, ("Mcp-Method", "tools/list")],
            "tools/list",
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":7,"io.modelcontextprotocol/clientCapabilities":{}}"#,
            params,
        ),
        (&[("MCP-Protocol-Version", "2025-11-25")], "tools/call", r#""name":"echo""#, legacy),
        (&[("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Name", "x")], "tools/call", r#""name":"echo""#, legacy),
        (&[], "tools/call", r#""name":"echo""#, Ok(Revision::WITHOUT_HEADER)),
        // What else has a name.
        (
            &[version, ("Mcp-Method", "resources/read"), ("Mcp-Name", "file:///a")],
            "resources/read",
            &format!(r#""uri":"file:///a",{META}"#),
            modern,
        ),
        (
            &[version, ("Mcp-Method", "resources/read"), ("Mcp-Name", "file:///a")],
            "resources/read",
            &format!(r#""uri":"file:///b",{META}"#),
            mismatch,
        ),
        (
            &[version, ("Mcp-Method", "prompts/get"), ("Mcp-Name", "=?base64?R3LDvMOfZQ==?=")],
            "prompts/get",
            &format!(r#""name":"Gr\u00fc\u00dfe",{META}"#),
            modern,
        ),
        (&[version, ("Mcp-Method", "tasks/get")], "tasks/get", &format!(r#""taskId":"t",{META}"#), mismatch),
    ];
    for (given, method, params, expected) in rows {
        assert_eq!(judge(given, method, params), *expected, "{given:?} {method} {params}");
    }
}

#[test]
fn a_refusal_says_what_does_not_fit() {
    let body = body("tools/call", &format!(r#""name":"bar",{META}"#));
    let given = headers(&[("Mcp-Method", "tools/call"), ("Mcp-Name", "foo")]).unwrap();
    let refused = given.check(&request(&body)).unwrap_err();
    assert_eq!(
        refused.error().as_str(),
        r#"{"code":-32020,"message":"Header mismatch: Mcp-Name header value 'foo' does not match body value 'bar'"}"#
    );
    let given = headers(&[("MCP-Protocol-Version", "1900-01-01")]).unwrap();
    assert_eq!(
        given.revision(&request(r#"{"jsonrpc":"2.0","id":1,"method":"x"}"#).params).unwrap_err().error().as_str(),
        r#"{"code":-32022,"message":"Unsupported protocol version: use one of 2026-07-28, 2025-11-25, 2025-06-18.","data":{"supported":["2026-07-28","2025-11-25","2025-06-18"],"requested":"1900-01-01"}}"#
    );
}

fn parameters() -> Parameters {
    let definition = r#"{"name":"sql","inputSchema":{"type":"object","properties":{
        "region":{"type":"string","x-mcp-header":"Region"},
        "options":{"type":"object","properties":{"limit":{"type":"integer","x-mcp-header":"Limit"}}},
        "dry":{"type":"boolean","x-mcp-header":"Dry-Run"},
        "query":{"type":"string"}}}}"#;
    let raw = RawValue::from_string(definition.to_owned()).unwrap();
    Definition::read(Kind::Tool, &raw).unwrap().parameters().clone()
}

#[test]
fn arguments_are_repeated_in_headers_where_the_tool_says_so() {
    let parameters = parameters();
    for (arguments, expected) in [
        (r#"{"query":"x"}"#, vec![]),
        (
            r#"{"region":"Hello, 世界","options":{"limit":42.0},"dry":false}"#,
            vec![
                ("Mcp-Param-Region", "=?base64?SGVsbG8sIOS4lueVjA==?="),
                ("Mcp-Param-Limit", "42"),
                ("Mcp-Param-Dry-Run", "false"),
            ],
        ),
        (r#"{"region":null,"options":{"limit":[1]},"dry":{}}"#, vec![]),
        (r#"{"region":"us-west1","options":7}"#, vec![("Mcp-Param-Region", "us-west1")]),
    ] {
        let body = body("tools/call", &format!(r#""name":"sql","arguments":{arguments},{META}"#));
        let found = outgoing(Revision::V2026_07_28, "tools/call", &request(&body).params, Some(&parameters));
        let mut all = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "sql")];
        all.extend(expected);
        let mut expected: Vec<_> = all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut found: Vec<_> = found.into_iter().map(|(name, value)| (name.into_owned(), value)).collect();
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{arguments}");
    }
    let body = body("tools/call", r#""name":"sql","arguments":{"region":"x"}"#);
    let at = |revision| outgoing(revision, "tools/call", &request(&body).params, Some(&parameters)).len();
    assert_eq!([Revision::V2025_03_26, Revision::V2025_11_25].map(at), [0, 1]);
}

#[test]
fn headers_of_arguments_are_checked_against_them() {
    let parameters = parameters();
    let rows: &[(Given<'_>, &str, bool)] = &[
        (&[], r#"{"query":"x"}"#, true),
        (&[("mcp-param-region", "eu")], r#"{"region":"eu"}"#, true),
        (&[("Mcp-Param-Region", "=?base64?ZXU=?=")], r#"{"region":"eu"}"#, true),
        (&[("Mcp-Param-Limit", "42.0")], r#"{"options":{"limit":42}}"#, true),
        (&[("Mcp-Param-Limit", "42")], r#"{"options":{"limit":42.0}}"#, true),
        (&[("Mcp-Param-Other", "eu")], r#"{"region":null}"#, true),
        (&[], r#"{"region":"eu"}"#, false),
        (&[("Mcp-Param-Region", "eu")], "{}", false),
        (&[("Mcp-Param-Region", "us")], r#"{"region":"eu"}"#, false),
        (&[("Mcp-Param-Region", "EU")], r#"{"region":"eu"}"#, false),
        (&[("Mcp-Param-Region", "=?base64?*?=")], r#"{"region":"eu"}"#, false),
        (&[("Mcp-Param-Region", "eu"), ("MCP-PARAM-REGION", "us")], r#"{"region":"eu"}"#, false),
        (&[("Mcp-Param-Limit", "42.5")], r#"{"options":{"limit":42}}"#, false),
        (&[("Mcp-Param-Limit", "4e1")], r#"{"options":{"limit":40}}"#, false),
        (&[("Mcp-Param-Region", "1.0")], r#"{"region":"1"}"#, false),
        (&[("Mcp-Param-Dry-Run", "True")], r#"{"dry":true}"#, false),
    ];
    for (given, arguments, fits) in rows {
        let body = body("tools/call", &format!(r#""name":"sql","arguments":{arguments},{META}"#));
        let arguments = request(&body).params.object("arguments").unwrap();
        let checked = headers(given).and_then(|headers| parameters.check(&headers, &arguments));
        assert_eq!(checked.is_ok(), *fits, "{given:?} {body}");
        assert!(checked.err().is_none_or(|refused| refused.code == code::HEADER_MISMATCH));
    }
}
