use serde_json::json;

use super::*;

fn claims(value: Value) -> Claims {
    let mut claims = value.as_object().unwrap().clone();
    claims.entry("sub").or_insert(json!("subject-1"));
    claims
}

fn mapping() -> Mapping {
    Mapping { groups_claim: "/groups".to_owned(), ..Mapping::default() }
}

fn groups_of(mapping: &Mapping, value: Value) -> Result<Vec<String>, Unfit> {
    read(mapping, &claims(value), GroupsFrom::Token).map(|person| person.groups.into_iter().collect())
}

#[test]
fn groups_are_a_text_or_a_list_of_texts_and_nothing_else() {
    let mistyped = || Err(Unfit::Mistyped("groups".to_owned()));
    for (value, expect) in [
        (json!({}), Ok(vec![])),
        (json!({"groups": []}), Ok(vec![])),
        (json!({"groups": "a"}), Ok(vec!["a"])),
        (json!({"groups": ["b", "a", "b"]}), Ok(vec!["a", "b"])),
        (json!({"groups": 7}), mistyped()),
        (json!({"groups": null}), mistyped()),
        (json!({"groups": ["a", 7]}), mistyped()),
        (json!({"groups": {"a": true}}), mistyped()),
        (json!({"groups": [""]}), Err(Unfit::Groups)),
        (json!({"groups": ["a\nb"]}), Err(Unfit::Groups)),
        (json!({"groups": ["x".repeat(257)]}), Err(Unfit::Groups)),
        (json!({"groups": (0..1_001).map(|at| at.to_string()).collect::<Vec<_>>()}), Err(Unfit::Groups)),
        (json!({"groups": ["a"], "_claim_names": {"groups": "src1"}}), Err(Unfit::Overage)),
        (json!({"groups": ["a"], "_claim_names": {"address": "src1"}}), Ok(vec!["a"])),
        (json!({"hasgroups": true}), Err(Unfit::Overage)),
        (json!({"hasgroups": false}), Ok(vec![])),
        (json!({"hasgroups": "true"}), Err(Unfit::Mistyped("hasgroups".to_owned()))),
        (json!({"_claim_names": []}), Err(Unfit::Mistyped("_claim_names".to_owned()))),
    ] {
        let expect = expect.map(|groups| groups.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(groups_of(&mapping(), value.clone()), expect, "{value}");
    }
}

#[test]
fn what_the_token_has_no_room_for_comes_from_userinfo_or_not_at_all() {
    let token = claims(json!({"_claim_names": {"groups": "src1"}}));
    for (answer, expect) in [
        (json!({"groups": ["a"]}), Ok(1)),
        (json!({"groups": []}), Ok(0)),
        (json!({}), Err(Unfit::Overage)),
        (json!({"groups": ["a"], "hasgroups": true}), Err(Unfit::Overage)),
        (json!({"groups": 1}), Err(Unfit::Mistyped("groups".to_owned()))),
    ] {
        let read = read(&mapping(), &token, GroupsFrom::Userinfo(&claims(answer.clone())));
        assert_eq!(read.map(|person| person.groups.len()), expect, "{answer}");
    }
}

#[test]
fn a_prefix_stands_before_each_group_and_no_group_reads_like_one_of_another_issuer() {
    let corp = Mapping { group_prefix: "corp:".to_owned(), ..mapping() };
    let plain = Mapping { foreign_prefixes: vec!["corp:".to_owned()], ..mapping() };
    let value = json!({"groups": ["admins", "corp:admins"]});
    assert_eq!(groups_of(&corp, value.clone()).unwrap(), ["corp:admins", "corp:corp:admins"]);
    assert_eq!(groups_of(&plain, value).unwrap(), ["admins"]);
}

#[test]
fn rules_add_groups_and_the_first_names_the_team() {
    let rule = |claim: &str, equals: &str, group: Option<&str>, team: Option<&str>| Rule {
        claim: claim.to_owned(),
        equals: equals.to_owned(),
        group: group.map(str::to_owned),
        team: team.map(str::to_owned),
    };
    let rules = vec![
        rule("/department", "payments", Some("pay"), Some("payments")),
        rule("/realm/roles", "dev", Some("dev"), Some("other")),
        rule("/a~1b", "x", None, Some("third")),
    ];
    let mapping = Mapping { rules, group_prefix: "p:".to_owned(), ..mapping() };
    for (value, groups, team) in [
        (json!({}), vec![], None),
        (json!({"department": "payments"}), vec!["p:pay"], Some("payments")),
        (json!({"department": "Payments"}), vec![], None),
        (json!({"realm": {"roles": ["dev", "ops"]}}), vec!["p:dev"], Some("other")),
        (json!({"department": ["payments"], "realm": {"roles": ["dev"]}}), vec!["p:dev", "p:pay"], Some("payments")),
        (json!({"a/b": "x"}), vec![], Some("third")),
    ] {
        let person = read(&mapping, &claims(value.clone()), GroupsFrom::Token).unwrap();
        assert_eq!(person.groups.iter().collect::<Vec<_>>(), groups, "{value}");
        assert_eq!(person.team.as_deref(), team, "{value}");
    }
    let mistyped = groups_of(&mapping, json!({"department": 7}));
    assert_eq!(mistyped, Err(Unfit::Mistyped("department".to_owned())));
}

#[test]
fn a_domain_counts_only_where_the_address_is_verified() {
    let mapping = Mapping { email_domains: vec!["corp.example".to_owned()], ..mapping() };
    for (value, expect) in [
        (json!({"email": "a@corp.example", "email_verified": true}), Ok(Some("a@corp.example".to_owned()))),
        (json!({"email": "a@CORP.example", "email_verified": true}), Ok(Some("a@CORP.example".to_owned()))),
        (json!({"email": "a@corp.example"}), Err(Unfit::Unverified)),
        (json!({"email": "a@corp.example", "email_verified": false}), Err(Unfit::Unverified)),
        (
            json!({"email": "a@corp.example", "email_verified": "true"}),
            Err(Unfit::Mistyped("email_verified".to_owned())),
        ),
        (json!({"email": 7, "email_verified": true}), Err(Unfit::Mistyped("email".to_owned()))),
        (json!({"email": "a b@corp.example", "email_verified": true}), Err(Unfit::Mistyped("email".to_owned()))),
        (json!({"email": "a@corp.example.evil", "email_verified": true}), Err(Unfit::Domain)),
        (json!({"email": "a@corp.example@evil.example", "email_verified": true}), Err(Unfit::Domain)),
        (json!({}), Err(Unfit::Unverified)),
    ] {
        let read = read(&mapping, &claims(value.clone()), GroupsFrom::Token);
        assert_eq!(read.map(|person| person.email), expect, "{value}");
    }
    let unverified = read(&super::tests::mapping(), &claims(json!({"email": "a@b.c"})), GroupsFrom::Token);
    assert_eq!(unverified.unwrap().email, None);
}

#[test]
fn a_name_comes_from_the_user_name_the_address_or_the_subject() {
    for (value, expect) in [
        (json!({"preferred_username": "Ada.Lovelace@corp.example"}), "ada.lovelace"),
        (json!({"preferred_username": "Ada Lovelace"}), "ada-lovelace"),
        (json!({"preferred_username": "..ä"}), "subject-1"),
        (json!({"email": "grace@x.y", "email_verified": true}), "grace"),
        (json!({"email": "grace@x.y"}), "subject-1"),
        (json!({"sub": "auth0|42"}), "auth0-42"),
        (json!({"preferred_username": "n".repeat(90)}), "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"),
    ] {
        let person = read(&mapping(), &claims(value.clone()), GroupsFrom::Token).unwrap();
        assert_eq!(person.names.first().map(Name::as_str), Some(expect), "{value}");
    }
    let name = Name::parse("ada").unwrap();
    assert_eq!([0, 1, 2].map(|at| numbered(&name, at).unwrap().to_string()), ["ada", "ada-2", "ada-3"]);
    for bad in [json!({"sub": ""}), json!({"sub": 7}), json!({"sub": "x".repeat(256)}), json!({"name": []})] {
        assert!(read(&mapping(), &claims(bad.clone()), GroupsFrom::Token).is_err(), "{bad}");
    }
}
