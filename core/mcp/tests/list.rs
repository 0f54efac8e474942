//! Lists of definitions: read strictly, written with names of servers, and pinned.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use serde_json::value::RawValue;
use tollgate_mcp::{
    Definition, Kind, List, Message, Pin, Revision, ServerName,
    list::{Caching, DEFINITION_BYTES_MAX, DEFINITIONS_MAX, Dropped, InvalidList, Offer, Scope, Unfit, page},
    name::InvalidName,
    parameter::InvalidParameter,
};

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

fn listed(kind: Kind, result: &str) -> (List, Option<String>) {
    let mut list = List::new(kind);
    let cursor = list.add(&raw(result)).unwrap_or_else(|error| panic!("{result}: {error}"));
    (list, cursor)
}

fn names(list: &List) -> Vec<&str> {
    list.definitions.iter().map(Definition::name).collect()
}

/// As servers write them: in any order, with white space, escapes, and members that nobody knows.
const TOOLS: &str = r#"{ "tools" : [
  { "description":"Creates an issue.\u00a0Now.", "name" : "create_issue" , "inputSchema":{"type":"object","x":1.0} },
  {"n\u0061me":"admin.\u0074ools","inputSchema":{"type":"object"},"unknown":[ 1e3 ]}
], "nextCursor":"page 2", "_meta":{} }"#;

