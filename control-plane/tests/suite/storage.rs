//! The database beneath: migrations, secrets at rest, and what is seen of it.

use tokio::task::JoinSet;
use tollgate_control_plane::{
    app,
    config::Config,
    seal::{Keyring, Place as Sealed, random_key},
    store::{Store, StoreError},
};
use tollgate_proto::admin::v1;
use tollgate_settings::Secret;
use zeroize::Zeroizing;

use crate::world::{Place, World, config, keyring, over_both};

over_both! {
    migrations_run_once_however_many_start
    a_secret_is_made_once_however_many_ask
    no_secret_is_in_the_database_in_clear
    a_new_encryption_key_opens_what_the_old_one_sealed
    a_commit_wakes_and_a_rollback_does_not
    a_url_that_is_none_is_refused
}

async fn migrations_run_once_however_many_start(place: Place) {
    let mut opening = JoinSet::new();
    for _ in 0..6 {
        let url = place.url.clone();
        opening.spawn(async move { Store::open(&url, keyring()).await });
    }
    let stores: Vec<Store> = opening.join_all().await.into_iter().map(Result::unwrap).collect();
    let mut epochs = Vec::new();
    for store in &stores {
        let changes = store.changes(0).await.unwrap();
        epochs.push(changes.epoch);
        assert_eq!(changes.revision, 0);
        store.close().await;
    }
    epochs.dedup();
    assert_eq!(epochs.len(), 1);
    let again = Store::open(&place.url, keyring()).await.unwrap();
    assert_eq!(again.changes(0).await.unwrap().epoch, epochs[0]);
    again.close().await;
}

async fn a_secret_is_made_once_however_many_ask(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let other = Store::open(&place.url, keyring()).await.unwrap();
    let mut asking = JoinSet::new();
    for at in 0..8 {
        let store = if at % 2 == 0 { store.clone() } else { other.clone() };
        asking.spawn(async move {
            let made = random_key().unwrap().to_vec();
            store.secret_get_or_create(&keyring(), "signing", || Zeroizing::new(made)).await.unwrap().to_vec()
        });
    }
    let mut secrets = asking.join_all().await;
    secrets.dedup();
    assert_eq!(secrets.len(), 1);
    let strange = Keyring::new(Zeroizing::new([8; 32]), None);
    let refused = store.secret_get_or_create(&strange, "signing", || Zeroizing::new(vec![1])).await;
    assert!(matches!(refused, Err(StoreError::Seal(_))));
    store.close().await;
    other.close().await;
}

async fn no_secret_is_in_the_database_in_clear(place: Place) {
    const CANARY: &str = "sk-ant-canary-4f9a1c";
    let world = World::start(&place).await;
    world.provider("p", &[("a", CANARY)]).await;
    world.provider("q", &[("b", "env://HOME")]).await;
    let key = world.any_key("k").await;
    let rotated = world.keys().rotate_key(v1::RotateKeyRequest { key: "k".into() }).await.unwrap().into_inner();
    let keyring = config(&place, "data").keyring().unwrap();
    let mut txn = world.store.begin_read().await.unwrap();
    let at = Sealed { purpose: "pepper", id: "fleet" };
    let pepper = keyring.open(at, &txn.secret_get(at).await.unwrap().unwrap()).unwrap();
    txn.end().await.unwrap();
    let token = world.token.clone();
    world.stop().await;
    let dump = place.dump().await;
    assert!(dump.len() > 1_000);
    let whole = [CANARY, &key.secret, &rotated.secret, &token].map(str::as_bytes);
    let secret_part = key.secret.rsplit('_').nth(1).unwrap().as_bytes();
    for secret in whole.into_iter().chain([secret_part, pepper.as_slice()]) {
        for form in [secret.to_vec(), hex::encode(secret).into_bytes()] {
            assert!(!dump.windows(form.len()).any(|window| window == form), "found {}", hex::encode(secret));
        }
    }
}

async fn a_new_encryption_key_opens_what_the_old_one_sealed(place: Place) {
    let world = World::start(&place).await;
    let made = world.provider("p", &[("a", "sk-canary")]).await;
    world.stop().await;
    let old = config(&place, "data");
    let new = Config { encryption_key: Some(Secret::new("ffeeddccbbaa99887766554433221100".repeat(2))), ..old.clone() };
    let without = app::build(new.clone()).await.unwrap_err();
    assert!(format!("{without:?}").contains("UnknownKey"), "{without:?}");
    let rotating = Config { encryption_key_previous: old.encryption_key.clone(), ..new.clone() };
    drop(app::build(rotating).await.unwrap());
    let app = app::build(new.clone()).await.unwrap();
    let at = Sealed { purpose: "credential", id: &made.credentials[0].id };
    let mut txn = app.store().begin_read().await.unwrap();
    let sealed = txn.secret_get(at).await.unwrap().unwrap();
    txn.end().await.unwrap();
    assert_eq!(new.keyring().unwrap().open(at, &sealed).unwrap().as_slice(), b"sk-canary");
    assert!(app::build(old).await.is_err());
}

async fn a_commit_wakes_and_a_rollback_does_not(place: Place) {
    let store = Store::open(&place.url, keyring()).await.unwrap();
    let mut changed = store.changed();
    changed.mark_unchanged();
    let mut txn = store.begin().await.unwrap();
    assert_eq!(txn.advance_revision().await.unwrap(), 1);
    drop(txn);
    let mut txn = store.begin().await.unwrap();
    assert_eq!(txn.advance_revision().await.unwrap(), 1, "a rolled back revision is given again");
    assert_eq!(txn.advance_revision().await.unwrap(), 1, "a transaction has one revision");
    assert!(!changed.has_changed().unwrap());
    txn.commit().await.unwrap();
    assert!(changed.has_changed().unwrap());
    assert_eq!(*changed.borrow_and_update(), 1);
    let mut read = store.begin_read().await.unwrap();
    assert!(read.advance_revision().await.is_err(), "a reader cannot write");
    drop(read);
    assert_eq!(store.revision().await.unwrap(), 1);
    store.close().await;
}

async fn a_url_that_is_none_is_refused(_: Place) {
    for url in ["", "mysql://x", "sqlite::memory:", "sqlite://?mode=memory", "sqlite:///no/such/directory/x.db"] {
        assert!(matches!(Store::open(url, keyring()).await, Err(StoreError::Url(_))), "{url}");
    }
}
