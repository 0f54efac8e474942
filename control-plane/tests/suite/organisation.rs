//! Customers, teams and users: the shape that all nouns share.

use tollgate_policy::snapshot::Object;
use tollgate_proto::admin::v1;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::world::{Place, World, code, mask, over_both, violations};

over_both! {
    a_customer_is_created_read_changed_and_deleted
    every_wrong_field_is_named_at_once
    an_update_changes_what_the_mask_names_and_nothing_else
    a_stale_etag_is_aborted_and_of_two_writers_one_wins
    what_is_still_needed_is_not_deleted
    a_name_or_an_address_is_given_once
    pages_hold_a_thousand_objects_in_the_order_of_creation
    lists_are_filtered_strictly
    a_change_that_changes_nothing_is_no_change
    what_a_team_may_reach_is_kept_checked_published_and_held_fast
}

async fn a_customer_is_created_read_changed_and_deleted(place: Place) {
    let world = World::start(&place).await;
    let made = world.customer("acme").await;
    assert!(made.id.starts_with("customer-") && !made.etag.is_empty() && made.create_time.is_some());
    for named in [made.id.as_str(), "acme"] {
        let request = v1::GetCustomerRequest { customer: named.into() };
        assert_eq!(world.customers().get_customer(request).await.unwrap().into_inner(), made);
    }
    let new =
        v1::Customer { id: made.id.clone(), name: "acme-2".into(), display_name: "Acmé ☃".into(), ..made.clone() };
    let request = v1::UpdateCustomerRequest { customer: Some(new), update_mask: mask(&["name", "display_name"]) };
    let changed = world.customers().update_customer(request).await.unwrap().into_inner();
    assert_eq!((changed.name.as_str(), changed.display_name.as_str()), ("acme-2", "Acmé ☃"));
    assert_eq!((changed.disabled, &changed.create_time), (false, &made.create_time));
    assert_ne!(changed.etag, made.etag);
    let delete = v1::DeleteCustomerRequest { customer: "acme-2".into(), etag: changed.etag };
    world.customers().delete_customer(delete.clone()).await.unwrap();
    let status = world.customers().delete_customer(delete).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let details = status.get_error_details();
    let missing = details.resource_info().unwrap();
    assert_eq!((missing.resource_type.as_str(), missing.resource_name.as_str()), ("customer", "acme-2"));
    world.stop().await;
}

async fn every_wrong_field_is_named_at_once(place: Place) {
    let world = World::start(&place).await;
    let stamp = Some(prost_types::Timestamp::default());
    let customer = v1::Customer {
        id: "customer-x".into(),
        name: "Not A Name".into(),
        display_name: "bell\u{7}".into(),
        etag: "r1".into(),
        create_time: stamp,
        update_time: stamp,
        ..Default::default()
    };
    let created = world.customers().create_customer(v1::CreateCustomerRequest { customer: Some(customer) }).await;
    assert_eq!(violations(created), ["create_time", "display_name", "etag", "id", "name", "update_time"]);
    let created = world.customers().create_customer(v1::CreateCustomerRequest::default()).await;
    assert_eq!(violations(created), ["name"]);

    let team = v1::Team { display_name: "x".repeat(201), etag: "r1".into(), ..Default::default() };
    let created = world.teams().create_team(v1::CreateTeamRequest { team: Some(team) }).await;
    assert_eq!(violations(created), ["customer", "display_name", "etag", "name"]);
    let team = v1::Team { name: "a".into(), customer: "nobody".into(), ..Default::default() };
    let created = world.teams().create_team(v1::CreateTeamRequest { team: Some(team) }).await;
    assert_eq!(violations(created), ["customer"]);

    for email in ["x", "@x", "x@", "a b@x", "a@x\r\nBcc: y", &format!("{}@x", "y".repeat(254))] {
        let user = v1::User {
            email: email.into(),
            team: "nobody".into(),
            display_name: "\u{202e}txt".into(),
            ..Default::default()
        };
        let created = world.users().create_user(v1::CreateUserRequest { user: Some(user) }).await;
        assert_eq!(violations(created), ["display_name", "email", "name", "team"], "{email}");
    }
    // Nothing of that left a trace.
    assert_eq!(world.store.revision().await.unwrap(), world.store.changes(0).await.unwrap().revision);
    assert!(world.log("action=customer.*").await.is_empty());
    world.stop().await;
}

