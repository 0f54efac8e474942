//! On SQLite, and on PostgreSQL where the tests run beside one: imports, overrides, and what replicas are sent of them.

use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;
use tollgate_policy::{
    money::NanoUsd,
    price::{Price, Rates},
    snapshot::ObjectRef,
};

use super::*;
use crate::{catalogue, seal::keyring_for_tests, store::Store};

const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);

fn model(name: &str, input: i64) -> Model {
    let rates = Rates { input: NanoUsd::new(input), ..Rates::default() };
    Model {
        vendor: "anthropic".into(),
        name: name.into(),
        display_name: name.into(),
        aliases: vec![],
        context_window: 200_000,
        output_max: 64_000,
        price: Some(Price { rates, ..Price::default() }),
    }
}

fn catalogue(version: i64, models: Vec<Model>) -> Catalogue {
    Catalogue { version, as_of: UnixMillis::new(version), models }
}

async fn databases(directory: &TempDir) -> Vec<Store> {
    let sqlite = format!("sqlite://{}", directory.path().join("tollgate.db").display());
    let mut stores = vec![Store::open(&sqlite, keyring_for_tests()).await.unwrap()];
    if let Some(url) = postgres().await {
        stores.push(Store::open(&url, keyring_for_tests()).await.unwrap());
    }
    stores
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration of its own")]
async fn postgres() -> Option<String> {
    let server = std::env::var("TOLLGATE_TEST_POSTGRES_URL").ok()?;
    let name = format!("models_{}", ulid::Ulid::generate().to_string().to_lowercase());
    let create: &'static str = Box::leak(format!("CREATE DATABASE {name}").into_boxed_str());
    PgConnection::connect(&server).await.unwrap().execute(create).await.unwrap();
    Some(server.replacen("/postgres?", &format!("/{name}?"), 1))
}

// The names and prices that changed after a revision, and the models that are gone.
async fn changes(store: &Store, after: i64) -> (Vec<(String, i64)>, Vec<ObjectRef>) {
    let changes = store.changes(after).await.unwrap();
    let price = |model: &Model| model.price.unwrap().rates.input.get();
    (changes.models.iter().map(|model| (model.name.to_string(), price(model))).collect(), changes.tombstones)
}

fn rows(expect: &[(&str, i64)]) -> Vec<(String, i64)> {
    expect.iter().map(|(name, price)| ((*name).to_owned(), *price)).collect()
}

async fn set(store: &Store, model: &Model) -> i64 {
    let mut txn = store.begin().await.unwrap();
    let revision = txn.advance_revision().await.unwrap();
    txn.model_set(revision, model, NOW).await.unwrap();
    txn.commit().await.unwrap();
    revision
}

async fn reset(store: &Store, name: &str) -> bool {
    let mut txn = store.begin().await.unwrap();
    let revision = txn.advance_revision().await.unwrap();
    let reset = txn.model_reset(revision, "anthropic", name).await.unwrap();
    txn.commit().await.unwrap();
    reset
}

fn gone(name: &str) -> ObjectRef {
    ObjectRef::Model("anthropic".into(), name.into())
}

#[tokio::test]
async fn a_newer_catalogue_is_imported_once_and_only_what_differs_is_sent() {
    let directory = TempDir::new().unwrap();
    for store in databases(&directory).await {
        let first = catalogue(1, vec![model("a", 1), model("b", 2), model("c", 3)]);
        let imported = catalogue::import(&store, &first, NOW).await.unwrap();
        assert_eq!(imported, Imported { changed: 3, gone: 0 }, "{store:?}");
        let revision = store.revision().await.unwrap();
        assert_eq!(changes(&store, 0).await.0, rows(&[("a", 1), ("b", 2), ("c", 3)]));

        for old in [1, 0] {
            let again = catalogue::import(&store, &catalogue(old, vec![model("a", 9)]), NOW).await.unwrap();
            assert_eq!((again, store.revision().await.unwrap()), (Imported::default(), revision), "{store:?}");
        }

        let second = catalogue(2, vec![model("a", 1), model("b", 5), model("d", 4)]);
        let imported = catalogue::import(&store, &second, NOW).await.unwrap();
        assert_eq!(imported, Imported { changed: 2, gone: 1 }, "{store:?}");
        assert_eq!(changes(&store, revision).await, (rows(&[("b", 5), ("d", 4)]), vec![gone("c")]), "{store:?}");

        let mut txn = store.begin_read().await.unwrap();
        assert_eq!(txn.model_get("anthropic", "a").await.unwrap().unwrap().as_of, UnixMillis::new(2));
        assert_eq!(txn.audit_length().await.unwrap(), 2, "one entry for each import");
        txn.end().await.unwrap();

        let revision = store.revision().await.unwrap();
        catalogue::import(&store, &catalogue(3, vec![model("c", 3)]), NOW).await.unwrap();
        let (upserts, mut deletes) = changes(&store, revision).await;
        deletes.sort_by_key(|gone| format!("{gone:?}"));
        assert_eq!((upserts, deletes), (rows(&[("c", 3)]), vec![gone("a"), gone("b"), gone("d")]), "{store:?}");
        store.close().await;
    }
}

#[tokio::test]
async fn an_override_stands_before_the_catalogue_until_it_is_reset() {
    let directory = TempDir::new().unwrap();
    for store in databases(&directory).await {
        catalogue::import(&store, &catalogue(1, vec![model("a", 1), model("b", 2)]), NOW).await.unwrap();
        let before = store.revision().await.unwrap();
        let revision = set(&store, &model("a", 100)).await;
        assert_eq!(changes(&store, before).await, (rows(&[("a", 100)]), vec![]), "{store:?}");
        assert_eq!(changes(&store, 0).await.0, rows(&[("a", 100), ("b", 2)]));

        // A newer catalogue neither replaces nor removes what was set.
        catalogue::import(&store, &catalogue(2, vec![model("a", 7), model("b", 2)]), NOW).await.unwrap();
        assert_eq!(changes(&store, revision).await, (vec![], vec![]), "{store:?}");
        catalogue::import(&store, &catalogue(3, vec![model("b", 2)]), NOW).await.unwrap();
        assert_eq!(changes(&store, revision).await, (vec![], vec![]), "{store:?}");
        catalogue::import(&store, &catalogue(4, vec![model("a", 8), model("b", 2)]), NOW).await.unwrap();

        let after = store.revision().await.unwrap();
        assert!(reset(&store, "a").await && !reset(&store, "a").await && !reset(&store, "b").await);
        assert_eq!(changes(&store, after).await, (rows(&[("a", 8)]), vec![]), "the catalogue's row holds again");
        store.close().await;
    }
}

#[tokio::test]
async fn a_model_that_only_an_administrator_knows_comes_and_goes() {
    let directory = TempDir::new().unwrap();
    for store in databases(&directory).await {
        let made = set(&store, &model("own", 1)).await;
        assert!(reset(&store, "own").await);
        assert_eq!(changes(&store, made).await, (vec![], vec![gone("own")]), "{store:?}");
        set(&store, &model("own", 2)).await;
        assert_eq!(changes(&store, made).await, (rows(&[("own", 2)]), vec![]), "it is not gone: {store:?}");
        reset(&store, "own").await;
        catalogue::import(&store, &catalogue(1, vec![model("own", 3)]), NOW).await.unwrap();
        assert_eq!(changes(&store, made).await, (rows(&[("own", 3)]), vec![]), "a catalogue brings it back: {store:?}");
        store.close().await;
    }
}

#[tokio::test]
async fn models_are_listed_in_pages_by_vendor_and_name() {
    let directory = TempDir::new().unwrap();
    for store in databases(&directory).await {
        let mut other = model("z", 1);
        other.vendor = "openai".into();
        let models = vec![model("a", 1), model("a_b", 2), model("axb", 3), other];
        catalogue::import(&store, &catalogue(1, models), NOW).await.unwrap();
        set(&store, &model("a_b", 9)).await;
        let mut txn = store.begin_read().await.unwrap();
        let prefix = |text: &str| Some(TextMatch::Prefix(text.into()));
        let whole = |text: &str| Some(TextMatch::Whole(text.into()));
        for (wanted, after, count, expect) in [
            (Wanted::default(), None, 10, vec!["a", "a_b", "axb", "z"]),
            (Wanted::default(), None, 2, vec!["a", "a_b"]),
            (Wanted::default(), Some(("anthropic", "a_b")), 10, vec!["axb", "z"]),
            (Wanted { name: prefix("a_"), ..Wanted::default() }, None, 10, vec!["a_b"]),
            (Wanted { vendor: whole("openai"), ..Wanted::default() }, None, 10, vec!["z"]),
            (Wanted { vendor: prefix("anth"), name: whole("a"), ..Wanted::default() }, None, 10, vec!["a"]),
            (Wanted { origin: Some(Origin::Override), ..Wanted::default() }, None, 10, vec!["a_b"]),
            (Wanted { origin: Some(Origin::Catalogue), ..Wanted::default() }, None, 10, vec!["a", "axb", "z"]),
        ] {
            let found = txn.model_list(&wanted, after, count).await.unwrap();
            let names: Vec<_> = found.iter().map(|row| &*row.model.name).collect();
            assert_eq!(names, expect, "{store:?} {wanted:?}");
        }
        txn.end().await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn two_control_planes_that_start_together_import_once() {
    let directory = TempDir::new().unwrap();
    for store in databases(&directory).await {
        let shipped = catalogue(1, vec![model("a", 1)]);
        let imports = [catalogue::import(&store, &shipped, NOW), catalogue::import(&store, &shipped, NOW)];
        let imported = futures_util::future::join_all(imports).await;
        let changed: usize = imported.into_iter().map(|imported| imported.unwrap().changed).sum();
        assert_eq!((changed, store.revision().await.unwrap()), (1, 1), "{store:?}");
        store.close().await;
    }
}

#[tokio::test]
async fn the_shipped_catalogue_fits_both_databases() {
    let directory = TempDir::new().unwrap();
    let shipped = Catalogue::embedded().unwrap();
    for store in databases(&directory).await {
        let imported = catalogue::import(&store, &shipped, NOW).await.unwrap();
        assert_eq!(imported.changed, shipped.models.len(), "{store:?}");
        let mut models = store.changes(0).await.unwrap().models;
        let key = |model: &Model| (model.vendor.to_string(), model.name.to_string());
        models.sort_by_key(key);
        let mut expect = shipped.models.clone();
        expect.sort_by_key(key);
        assert!(models == expect, "{store:?}: a row was changed by the database");
        store.close().await;
    }
}
