//! Revisions and the audit log.

use sqlx::{Connection as _, Executor as _, PgConnection, SqliteConnection};
use tokio::task::JoinSet;
use tollgate_proto::{admin::v1, audit::v1 as audit_v1};
use tonic::Code;

use crate::world::{Place, World, code, mask, over_both, violations};

over_both! {
    every_change_has_its_entry_with_what_it_changed
    a_change_without_its_entry_does_not_happen
    two_control_planes_count_revisions_and_entries_without_gaps
    the_log_is_filtered_and_paged_newest_first
}

async fn every_change_has_its_entry_with_what_it_changed(place: Place) {
    let world = World::start(&place).await;
    let before = world.log("").await.len();
    world.customer("acme").await;
    let disable = v1::Customer { name: "acme".into(), disabled: true, ..Default::default() };
    let request = v1::UpdateCustomerRequest { customer: Some(disable), update_mask: mask(&["disabled"]) };
    let customer = world.customers().update_customer(request).await.unwrap().into_inner();
    let provider = world.provider("p", &[("a", "sk-canary")]).await;
    let delete = v1::DeleteCustomerRequest { customer: "acme".into(), ..Default::default() };
    world.customers().delete_customer(delete).await.unwrap();
    let entries = world.log("").await.split_off(before);
    let actions: Vec<_> = entries.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["customer.create", "customer.update", "provider.create", "customer.delete"]);
    for entry in &entries {
        assert_eq!((entry.outcome.as_str(), entry.initiator.as_str()), ("allowed", "administrator/bootstrap"));
        assert!(entry.source_address.starts_with("127.0.0.1:"), "{entry:?}");
        assert!(!entry.detail.contains("canary"));
    }
    assert_eq!(entries[1].target, format!("customer/{}", customer.id));
    let detail: serde_json::Value = serde_json::from_str(&entries[1].detail).unwrap();
    assert_eq!(detail["changed"], serde_json::json!({"disabled": {"before": false, "after": true}}));
    assert_eq!(detail["call"], "/tollgate.admin.v1.CustomerService/UpdateCustomer");
    assert!(entries[2].detail.contains(&provider.credentials[0].fingerprint));
    let indexes: Vec<_> = world.log("").await.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, (1..=i64::try_from(indexes.len()).unwrap()).collect::<Vec<_>>());
    world.stop().await;
}

async fn a_change_without_its_entry_does_not_happen(place: Place) {
    let world = World::start(&place).await;
    let made = world.customer("acme").await;
    let revision = world.store.revision().await.unwrap();
    // The database itself refuses the next entry.
    if place.is_postgres() {
        let mut connection = PgConnection::connect(&place.url).await.unwrap();
        let refuse =
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
                      CREATE TRIGGER refuse BEFORE INSERT ON audit_entries FOR EACH ROW EXECUTE FUNCTION refuse();";
        connection.execute(sqlx::raw_sql(refuse)).await.unwrap();
    } else {
        let mut connection = SqliteConnection::connect(&place.url).await.unwrap();
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'no'); END;";
        connection.execute(sqlx::raw_sql(refuse)).await.unwrap();
    }
    let create = v1::CreateCustomerRequest { customer: Some(v1::Customer { name: "b".into(), ..Default::default() }) };
    let status = world.customers().create_customer(create).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("no\""), "{}", status.message());
    let rename = v1::Customer { display_name: "x".into(), ..made.clone() };
    let request = v1::UpdateCustomerRequest { customer: Some(rename), update_mask: mask(&["display_name"]) };
    assert_eq!(code(world.customers().update_customer(request).await), Code::Internal);
    let delete = v1::DeleteCustomerRequest { customer: "acme".into(), ..Default::default() };
    assert_eq!(code(world.customers().delete_customer(delete).await), Code::Internal);
    let list = world.customers().list_customers(v1::ListCustomersRequest::default()).await.unwrap();
    assert_eq!(list.into_inner().customers, [made]);
    assert_eq!(world.store.revision().await.unwrap(), revision);
    world.stop().await;
}