async fn an_update_changes_what_the_mask_names_and_nothing_else(place: Place) {
    let world = World::start(&place).await;
    world.customer("acme").await;
    world.customer("other").await;
    world.team("platform", "acme").await;
    let user = v1::User { name: "ada".into(), email: "ada@x".into(), team: "platform".into(), ..Default::default() };
    let user = world.users().create_user(v1::CreateUserRequest { user: Some(user) }).await.unwrap().into_inner();
    let update = async |user: v1::User, paths: Option<&[&str]>| {
        let request = v1::UpdateUserRequest { user: Some(user), update_mask: paths.and_then(mask) };
        world.users().update_user(request).await.map(tonic::Response::into_inner)
    };

    let asked = v1::User { name: "ada".into(), display_name: "Ada".into(), disabled: true, ..Default::default() };
    let changed = update(asked, Some(&["display_name"])).await.unwrap();
    assert_eq!(changed.display_name, "Ada");
    assert_eq!((changed.disabled, &changed.email, &changed.team), (false, &user.email, &user.team));
    let cleared = v1::User { name: "ada".into(), ..Default::default() };
    let changed = update(cleared.clone(), Some(&["email", "team"])).await.unwrap();
    assert_eq!((changed.email.as_str(), changed.team.as_str(), changed.display_name.as_str()), ("", "", "Ada"));

    for (paths, expect) in [
        (None, vec!["update_mask"]),
        (Some(&["*"][..]), vec!["update_mask"]),
        (Some(&["id"][..]), vec!["update_mask"]),
        (Some(&["create_time", "etag"][..]), vec!["update_mask", "update_mask"]),
        (Some(&["name"][..]), vec!["id"]),
        (Some(&["password"][..]), vec!["update_mask"]),
    ] {
        assert_eq!(violations(update(cleared.clone(), paths).await), expect, "{paths:?}");
    }
    assert_eq!(violations(update(v1::User::default(), Some(&["disabled"])).await), ["user"]);
    let unknown = v1::User { id: "user-01k9zq3v5m8c4t2n7r6x0w1y9b".into(), ..Default::default() };
    assert_eq!(code(update(unknown, Some(&["disabled"])).await), Code::NotFound);

    // A team stays with its customer.
    let team = v1::Team { name: "platform".into(), customer: "other".into(), ..Default::default() };
    let request = v1::UpdateTeamRequest { team: Some(team), update_mask: mask(&["customer"]) };
    assert_eq!(violations(world.teams().update_team(request).await), ["update_mask"]);
    world.stop().await;
}

async fn a_stale_etag_is_aborted_and_of_two_writers_one_wins(place: Place) {
    let world = World::start(&place).await;
    let made = world.customer("acme").await;
    let write = |display_name: &str| {
        let customer = v1::Customer { display_name: display_name.into(), ..made.clone() };
        let request = v1::UpdateCustomerRequest { customer: Some(customer), update_mask: mask(&["display_name"]) };
        let mut client = world.customers();
        async move { client.update_customer(request).await.map(|answer| answer.into_inner().display_name) }
    };
    let (one, two) = tokio::join!(write("one"), write("two"));
    let aborted =
        [&one, &two].into_iter().filter(|answer| answer.as_ref().is_err_and(|status| status.code() == Code::Aborted));
    assert_eq!(aborted.count(), 1, "{one:?} {two:?}");
    let request = v1::GetCustomerRequest { customer: "acme".into() };
    let stands = world.customers().get_customer(request).await.unwrap().into_inner().display_name;
    assert_eq!(stands, one.or(two).unwrap());
    let delete = v1::DeleteCustomerRequest { customer: "acme".into(), etag: made.etag.clone() };
    assert_eq!(code(world.customers().delete_customer(delete).await), Code::Aborted);
    world.stop().await;
}

