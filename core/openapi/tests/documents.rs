//! Whole descriptions as tools: what is offered, and what is told to be left out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use serde_json::{Value, json, value::RawValue};
use tollgate_openapi::{Api, Call, InvalidDocument};

const PETS: &str = include_str!("documents/pets.json");
const FORGE: &str = include_str!("documents/forge.json");
const NOTES: &str = include_str!("documents/notes.json");

fn call(document: &str, tool: &str, arguments: &Value) -> Result<Call, String> {
    let arguments = RawValue::from_string(arguments.to_string()).unwrap();
    Api::read(document).unwrap().call(tool, &arguments).map_err(|invalid| invalid.to_string())
}

/// As one line: `GET /pets?limit=1 x-trace: t`.
fn line(document: &str, tool: &str, arguments: &Value) -> String {
    let call = call(document, tool, arguments).unwrap_or_else(|why| panic!("{tool} {arguments}: {why}"));
    let headers = call.headers.iter().map(|(name, value)| format!(" {name}: {value}"));
    let body = call.content_type.iter().zip(&call.body).map(|(media, body)| format!(" {media} {body}"));
    [call.method, " ", &call.path_and_query].into_iter().map(str::to_owned).chain(headers).chain(body).collect()
}

#[test]
fn a_description_becomes_these_tools() {
    for (name, document, golden) in [
        ("pets", PETS, include_str!("documents/pets.tools.json")),
        ("forge", FORGE, include_str!("documents/forge.tools.json")),
        ("notes", NOTES, include_str!("documents/notes.tools.json")),
    ] {
        let api = Api::read(document).unwrap();
        let tools: Vec<Value> = api.tools().map(|tool| serde_json::from_str(tool).unwrap()).collect();
        let left_out: Vec<String> = api.left_out().iter().map(ToString::to_string).collect();
        let found = json!({ "title": api.title(), "tools": tools, "left_out": left_out });
        let golden: Value = serde_json::from_str(golden).unwrap();
        assert!(found == golden, "{name} has become\n{found:#}");
    }
}

#[test]
fn each_argument_goes_where_the_description_puts_it() {
    for (document, tool, arguments, expect) in [
        (PETS, "listPets", json!({}), "GET /pets"),
        (
            PETS,
            "listPets",
            json!({ "limit": 5, "tags": ["a b", "c&d=e"], "status": "sold", "X-Trace": "t 1" }),
            "GET /pets?limit=5&tags=a%20b&tags=c%26d%3De&status=sold x-trace: t 1",
        ),
        (PETS, "listPets", json!({ "limit": null }), "GET /pets"),
        (PETS, "getPet", json!({ "petId": 7 }), "GET /pets/7"),
        (
            PETS,
            "createPet",
            json!({ "body": { "name": "Rex", "unknown": [1] } }),
            r#"POST /pets application/json {"name":"Rex","unknown":[1]}"#,
        ),
        (PETS, "replacePet", json!({ "petId": 7 }), "PUT /pets/7"),
        (PETS, "delete_pets_petId", json!({ "petId": 7, "X-Reason": "old" }), "DELETE /pets/7 x-reason: old"),
        (
            PETS,
            "login",
            json!({ "body": { "scopes": ["r", "w"], "user": "a=b&c", "more": { "x": 1 }, "none": null } }),
            "POST /login application/x-www-form-urlencoded more=%7B%22x%22%3A1%7D&scopes=r&scopes=w&user=a%3Db%26c",
        ),
        (
            FORGE,
            "repos_get-content",
            json!({ "owner": "o", "repo": "r", "path": "src/lib.rs", "ref": "a/b" }),
            "GET /repos/o/r/contents/src%2Flib.rs?ref=a%2Fb",
        ),
        (
            FORGE,
            "issues_list-for-repo",
            json!({
                "path_owner": "o", "repo": "r", "query_owner": "me", "filter_state": "open", "ids": [1, 2], "labels": ["a,b", "c"],
                "created": { "gt": 1 }, "page": { "offset": 3 }, "query": { "a": [1] },
            }),
            "GET /repos/o/r/issues?filter%5Bstate%5D=open&owner=me&ids=1%7C2&labels=a%2Cb,c&created%5Bgt%5D=1&offset=3&query=%7B%22a%22%3A%5B1%5D%7D",
        ),
        (
            FORGE,
            "issues_create",
            json!({ "owner": "o", "repo": "r", "query_body": true, "body": { "title": 1 } }),
            r#"POST /repos/o/r/issues?body=true application/json {"title":1}"#,
        ),
        (
            FORGE,
            "repos_compare",
            json!({ "owner": "o", "repo": "r", "base": "main", "head": "f/x" }),
            "GET /repos/o/r/compare/main...f%2Fx",
        ),
        (FORGE, "markdown_render-raw", json!({ "body": "# Hi" }), "POST /markdown/raw text/plain; charset=utf-8 # Hi"),
        (FORGE, "post_twice", json!({}), "POST /twice"),
        (
            NOTES,
            "changeNote",
            json!({ "id": "a", "body": { "text": "x" } }),
            r#"PATCH /notes/a application/merge-patch+json {"text":"x"}"#,
        ),
        (NOTES, "search", json!({ "body": null }), "POST /search application/json null"),
        (NOTES, "search", json!({}), "POST /search"),
    ] {
        assert_eq!(line(document, tool, &arguments), expect, "{tool} {arguments}");
    }
}

