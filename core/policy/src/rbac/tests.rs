use super::*;

const NOW: UnixMillis = UnixMillis::new(1_000);
const KNOWN: [&str; 5] = ["key.create", "key.read", "role.create", "team.read", "usage.read"];

fn ulid(last: char) -> String {
    format!("01k9zq3v5m8c4t2n7r6x0w1y9{last}")
}

fn customer(last: char) -> CustomerId {
    CustomerId::from_ulid(&ulid(last)).unwrap()
}

fn team(last: char) -> TeamId {
    TeamId::from_ulid(&ulid(last)).unwrap()
}

fn user(last: char) -> UserId {
    UserId::from_ulid(&ulid(last)).unwrap()
}

fn place(customer_of: char, team_of: char, owner: char) -> Place {
    Place { customer: Some(customer(customer_of)), team: Some(team(team_of)), user: Some(user(owner)) }
}

fn grant(permissions: &[&str], scope: Scope) -> Grant {
    Grant { role: "x".into(), permissions: Permissions::parse(permissions, &KNOWN).unwrap(), scope, expires: None }
}

fn holder(permissions: &[&str], scope: Scope) -> Holder {
    Holder::new(Some(user('a')), vec![grant(permissions, scope)])
}

#[test]
fn a_permission_is_one_that_some_call_demands() {
    for (text, good) in [
        ("key.create", true),
        ("key.*", true),
        ("*", true),
        ("", false),
        ("key", false),
        ("key.", false),
        ("key*", false),
        ("k*", false),
        ("*.read", false),
        ("key.**", false),
        ("keys.*", false),
        ("key.destroy", false),
        ("KEY.CREATE", false),
        ("admin", false),
    ] {
        assert_eq!(Permissions::parse(&[text], &KNOWN).is_ok(), good, "{text}");
    }
}

#[test]
fn a_grant_holds_in_its_scope_and_nowhere_else() {
    let (mine, other_user, other_team, other_customer) =
        (place('c', 't', 'a'), place('c', 't', 'b'), place('c', 'v', 'a'), place('d', 'w', 'b'));
    for (scope, expect) in [
        (Scope::Everything, [true, true, true, true, true]),
        (Scope::Customer(customer('c')), [true, true, true, false, false]),
        (Scope::Team(team('t')), [true, true, false, false, false]),
        (Scope::Own, [true, false, true, false, false]),
    ] {
        let holder = holder(&["key.*"], scope.clone());
        let places = [&mine, &other_user, &other_team, &other_customer, &Place::default()];
        assert_eq!(places.map(|place| holder.holds(NOW, "key.create", place)), expect, "{scope}");
        assert!(places.iter().all(|place| !holder.holds(NOW, "usage.read", place)), "{scope}");
        assert!(holder.holds_somewhere(NOW, "key.read") && !holder.holds_somewhere(NOW, "team.read"));
        assert_eq!(holder.holds_everywhere(NOW, "key.read"), scope == Scope::Everything);
    }
}

#[test]
fn a_program_owns_nothing() {
    let program = Holder::new(None, vec![grant(&["*"], Scope::Own)]);
    assert!(!program.holds(NOW, "key.read", &Place::default()), "no owner is not the same owner");
}

#[test]
fn a_grant_ends_at_its_expiry() {
    let grants = vec![Grant { expires: Some(NOW), ..grant(&["*"], Scope::Everything) }];
    let holder = Holder::new(None, grants);
    assert!(holder.holds(UnixMillis::new(999), "key.read", &Place::default()));
    assert!(!holder.holds(NOW, "key.read", &Place::default()) && !holder.reach(NOW, "key.read").everything);
}

#[test]
fn nobody_gives_what_they_do_not_hold() {
    let here = Place { customer: Some(customer('c')), team: Some(team('t')), user: None };
    let give = |holder: &Holder, texts: &[&str], place: &Place| {
        holder.covers(NOW, &Permissions::parse(texts, &KNOWN).unwrap(), place, &KNOWN)
    };
    let lead = holder(&["key.create", "key.read"], Scope::Team(team('t')));
    assert!(give(&lead, &["key.read"], &here));
    assert!(!give(&lead, &["key.read", "usage.read"], &here));
    assert!(!give(&lead, &["key.*"], &here), "a wildcard gives what later versions add");
    assert!(!give(&lead, &["*"], &here) && !give(&lead, &["key.read"], &Place::default()));
    let keys = holder(&["key.*"], Scope::Customer(customer('c')));
    assert!(give(&keys, &["key.*"], &here) && !give(&keys, &["*"], &here));
    assert!(!give(&holder(&["*"], Scope::Own), &["key.read"], &place('c', 't', 'a')), "what is owned cannot be given");
    assert!(give(&Holder::everything(), &["*"], &Place::default()));
}

#[test]
fn who_holds_more_than_ownership_is_no_mere_owner() {
    let place = place('c', 't', 'a');
    let mut grants = vec![grant(&["key.*"], Scope::Own)];
    assert!(Holder::new(Some(user('a')), grants.clone()).holds_as_owner(NOW, "key.create", &place));
    grants.push(grant(&["key.create"], Scope::Team(team('t'))));
    let holder = Holder::new(Some(user('a')), grants);
    assert!(!holder.holds_as_owner(NOW, "key.create", &place) && holder.holds_as_owner(NOW, "key.read", &place));
    let reach = holder.reach(NOW, "key.create");
    assert_eq!(reach, Reach { teams: vec![team('t')], own: Some(user('a')), ..Reach::default() });
}

#[test]
fn system_roles_are_named_once_and_only_the_administrator_has_a_wildcard() {
    for role in SYSTEM_ROLES {
        assert_eq!(SystemRole::named(role.name), Some(&role));
        assert_eq!(role.permissions().iter().any(|text| text.contains('*')), role.name == ADMIN);
    }
}
