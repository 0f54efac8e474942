use serde_json::json;

use super::*;
use crate::schema::{ENTERPRISE_USER, USERS};

fn user() -> Object {
    let user = json!({
        "userName": "BJensen", "externalId": "Ab1", "title": "", "active": true, "logins": 7,
        "name": {"familyName": "O'Malley"},
        "emails": [{"type": "work", "value": "b@example.com"}, {"type": "home", "value": "b@home.org"}],
        "meta": {"lastModified": "2026-01-02T03:04:05.678Z"},
        ENTERPRISE_USER: {"department": "R&D", "manager": {"value": "user-1"}},
    });
    user.as_object().unwrap().clone()
}

#[test]
fn a_filter_means_what_the_rfc_says() {
    let department = format!("{ENTERPRISE_USER}:department eq \"r&d\"");
    for (filter, expect) in [
        (r#"userName eq "bjensen""#, true),
        (r#"USERNAME EQ "bjensen""#, true),
        (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "BJ""#, true),
        (r#"externalId eq "ab1""#, false),
        (r#"externalId eq "Ab1""#, true),
        (r#"name.familyName co "O'Malley""#, true),
        (r#"userName ew "sen""#, true),
        (r#"userName gt "a" and userName lt "c""#, true),
        (r#"userName ge "bjensen" and userName le "bjensen""#, true),
        (r#"userName ne "bjensen""#, false),
        ("title pr", false),
        ("userName pr", true),
        ("nickName eq null", true),
        ("nickName pr or active eq true", true),
        ("active eq True", true),
        (r#"active eq "False""#, false),
        ("logins gt 6.5", true),
        ("not (logins gt 6.5)", false),
        (r#"emails.value eq "B@home.org""#, true),
        (r#"emails eq "b@home.org""#, true),
        (r#"emails[type eq "work" and value co "@home"]"#, false),
        (r#"emails[type eq "work" and value co "@example"]"#, true),
        (r#"emails[not (type eq "work")]"#, true),
        (r#"meta.lastModified gt "2026-01-02T03:04:05Z""#, true),
        (r#"meta.lastModified lt "2026-01-02T04:04:06+01:00""#, true),
        (&department, true),
        (r#"urn:example:2.0:Other:x eq "1""#, false),
        // `and` binds tighter than `or`.
        (r#"userName eq "bjensen" or title pr and nickName pr"#, true),
        (r#"(userName eq "bjensen" or title pr) and nickName pr"#, false),
        (r#"userName eq "a\"b""#, false),
    ] {
        assert_eq!(parse(filter).unwrap().matches(&user(), &USERS), expect, "{filter}");
    }
}

#[test]
fn what_is_not_a_filter_is_refused() {
    let deep = format!("{}a pr{}", "(".repeat(17), ")".repeat(17));
    let nested = format!("{}a pr{}", "(".repeat(16), ")".repeat(16));
    let wide = vec!["a pr"; 65].join(" or ");
    let long = format!("a eq \"{}\"", "x".repeat(FILTER_BYTES_MAX));
    for bad in [
        "",
        " ",
        "userName",
        "userName eq",
        "userName eq bjensen",
        "userName is \"x\"",
        "(a pr",
        "a pr)",
        "a pr b pr",
        "a eq {\"b\":1}",
        "a eq [1]",
        "a eq \"x",
        "emails[type eq \"x\"",
        "not a pr",
        "a.b.c pr",
        "eq \"x\"",
        "ä pr",
        &deep,
        &wide,
        &long,
    ] {
        assert!(matches!(parse(bad), Err(Problem::InvalidFilter(_))), "{bad}");
    }
    assert!(parse(&nested).is_ok());
}

#[test]
fn a_filter_tells_what_every_match_has() {
    for (filter, demanded) in [
        (r#"userName eq "x""#, Some("x")),
        (r#"active eq true and userName eq "x""#, Some("x")),
        (r#"active eq true or userName eq "x""#, None),
        (r#"not (userName eq "x")"#, None),
        (r#"userName co "x""#, None),
    ] {
        let filter = parse(filter).unwrap();
        assert_eq!(filter.demanded(&|path| path.is("userName")), demanded.map(Value::from).as_ref());
    }
    assert_eq!(parse("members eq \"a\" and not (members pr)").unwrap().mentions("members"), 2);
}

use crate::Problem;