async fn two_control_planes_count_revisions_and_entries_without_gaps(place: Place) {
    const WRITERS: usize = 4;
    const CHANGES: usize = 25;
    let one = World::start_in(&place, "one").await;
    let mut two = World::start_in(&place, "two").await;
    assert_eq!(two.token, "", "the second control plane finds the administrator's token made");
    two.token = one.token.clone();
    let base = one.store.revision().await.unwrap();
    let logged = i64::try_from(one.log("").await.len()).unwrap();
    let mut seen = two.store.changed();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let mut client = [&one, &two][writer % 2].customers();
        writers.spawn(async move {
            let mut etags = Vec::new();
            for at in 0..CHANGES {
                let customer = v1::Customer { name: format!("c-{writer}-{at}"), ..Default::default() };
                let request = v1::CreateCustomerRequest { customer: Some(customer) };
                etags.push(client.create_customer(request).await.unwrap().into_inner().etag);
            }
            etags
        });
    }
    let etags: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    let mut revisions: Vec<i64> = etags.iter().map(|etag| etag.trim_start_matches('r').parse().unwrap()).collect();
    revisions.sort_unstable();
    let head = base + i64::try_from(WRITERS * CHANGES).unwrap();
    assert_eq!(revisions, (base + 1..=head).collect::<Vec<_>>());
    let indexes: Vec<_> = one.log("action=customer.create").await.iter().map(|entry| entry.index).collect();
    assert_eq!(indexes, (logged + 1..=logged + (head - base)).collect::<Vec<_>>());
    // Each control plane learns of the other's commits, and both read the same state.
    seen.wait_for(|revision| *revision == head).await.unwrap();
    one.store.changed().wait_for(|revision| *revision == head).await.unwrap();
    let (a, b) = (one.store.changes(base).await.unwrap(), two.store.changes(base).await.unwrap());
    assert_eq!((a.epoch, a.revision, a.customers.len()), (b.epoch, b.revision, b.customers.len()));
    assert_eq!(a.customers.len(), WRITERS * CHANGES);
    one.stop().await;
    two.stop().await;
}

async fn the_log_is_filtered_and_paged_newest_first(place: Place) {
    let world = World::start(&place).await;
    let ids = [world.customer("a").await.id, world.customer("b").await.id, world.customer("c").await.id];
    let list = async |filter: &str, size: i32, token: &str| {
        let request = audit_v1::ListEntriesRequest {
            page_size: size,
            page_token: token.into(),
            filter: filter.into(),
            after_index: None,
        };
        world.audit().list_entries(request).await.map(tonic::Response::into_inner)
    };
    let mut targets = Vec::new();
    let mut token = String::new();
    loop {
        let page = list("action=customer.create", 2, &token).await.unwrap();
        targets.extend(page.entries.into_iter().map(|entry| entry.target));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(targets, [&ids[2], &ids[1], &ids[0]].map(|id| format!("customer/{id}")));
    for (filter, expect) in [
        (format!("target=customer/{}", ids[1]), 1),
        ("action=customer.*".into(), 3),
        ("action=customer.* AND outcome=refused".into(), 0),
        ("initiator=administrator/bootstrap AND since=2020-01-01T00:00:00Z".into(), 3),
        ("initiator=administrator/bootstrap AND until=2020-01-01T00:00:00Z".into(), 0),
        ("request_id=x".into(), 0),
        ("session=x AND replica=y".into(), 0),
    ] {
        assert_eq!(list(&filter, 0, "").await.unwrap().entries.len(), expect, "{filter}");
    }
    for bad in ["since=yesterday", "outcome=maybe", "detail=x"] {
        assert_eq!(violations(list(bad, 0, "").await), ["filter"], "{bad}");
    }
    world.stop().await;
}