async fn what_is_still_needed_is_not_deleted(place: Place) {
    let world = World::start(&place).await;
    world.any_key("k").await;
    let user = v1::User { name: "ada".into(), team: "k-team".into(), ..Default::default() };
    world.users().create_user(v1::CreateUserRequest { user: Some(user) }).await.unwrap();
    world
        .key(v1::Key { name: "k2".into(), team: "k-team".into(), user: "ada".into(), ..Default::default() })
        .await
        .unwrap();
    let customer = v1::DeleteCustomerRequest { customer: "k-customer".into(), ..Default::default() };
    let team = v1::DeleteTeamRequest { team: "k-team".into(), ..Default::default() };
    let user = v1::DeleteUserRequest { user: "ada".into(), ..Default::default() };
    for (status, expect) in [
        (world.customers().delete_customer(customer.clone()).await.unwrap_err(), "1 team:"),
        (world.teams().delete_team(team.clone()).await.unwrap_err(), "2 keys and 1 user:"),
        (world.users().delete_user(user.clone()).await.unwrap_err(), "1 key:"),
    ] {
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().contains(expect), "{}", status.message());
        assert_eq!(status.get_error_details().precondition_failure().unwrap().violations.len(), 1);
    }
    for key in ["k", "k2"] {
        let delete = v1::DeleteKeyRequest { key: key.into(), ..Default::default() };
        world.keys().delete_key(delete).await.unwrap();
    }
    world.users().delete_user(user).await.unwrap();
    world.teams().delete_team(team).await.unwrap();
    world.customers().delete_customer(customer).await.unwrap();
    let left = world.store.changes(0).await.unwrap();
    assert!(left.customers.is_empty() && left.teams.is_empty() && left.users.is_empty() && left.keys.is_empty());
    assert_eq!(world.store.changes(1).await.unwrap().tombstones.len(), 5);
    world.stop().await;
}

async fn a_name_or_an_address_is_given_once(place: Place) {
    let world = World::start(&place).await;
    let acme = world.customer("acme").await;
    world.customer("other").await;
    let again =
        v1::CreateCustomerRequest { customer: Some(v1::Customer { name: "acme".into(), ..Default::default() }) };
    let status = world.customers().create_customer(again).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    assert_eq!(status.get_error_details().bad_request().unwrap().field_violations[0].field, "name");
    let rename = v1::Customer { id: acme.id, name: "other".into(), ..Default::default() };
    let request = v1::UpdateCustomerRequest { customer: Some(rename), update_mask: mask(&["name"]) };
    assert_eq!(code(world.customers().update_customer(request).await), Code::AlreadyExists);
    for (name, expect) in [("ada", None), ("bob", Some("email"))] {
        let user = v1::User { name: name.into(), email: "same@x".into(), ..Default::default() };
        let created = world.users().create_user(v1::CreateUserRequest { user: Some(user) }).await;
        let field = created.err().map(|status| {
            assert_eq!(status.code(), Code::AlreadyExists);
            status.get_error_details().bad_request().unwrap().field_violations[0].field.clone()
        });
        assert_eq!(field.as_deref(), expect);
    }
    world.stop().await;
}