#[test]
fn what_is_not_as_it_must_be_is_told_with_what_to_do() {
    for (document, tool, arguments, expect) in [
        (PETS, "nothing", json!({}), "there is no tool \"nothing\""),
        (PETS, "getPet", json!([]), "the arguments are no JSON object in which each name stands once"),
        (PETS, "getPet", json!({}), "the argument \"petId\" is missing, which must be given"),
        (PETS, "getPet", json!({ "petId": null }), "the argument \"petId\" is missing, which must be given"),
        (PETS, "getPet", json!({ "petId": "7" }), "the argument \"petId\" must be an integer"),
        (PETS, "getPet", json!({ "petId": 1, "Host": "x" }), "the tool has no argument \"Host\": it takes petId"),
        (PETS, "getPet", json!({ "petId": 1, "body": {} }), "the tool has no argument \"body\": it takes petId"),
        (
            PETS,
            "listPets",
            json!({ "session": "x" }),
            "the tool has no argument \"session\": it takes limit, tags, status, X-Trace",
        ),
        (
            PETS,
            "listPets",
            json!({ "status": "lost" }),
            "the argument \"status\" must be one of \"available\", \"sold\"",
        ),
        (PETS, "listPets", json!({ "tags": "a" }), "the argument \"tags\" must be an array"),
        (
            PETS,
            "listPets",
            json!({ "tags": [1] }),
            "the argument \"tags\" must be a list in which each element is a string",
        ),
        (PETS, "createPet", json!({}), "the argument \"body\" is missing, which must be given"),
        (PETS, "createPet", json!({ "body": [] }), "the argument \"body\" must be an object"),
        (
            PETS,
            "createPet",
            json!({ "body": {} }),
            "in the argument \"body\", \"name\" is missing, which must be given",
        ),
        (
            PETS,
            "login",
            json!({ "body": { "user": "x", "deep": [{}] } }),
            "the argument \"body\" must be a list in which each element is a string or a number or a boolean",
        ),
        (FORGE, "twice", json!({}), "there is no tool \"twice\""),
    ] {
        assert_eq!(call(document, tool, &arguments), Err(expect.to_owned()), "{tool} {arguments}");
    }
}

#[test]
fn what_is_no_description_of_an_api_is_refused_with_where() {
    let operations = |count: usize| {
        let paths: serde_json::Map<_, _> = (0..count).map(|at| (format!("/{at}"), json!({ "get": {} }))).collect();
        json!({ "openapi": "3.1.0", "paths": paths }).to_string()
    };
    for (document, expect) in [
        (
            json!({ "openapi": "3.1.0" }).to_string(),
            "at /paths: an object whose members are the paths of the API is expected",
        ),
        (
            json!({ "openapi": "3.1.0", "paths": {} }).to_string(),
            "at /paths: none of its operations can be a tool (there are no operations)",
        ),
        (
            json!({ "openapi": "3.1.0", "paths": { "/a/b": [] } }).to_string(),
            "at /paths/~1a~1b: an object whose members are operations is expected",
        ),
        (
            json!({ "openapi": "3.1.0", "paths": { "/a": { "get": 1 } } }).to_string(),
            "at /paths: none of its operations can be a tool (GET /a: its operation is not an object)",
        ),
        (operations(2_001), "at /paths: there are more than 2000 operations: take out those that no agent needs"),
    ] {
        assert_eq!(Api::read(&document).map(|_| ()).map_err(|error| error.to_string()), Err(expect.to_owned()));
    }
    assert_eq!(Api::read(&operations(2_000)).unwrap().tools().len(), 2_000);
    assert!(matches!(Api::read("{"), Err(InvalidDocument::Json(_))));
}

#[test]
fn definitions_are_cut_to_the_room_that_there_is() {
    // One schema that is large, and many operations that take it.
    let part = |at: usize| (format!("member_{at}"), json!({ "type": "string", "description": "d".repeat(200) }));
    let schema = json!({ "type": "object", "properties": (0..150).map(part).collect::<serde_json::Map<_, _>>() });
    let nested = json!({ "type": "object", "properties": { "a": { "$ref": "#/components/schemas/S" }, "b": { "$ref": "#/components/schemas/S" } } });
    let body = |schema: &str| json!({ "requestBody": { "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } } } });
    let document = |count: usize| {
        let paths: serde_json::Map<_, _> =
            (0..count).map(|at| (format!("/{at}"), json!({ "post": body("N") }))).collect();
        json!({ "openapi": "3.1.0", "paths": paths, "components": { "schemas": { "S": schema, "N": nested } } })
            .to_string()
    };
    let sizes = |count: usize| -> Vec<usize> { Api::read(&document(count)).unwrap().tools().map(str::len).collect() };
    let (few, many) = (sizes(2), sizes(300));
    assert!(few.iter().all(|bytes| (30_000..=tollgate_openapi::TOOL_BYTES_MAX).contains(bytes)), "{few:?}");
    assert!(many.iter().sum::<usize>() <= tollgate_openapi::TOOLS_BYTES_MAX, "{}", many.len());
}
