use serde_json::json;

use super::*;
use crate::schema::{ENTERPRISE_USER, USERS};

fn patched(operations: Value) -> Result<Value, Problem> {
    let user = json!({
        "userName": "a", "active": true, "title": "T", "name": {"givenName": "A", "familyName": "B"}, "custom": [1],
        "emails": [{"type": "work", "value": "w", "primary": true}, {"type": "home", "value": "h"}],
        ENTERPRISE_USER: {"department": "d"},
    });
    let mut user = user.as_object().unwrap().clone();
    let body = json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations});
    apply(&mut user, parse(body.as_object().unwrap())?, &USERS)?;
    Ok(Value::Object(user))
}

// What a patch makes of one attribute.
fn check(operation: Value, attribute: &str, expect: Value) {
    let user = patched(json!([operation])).unwrap_or_else(|problem| panic!("{operation}: {problem}"));
    assert_eq!(user.get(attribute).cloned().unwrap_or_default(), expect, "{operation}");
}

#[test]
fn an_operation_changes_what_it_names() {
    let (work, home) = (json!({"type": "work", "value": "w", "primary": true}), json!({"type": "home", "value": "h"}));
    check(json!({"op": "replace", "path": "userName", "value": "b"}), "userName", json!("b"));
    check(json!({"op": "remove", "path": "title"}), "title", json!(null));
    check(json!({"op": "add", "path": "nickName", "value": "n"}), "nickName", json!("n"));
    check(
        json!({"op": "replace", "path": "name.givenName", "value": "X"}),
        "name",
        json!({"givenName": "X", "familyName": "B"}),
    );
    check(
        json!({"op": "replace", "path": "name", "value": {"givenName": "X"}}),
        "name",
        json!({"givenName": "X", "familyName": "B"}),
    );
    check(json!({"op": "remove", "path": "name.givenName"}), "name", json!({"familyName": "B"}));
    check(
        json!({"op": "add", "path": "emails", "value": [{"value": "n"}]}),
        "emails",
        json!([work, home, {"value": "n"}]),
    );
    check(json!({"op": "add", "path": "emails", "value": [home]}), "emails", json!([work, home]));
    check(json!({"op": "replace", "path": "emails", "value": [{"value": "n"}]}), "emails", json!([{"value": "n"}]));
    check(json!({"op": "remove", "path": "emails"}), "emails", json!(null));
    check(json!({"op": "replace", "path": "emails", "value": []}), "emails", json!(null));
    check(json!({"op": "remove", "path": r#"emails[type eq "home"]"#}), "emails", json!([work]));
    check(json!({"op": "remove", "path": r#"emails[type eq "other"]"#}), "emails", json!([work, home]));
    let replaced = json!({"op": "replace", "path": r#"emails[type eq "work"].value"#, "value": "x"});
    check(replaced, "emails", json!([{"type": "work", "value": "x", "primary": true}, home]));
    let whole = json!({"op": "replace", "path": r#"emails[type eq "home"]"#, "value": {"value": "x"}});
    check(whole, "emails", json!([work, {"value": "x"}]));
    check(
        json!({"op": "remove", "path": r#"emails[type eq "work"].primary"#}),
        "emails",
        json!([{"type": "work", "value": "w"}, home]),
    );
    check(
        json!({"op": "replace", "path": format!("{ENTERPRISE_USER}:department"), "value": "e"}),
        ENTERPRISE_USER,
        json!({"department": "e"}),
    );
    check(json!({"op": "remove", "path": format!("{ENTERPRISE_USER}:department")}), ENTERPRISE_USER, json!(null));
    check(json!({"op": "remove", "path": ENTERPRISE_USER}), ENTERPRISE_USER, json!(null));
    check(
        json!({"op": "add", "path": ENTERPRISE_USER, "value": {"division": "v"}}),
        ENTERPRISE_USER,
        json!({"department": "d", "division": "v"}),
    );
    check(json!({"op": "add", "path": "custom", "value": [2]}), "custom", json!([1, 2]));
}

#[test]
fn a_new_primary_value_takes_the_place_of_the_old_one() {
    let old = json!({"type": "work", "value": "w", "primary": false});
    let added = json!({"op": "add", "path": "emails", "value": [{"value": "n", "primary": true}]});
    check(added, "emails", json!([old, {"type": "home", "value": "h"}, {"value": "n", "primary": true}]));
    let set = json!({"op": "replace", "path": r#"emails[type eq "home"].primary"#, "value": true});
    check(set, "emails", json!([old, {"type": "home", "value": "h", "primary": true}]));
}

#[test]
fn the_dialects_of_okta_and_entra_are_understood() {
    check(json!({"op": "Replace", "value": {"active": false}}), "active", json!(false));
    check(json!({"op": "Replace", "path": "active", "value": "False"}), "active", json!(false));
    check(json!({"OP": "Add", "Path": "active", "VALUE": "False"}), "active", json!(false));
    check(json!({"op": "replace", "value": {"id": "x", "schemas": [], "title": "U"}}), "title", json!("U"));
    check(json!({"op": "Add", "value": {"name.givenName": "X"}}), "name", json!({"givenName": "X", "familyName": "B"}));
    let manager = json!({"op": "Add", "path": format!("{ENTERPRISE_USER}:manager"), "value": "user-1"});
    check(manager, ENTERPRISE_USER, json!({"department": "d", "manager": {"value": "user-1"}}));
    let listed = json!({"op": "Remove", "path": "emails", "value": [{"value": "w"}]});
    check(listed, "emails", json!([{"type": "home", "value": "h"}]));
    let described = json!({"op": "Add", "path": r#"phoneNumbers[type eq "mobile"].value"#, "value": "1"});
    check(described, "phoneNumbers", json!([{"type": "mobile", "value": "1"}]));
}

#[test]
fn what_cannot_be_applied_is_refused_by_kind() {
    for (operation, kind) in [
        (json!({"op": "move", "path": "title"}), "invalidSyntax"),
        (json!({"op": "replace", "path": "id", "value": "x"}), "mutability"),
        (json!({"op": "add", "path": "groups", "value": [{"value": "x"}]}), "mutability"),
        (json!({"op": "replace", "path": "meta.version", "value": "x"}), "mutability"),
        (json!({"op": "remove"}), "noTarget"),
        (json!({"op": "replace", "path": r#"emails[type eq "other"].value"#, "value": "x"}), "noTarget"),
        (json!({"op": "replace", "path": "emails[type eq", "value": "x"}), "invalidPath"),
        (json!({"op": "replace", "path": "a.b.c", "value": "x"}), "invalidPath"),
        (
            json!({"op": "add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User", "value": 1}),
            "invalidValue",
        ),
        (json!({"op": "replace", "path": "active", "value": "perhaps"}), "invalidValue"),
        (json!({"op": "replace", "path": "title"}), "invalidValue"),
        (json!({"op": "remove", "path": "userName"}), "invalidValue"),
        (json!({"op": "replace", "value": 1}), "invalidValue"),
    ] {
        let problem = patched(json!([operation])).unwrap_err();
        assert_eq!(problem.kind(), Some(kind), "{operation}: {problem}");
    }
    assert!(parse(&Object::new()).is_err());
    let many = vec![json!({"op": "remove", "path": "title"}); OPERATIONS_MAX + 1];
    assert!(patched(many.into()).is_err());
}