async fn pages_hold_a_thousand_objects_in_the_order_of_creation(place: Place) {
    const OBJECTS: usize = 1_000;
    let world = World::start(&place).await;
    for at in 0..OBJECTS {
        world.customer(&format!("customer-{}", OBJECTS - at)).await;
    }
    let mut names = Vec::new();
    let mut request = v1::ListCustomersRequest { page_size: 64, ..Default::default() };
    loop {
        let page = world.customers().list_customers(request.clone()).await.unwrap().into_inner();
        names.extend(page.customers.into_iter().map(|customer| customer.name));
        if page.next_page_token.is_empty() {
            break;
        }
        // What is deleted between two pages moves nothing.
        let gone = v1::DeleteCustomerRequest { customer: names.pop().unwrap(), ..Default::default() };
        world.customers().delete_customer(gone.clone()).await.unwrap();
        names.push(gone.customer);
        request.page_token = page.next_page_token;
    }
    let expect: Vec<_> = (0..OBJECTS).map(|at| format!("customer-{}", OBJECTS - at)).collect();
    assert_eq!(names, expect);

    let foreign = [
        v1::ListCustomersRequest { filter: "disabled=false".into(), ..request.clone() },
        v1::ListCustomersRequest { page_token: "nonsense".into(), ..request.clone() },
        v1::ListCustomersRequest {
            page_token: request.page_token.replacen(|c: char| c != 'A', "A", 1),
            ..request.clone()
        },
    ];
    for request in foreign {
        assert_eq!(violations(world.customers().list_customers(request).await), ["page_token"]);
    }
    let elsewhere = v1::ListTeamsRequest { page_token: request.page_token, ..Default::default() };
    assert_eq!(violations(world.teams().list_teams(elsewhere).await), ["page_token"]);
    world.stop().await;
}

async fn lists_are_filtered_strictly(place: Place) {
    let world = World::start(&place).await;
    for name in ["acme", "acme-eu", "other"] {
        world.customer(name).await;
    }
    let disable = v1::Customer { name: "acme-eu".into(), disabled: true, ..Default::default() };
    let request = v1::UpdateCustomerRequest { customer: Some(disable), update_mask: mask(&["disabled"]) };
    world.customers().update_customer(request).await.unwrap();
    world.team("a", "acme").await;
    world.team("b", "other").await;
    let customers = async |filter: &str| {
        let request = v1::ListCustomersRequest { filter: filter.into(), ..Default::default() };
        let page = world.customers().list_customers(request).await?.into_inner();
        Ok::<Vec<String>, tonic::Status>(page.customers.into_iter().map(|customer| customer.name).collect())
    };
    for (filter, expect) in [
        ("", vec!["acme", "acme-eu", "other"]),
        ("name=acme", vec!["acme"]),
        ("name=acme*", vec!["acme", "acme-eu"]),
        ("name=acme* AND disabled=true", vec!["acme-eu"]),
        ("disabled=false", vec!["acme", "other"]),
        ("name=%", vec![]),
        ("name=acm_", vec![]),
        ("name=' OR 1=1 --", vec![]),
    ] {
        assert_eq!(customers(filter).await.unwrap(), expect, "{filter}");
    }
    for bad in ["name", "color=red", "disabled=yes", "name=a OR name=b AND x=1"] {
        assert_eq!(violations(customers(bad).await), ["filter"], "{bad}");
    }
    for (filter, expect) in [("customer=acme", 1), ("customer=acme AND name=b", 0)] {
        let request = v1::ListTeamsRequest { filter: filter.into(), ..Default::default() };
        assert_eq!(world.teams().list_teams(request).await.unwrap().into_inner().teams.len(), expect, "{filter}");
    }
    let unknown = v1::ListTeamsRequest { filter: "customer=nobody".into(), page_size: -1, ..Default::default() };
    assert_eq!(violations(world.teams().list_teams(unknown).await), ["filter", "page_size"]);
    world.stop().await;
}

async fn a_change_that_changes_nothing_is_no_change(place: Place) {
    let world = World::start(&place).await;
    let made = world.customer("acme").await;
    let before = (world.store.revision().await.unwrap(), world.log("").await.len());
    let request = v1::UpdateCustomerRequest {
        customer: Some(made.clone()),
        update_mask: mask(&["name", "display_name", "disabled"]),
    };
    let answer = world.customers().update_customer(request).await.unwrap().into_inner();
    assert_eq!(answer, made);
    assert_eq!((world.store.revision().await.unwrap(), world.log("").await.len()), before);
    world.stop().await;
}