#[test]
fn a_list_is_written_with_names_of_servers_and_every_other_byte_as_it_was() {
    let (list, cursor) = listed(Kind::Tool, TOOLS);
    assert_eq!(names(&list), ["create_issue", "admin.tools"]);
    assert_eq!(cursor.as_deref(), Some("page 2"));
    let (github, jira) = (ServerName::parse("github").unwrap(), ServerName::parse("jira").unwrap());
    let offers = [(Some(&github), 0), (Some(&jira), 1), (None, 1)]
        .map(|(server, at)| Offer { server, definition: &list.definitions[at] });
    let caching = Caching { ttl_ms: 60_000, scope: Scope::Private };
    let written = page(Kind::Tool, Revision::V2026_07_28, offers, Some("next\""), caching);
    let expected = concat!(
        r#"{"resultType":"complete","tools":["#,
        r#"{ "description":"Creates an issue.\u00a0Now.", "name" : "github__create_issue" , "inputSchema":{"type":"object","x":1.0} },"#,
        r#"{"n\u0061me":"jira__admin.tools","inputSchema":{"type":"object"},"unknown":[ 1e3 ]},"#,
        r#"{"n\u0061me":"admin.\u0074ools","inputSchema":{"type":"object"},"unknown":[ 1e3 ]}"#,
        r#"],"nextCursor":"next\"","ttlMs":60000,"cacheScope":"private"}"#,
    );
    assert_eq!(written.result.as_str(), expected);
    assert!(written.omitted.is_empty());
    let empty = page(Kind::Template, Revision::V2025_11_25, [], None, caching);
    assert_eq!(empty.result.as_str(), r#"{"resourceTemplates":[]}"#);
}

#[test]
fn resources_and_templates_get_the_server_into_their_scheme() {
    let github = ServerName::parse("github").unwrap();
    for (kind, result, expected) in [
        (Kind::Prompt, r#"{"prompts":[{"name":"Grüße an"}]}"#, r#"{"prompts":[{"name":"github__Grüße an"}]}"#),
        (
            Kind::Resource,
            r#"{"resources":[{"uri":"file:\/\/\/x","name":"x"}]}"#,
            r#"{"resources":[{"uri":"github+file:///x","name":"x"}]}"#,
        ),
        (
            Kind::Template,
            r#"{"resourceTemplates":[{"name":"x","uriTemplate":"repo://{owner}/{name}"}]}"#,
            r#"{"resourceTemplates":[{"name":"x","uriTemplate":"github+repo://{owner}/{name}"}]}"#,
        ),
    ] {
        let (list, _) = listed(kind, result);
        let offers = list.definitions.iter().map(|definition| Offer { server: Some(&github), definition });
        let written = page(kind, Revision::V2025_06_18, offers, None, Caching::NONE);
        assert_eq!(written.result.as_str(), expected, "{kind:?}");
    }
}

#[test]
fn what_has_too_long_a_name_is_left_out_and_told() {
    let long = "t".repeat(121);
    let (list, _) = listed(Kind::Tool, &format!(r#"{{"tools":[{{"name":"{long}"}},{{"name":"ok"}}]}}"#));
    let github = ServerName::parse("github").unwrap();
    let offers = list.definitions.iter().map(|definition| Offer { server: Some(&github), definition });
    let written = page(Kind::Tool, Revision::V2025_11_25, offers, None, Caching::NONE);
    assert_eq!(written.result.as_str(), r#"{"tools":[{"name":"github__ok"}]}"#);
    let [omitted] = written.omitted.as_slice() else { panic!("{:?}", written.omitted) };
    assert_eq!((omitted.name.as_str(), &omitted.why), (long.as_str(), &InvalidName::Long(128)));
    let alone = list.definitions.iter().map(|definition| Offer { server: None, definition });
    assert!(page(Kind::Tool, Revision::V2025_11_25, alone, None, Caching::NONE).omitted.is_empty());
}

#[test]
fn a_definition_that_is_none_is_dropped_and_told() {
    let with_header = |schema: &str| format!(r#"{{"name":"a","inputSchema":{schema}}}"#);
    let large = format!(r#"{{"name":"a","description":"{}"}}"#, "x".repeat(DEFINITION_BYTES_MAX));
    for (definition, name, why) in [
        ("7", "", Unfit::Unreadable),
        ("{}", "", InvalidName::Tool.into()),
        (r#"{"name":7}"#, "", InvalidName::Tool.into()),
        (r#"{"Name":"a"}"#, "", InvalidName::Tool.into()),
        (r#"{"name":"a b"}"#, "a b", InvalidName::Tool.into()),
        (r#"{"name":"r\u0435ad"}"#, "r\u{435}ad", InvalidName::Tool.into()),
        (r#"{"name":"read\u200b"}"#, "read\\u{200b}", InvalidName::Tool.into()),
        (r#"{"name":"a","description":"\ud800"}"#, "a", Unfit::Unreadable),
        (r#"{"name":"a","x":1e999}"#, "a", Unfit::Unreadable),
        (large.as_str(), "a", Unfit::Long(DEFINITION_BYTES_MAX + 29)),
        (
            &with_header(r#"{"properties":{"n":{"type":"number","x-mcp-header":"N"}}}"#),
            "a",
            InvalidParameter::Type.into(),
        ),
        (
            &with_header(r#"{"properties":{"n":{"type":"string","x-mcp-header":"a b"}}}"#),
            "a",
            InvalidParameter::Name.into(),
        ),
        (
            &with_header(r#"{"properties":{"n":{"type":"string","x-mcp-header":""}}}"#),
            "a",
            InvalidParameter::Name.into(),
        ),
        (
            &with_header(
                r#"{"properties":{"n":{"type":"string","x-mcp-header":"N"},"m":{"properties":{"o":{"type":"boolean","x-mcp-header":"n"}}}}}"#,
            ),
            "a",
            InvalidParameter::Twice.into(),
        ),
        (
            &with_header(r#"{"properties":{"l":{"type":"array","items":{"type":"string","x-mcp-header":"L"}}}}"#),
            "a",
            InvalidParameter::Unreachable.into(),
        ),
        (
            &with_header(r#"{"anyOf":[{"properties":{"n":{"type":"string","x-mcp-header":"N"}}}]}"#),
            "a",
            InvalidParameter::Unreachable.into(),
        ),
        (&with_header(r#"{"type":"string","x-mcp-header":"N"}"#), "a", InvalidParameter::Unreachable.into()),
    ] {
        let (list, _) = listed(Kind::Tool, &format!(r#"{{"tools":[{definition},{{"name":"good"}}]}}"#));
        let shown = &definition[..definition.len().min(100)];
        assert_eq!(list.dropped, [Dropped { name: name.to_owned(), why }], "{shown}");
        assert_eq!(names(&list), ["good"], "{shown}");
    }
    for (kind, member, definition) in [
        (Kind::Prompt, "prompts", r#"{"name":" a"}"#),
        (Kind::Resource, "resources", r#"{"uri":"file:///a b"}"#),
        (Kind::Resource, "resources", r#"{"name":"file:///a"}"#),
        (Kind::Template, "resourceTemplates", r#"{"uri":"file:///a"}"#),
    ] {
        let (list, _) = listed(kind, &format!(r#"{{"{member}":[{definition}]}}"#));
        assert_eq!((list.definitions.len(), list.dropped.len()), (0, 1), "{definition}");
    }
    // What only looks like an annotation is none.
    let named = r#"{"properties":{"x-mcp-header":{"type":"string"},"d":{"default":{"x-mcp-header":"N"}}}}"#;
    assert!(Definition::read(Kind::Tool, &raw(&with_header(named))).unwrap().parameters().is_empty());
}

#[test]
fn a_name_counts_once_over_all_pages() {
    let mut list = List::new(Kind::Tool);
    let first = r#"{"tools":[{"name":"a","v":1},{"name":"a","v":2},{"name":"A"}],"nextCursor":"2"}"#;
    assert_eq!(list.add(&raw(first)), Ok(Some("2".to_owned())));
    assert_eq!(list.add(&raw(r#"{"tools":[{"name":"\u0061","v":3},{"name":"b"}],"nextCursor":null}"#)), Ok(None));
    assert_eq!(names(&list), ["a", "A", "b"]);
    assert_eq!(list.definitions[0].json().as_str(), r#"{"name":"a","v":1}"#);
    let twice = Dropped { name: "a".to_owned(), why: Unfit::Duplicate };
    assert_eq!(list.dropped, [twice.clone(), twice]);
}

#[test]
fn a_list_has_its_bounds() {
    let many = vec!["7"; DEFINITIONS_MAX].join(",");
    let mut list = List::new(Kind::Tool);
    assert_eq!(list.add(&raw(&format!(r#"{{"tools":[{many}]}}"#))), Ok(None));
    assert_eq!(list.add(&raw(r#"{"tools":[7]}"#)), Err(InvalidList::TooMany));
    for (result, expected) in [
        ("{}", InvalidList::Missing("tools")),
        (r#"{"tools":{}}"#, InvalidList::Missing("tools")),
        (r#"{"prompts":[]}"#, InvalidList::Missing("tools")),
        (r#"{"tools":[],"nextCursor":7}"#, InvalidList::Cursor),
        (&format!(r#"{{"tools":[],"nextCursor":"{}"}}"#, "x".repeat(4_097)), InvalidList::Cursor),
    ] {
        assert_eq!(List::new(Kind::Tool).add(&raw(result)), Err(expected));
    }
}

fn pin(definition: &str) -> Pin {
    Definition::read(Kind::Tool, &raw(definition)).unwrap_or_else(|dropped| panic!("{dropped:?}")).pin()
}

const PINNED: &str = r#"{"name":"create_issue","title":"Create issue","description":"Creates an issue \u2013 \"now\".",
    "inputSchema":{"type":"object","properties":{"title":{"type":"string","minLength":1.0},
    "labels":{"type":"array","items":{"type":"string"}}},"required":["title"]},
    "annotations":{"destructiveHint":false,"idempotentHint":null},
    "icons":[{"src":"https://example.com/i.png?sig=1"}],"_meta":{"version":"1.2.3"}}"#;

/// Computed with Python's json and hashlib. If this changes, every approval of every fleet is void.
#[test]
fn a_pin_is_the_same_for_ever() {
    let expected = "0b8c50fc3f36328e348c899088864b2fb6b6d360f2221c2cc056ea21e7fdae42";
    assert_eq!(pin(PINNED).to_string(), expected);
    assert_eq!(Pin::parse(expected), Ok(pin(PINNED)));
    assert_eq!(Pin::of_bytes(*pin(PINNED).as_bytes()), pin(PINNED));
    for text in ["", &expected[1..], &expected.to_uppercase(), &expected.replace('0', "g")] {
        assert!(Pin::parse(text).is_err(), "{text}");
    }
}

/// Row 21: a tool that was approved and changes later is another tool.
#[test]
fn whatever_a_model_or_a_client_goes_by_changes_the_pin() {
    for (old, new) in [
        ("create_issue", "create_issues"),
        ("\"Create issue\"", "\"Create  issue\""),
        ("now", "now <IMPORTANT>"),
        ("now", "no\\u200bw"),
        ("\"minLength\":1.0", "\"minLength\":2"),
        ("\"required\":[\"title\"]", "\"required\":[]"),
        ("\"type\":\"array\"", "\"type\":\"array\",\"description\":\"~/.ssh\""),
        ("\"destructiveHint\":false", "\"destructiveHint\":true"),
        ("\"idempotentHint\":null", "\"readOnlyHint\":null"),
        ("\"_meta\"", "\"execution\":{\"taskSupport\":\"required\"},\"_meta\""),
        ("\"_meta\"", "\"outputSchema\":{\"type\":\"object\"},\"_meta\""),
        ("\"icons\"", "\"title2\":\"\",\"icons\""),
        ("\"labels\":{\"type\"", "\"_meta\":{\"type\""),
    ] {
        assert_ne!(pin(&PINNED.replacen(old, new, 1)), pin(PINNED), "{old} {new}");
    }
}

#[test]
fn how_a_definition_is_written_does_not_change_the_pin() {
    for (old, new) in [
        ("\"minLength\":1.0", "\"minLength\" : 1"),
        ("create_issue", "create\\u005fissue"),
        (
            "\"name\":\"create_issue\",\"title\":\"Create issue\"",
            "\"title\":\"Create issue\",\"name\":\"create_issue\"",
        ),
        ("sig=1", "sig=2"),
        ("1.2.3", "1.2.4"),
        (",\"_meta\":{\"version\":\"1.2.3\"}", ""),
    ] {
        assert_eq!(pin(&PINNED.replacen(old, new, 1)), pin(PINNED), "{old} {new}");
    }
}

#[test]
fn a_list_of_a_message_is_read_from_its_result() {
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{TOOLS}}}"#);
    let Ok(Message::Response(response)) = Message::parse(body.as_bytes()) else { panic!("{body}") };
    let mut list = List::new(Kind::Tool);
    assert_eq!(list.add(response.result), Ok(Some("page 2".to_owned())));
    assert_eq!((list.kind(), list.definitions[1].kind()), (Kind::Tool, Kind::Tool));
}