async fn what_a_team_may_reach_is_kept_checked_published_and_held_fast(place: Place) {
    let world = World::start(&place).await;
    let [one, other] = [world.provider("one", &[("a", "env://A")]).await, world.provider("other", &[]).await];
    world.customer("acme").await;
    let plain = world.team("plain", "acme").await;
    assert_eq!((plain.providers.len(), plain.regions.len()), (0, 0));
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let wanted = v1::Team {
        name: "bound".into(),
        customer: "acme".into(),
        providers: texts(&["one", &other.id, &one.id]),
        regions: texts(&["eu-*", "!eu-south-*"]),
        ..Default::default()
    };
    let create = async |team: v1::Team| {
        world.teams().create_team(v1::CreateTeamRequest { team: Some(team) }).await.map(tonic::Response::into_inner)
    };
    let bound = create(wanted.clone()).await.unwrap();
    assert_eq!((&bound.providers, &bound.regions), (&vec![one.id.clone(), other.id.clone()], &wanted.regions));
    let get = v1::GetTeamRequest { team: "bound".into() };
    assert_eq!(world.teams().get_team(get).await.unwrap().into_inner(), bound);
    let bad = v1::Team {
        name: "bad".into(),
        providers: texts(&["one", "nobody"]),
        regions: texts(&["a b"]),
        ..wanted.clone()
    };
    assert_eq!(violations(create(bad).await), ["providers[1]", "regions[0]"]);
    let many = v1::Team { name: "bad".into(), providers: vec!["one".into(); 65], ..wanted };
    assert_eq!(violations(create(many).await), ["providers"]);

    let update = async |providers: &[&str], regions: &[&str], paths: &[&str]| {
        let team = v1::Team {
            id: bound.id.clone(),
            providers: texts(providers),
            regions: texts(regions),
            ..Default::default()
        };
        let request = v1::UpdateTeamRequest { team: Some(team), update_mask: mask(paths) };
        world.teams().update_team(request).await.map(tonic::Response::into_inner)
    };
    assert_eq!(violations(update(&["nobody"], &[""], &["providers", "regions"]).await), ["providers[0]", "regions[0]"]);
    // What is not in the mask stays, and what was read can be written back.
    let revision = world.store.revision().await.unwrap();
    let same = update(&["other", "one"], &[], &["display_name"]).await.unwrap();
    assert_eq!(same, bound);
    assert_eq!(update(&["one", "other"], &["eu-*", "!eu-south-*"], &["providers", "regions"]).await.unwrap(), bound);
    assert_eq!(world.store.revision().await.unwrap(), revision);

    let delete = async |name: &str| {
        let request = v1::DeleteProviderRequest { provider: name.into(), ..Default::default() };
        world.providers().delete_provider(request).await.map(tonic::Response::into_inner)
    };
    let status = delete("other").await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("is named by the team 'bound': take it out of this team first"), "{status:?}");
    let less = update(&["one"], &["eu-west-1"], &["providers", "regions"]).await.unwrap();
    assert_eq!((less.providers, less.regions), (vec![one.id.clone()], texts(&["eu-west-1"])));
    delete("other").await.unwrap();
    let entry = world.log("action=team.update").await.pop().unwrap();
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap();
    let providers = serde_json::json!({"before": [one.id, other.id], "after": [one.id]});
    let regions = serde_json::json!({"before": ["eu-*", "!eu-south-*"], "after": ["eu-west-1"]});
    assert_eq!(detail["changed"], serde_json::json!({"providers": providers, "regions": regions}));

    let told = crate::fleet::told(&world).await.into_iter().filter_map(|object| match object {
        Object::Team(team) => Some((team.name.to_string(), team.providers.len(), team.regions.texts().to_vec())),
        _ => None,
    });
    let mut told: Vec<_> = told.collect();
    told.sort();
    assert_eq!(
        told.iter().map(|team| (team.0.as_str(), team.1, team.2.len())).collect::<Vec<_>>(),
        [("bound", 1, 1), ("plain", 0, 0)]
    );
    // A team that is deleted holds nothing fast.
    let gone = v1::DeleteTeamRequest { team: "bound".into(), ..Default::default() };
    world.teams().delete_team(gone).await.unwrap();
    delete("one").await.unwrap();
    world.stop().await;
}
