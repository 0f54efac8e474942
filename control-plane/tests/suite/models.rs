//! The catalogue that is there from the start, and what administrators set before it.

use tollgate_proto::admin::v1::{self, model_service_client::ModelServiceClient};
use tonic::{Code, service::interceptor::InterceptedService};

use crate::world::{Authorised, Place, World, code, over_both, violations};

over_both! {
    the_catalogue_is_there_from_the_start
    a_price_that_is_set_holds_until_it_is_reset
    a_model_that_the_catalogue_lacks_can_be_added
    every_wrong_field_of_a_model_is_named
    models_are_paged_and_filtered
}

const OPUS: &str = "anthropic/claude-opus-4-8";

fn models(world: &World) -> ModelServiceClient<Authorised> {
    ModelServiceClient::new(InterceptedService::new(world.channel(), World::bearer(&world.token)))
}

async fn get(world: &World, model: &str) -> Result<v1::Model, tonic::Status> {
    Ok(models(world).get_model(v1::GetModelRequest { model: model.into() }).await?.into_inner())
}

async fn set(world: &World, model: v1::Model) -> Result<v1::Model, tonic::Status> {
    Ok(models(world).set_model(v1::SetModelRequest { model: Some(model) }).await?.into_inner())
}

async fn reset(world: &World, model: &str) -> Result<(), tonic::Status> {
    models(world).reset_model(v1::ResetModelRequest { model: model.into() }).await.map(tonic::Response::into_inner)
}

// The effective rows of one name that replicas are sent after a revision, by their input price, and how many are gone.
async fn sent(world: &World, after: i64, name: &str) -> (Vec<Option<i64>>, usize) {
    let changes = world.store.changes(after).await.unwrap();
    let rows = changes.models.iter().filter(|model| &*model.name == name);
    (rows.map(|model| model.price.map(|price| price.rates.input.get())).collect(), changes.tombstones.len())
}

async fn the_catalogue_is_there_from_the_start(place: Place) {
    let world = World::start(&place).await;
    let opus = get(&world, OPUS).await.unwrap();
    let price = opus.price.unwrap();
    assert_eq!((price.input, price.output, price.cache_write_1h), (5_000_000_000, 25_000_000_000, 10_000_000_000));
    assert_eq!((opus.origin.as_str(), opus.context_window, opus.max_output), ("catalogue", 1_000_000, 128_000));
    assert!(opus.as_of.unwrap().seconds >= 1_795_392_000);
    assert_eq!(code(get(&world, "anthropic/claude-unheard-of").await), Code::NotFound);
    assert_eq!(violations(get(&world, "claude-opus-4-8").await), ["model"]);
    assert_eq!(world.log("action=catalogue.import").await.len(), 1);
    world.stop().await;

    let world = World::start(&place).await;
    assert_eq!(world.log("action=catalogue.import").await.len(), 1, "a second start imports nothing");
    world.stop().await;
}

async fn a_price_that_is_set_holds_until_it_is_reset(place: Place) {
    let world = World::start(&place).await;
    let catalogue = get(&world, OPUS).await.unwrap();
    let before = world.store.revision().await.unwrap();
    let contract = v1::Price { input: 4_000_000_000, output: 20_000_000_000, ..Default::default() };
    let asked = v1::Model { price: Some(contract), ..catalogue.clone() };
    let model = set(&world, asked.clone()).await.unwrap();
    assert_eq!(
        (model.origin.as_str(), model.price.unwrap().cache_read),
        ("override", 4_000_000_000),
        "a cache is not free"
    );
    assert_eq!(get(&world, OPUS).await.unwrap(), model);
    assert_eq!(sent(&world, before, "claude-opus-4-8").await, (vec![Some(4_000_000_000)], 0));

    let revision = world.store.revision().await.unwrap();
    assert_eq!(set(&world, asked).await.unwrap(), model);
    assert_eq!(world.store.revision().await.unwrap(), revision, "what is set already is not set again");
    let entry = world.log("action=model.update").await.pop().unwrap();
    assert_eq!(entry.target, "model/anthropic/claude-opus-4-8");
    for part in ["\"before\":\"catalogue\"", "\"after\":\"override\"", "5000000000", "4000000000"] {
        assert!(entry.detail.contains(part), "{part} is not in {}", entry.detail);
    }

    let unpriced = set(&world, v1::Model { price: None, ..catalogue.clone() }).await.unwrap();
    assert_eq!(unpriced.price, None);
    assert_eq!(sent(&world, revision, "claude-opus-4-8").await, (vec![None], 0));
    let revision = world.store.revision().await.unwrap();
    reset(&world, OPUS).await.unwrap();
    assert_eq!(get(&world, OPUS).await.unwrap(), catalogue);
    assert_eq!(sent(&world, revision, "claude-opus-4-8").await, (vec![Some(5_000_000_000)], 0));
    assert_eq!(code(reset(&world, OPUS).await), Code::FailedPrecondition);
    assert_eq!(code(reset(&world, "anthropic/none").await), Code::NotFound);
    assert_eq!(world.log("action=model.update").await.len(), 3);
    world.stop().await;
}

async fn a_model_that_the_catalogue_lacks_can_be_added(place: Place) {
    let world = World::start(&place).await;
    let own = v1::Model {
        vendor: "house".into(),
        model: "llama/own-1".into(),
        aliases: vec!["own-*".into()],
        price: Some(v1::Price { input: 1, output: 2, ..Default::default() }),
        ..Default::default()
    };
    let model = set(&world, own).await.unwrap();
    assert_eq!((model.id.as_str(), model.display_name.as_str()), ("house/llama/own-1", "llama/own-1"));
    let revision = world.store.revision().await.unwrap();
    reset(&world, "house/llama/own-1").await.unwrap();
    assert_eq!(sent(&world, revision, "llama/own-1").await, (vec![], 1));
    assert_eq!(code(get(&world, "house/llama/own-1").await), Code::NotFound);
    world.stop().await;
}

async fn every_wrong_field_of_a_model_is_named(place: Place) {
    let world = World::start(&place).await;
    let revision = world.store.revision().await.unwrap();
    assert_eq!(violations(set(&world, v1::Model::default()).await), ["model", "vendor"]);
    let bad = v1::Model {
        vendor: "anthropic".into(),
        model: "claude-*".into(),
        aliases: vec!["a b".into()],
        context_window: -1,
        max_output: i64::MAX,
        price: Some(v1::Price { input: -1, output: i64::MAX, ..Default::default() }),
        ..Default::default()
    };
    let expect = ["aliases", "context_window", "max_output", "model", "price.input", "price.output"];
    assert_eq!(violations(set(&world, bad).await), expect);
    assert_eq!(world.store.revision().await.unwrap(), revision, "nothing was changed");
    world.stop().await;
}

async fn models_are_paged_and_filtered(place: Place) {
    let world = World::start(&place).await;
    let list = async |page_size: i32, page_token: &str, filter: &str| {
        let request = v1::ListModelsRequest { page_size, page_token: page_token.into(), filter: filter.into() };
        models(&world).list_models(request).await.map(tonic::Response::into_inner)
    };
    let (mut ids, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = list(1_000, &token, "").await.unwrap();
        ids.extend(page.models.into_iter().map(|model| (model.vendor, model.model)));
        (token, pages) = (page.next_page_token, pages + 1);
        if token.is_empty() {
            break;
        }
    }
    let count = ids.len();
    ids.dedup();
    assert!(count >= 1_000 && ids.len() == count && pages == count.div_ceil(1_000), "{count} models in {pages} pages");
    let names = async |filter: &str| {
        let models = list(0, "", filter).await?.models;
        Ok::<Vec<String>, tonic::Status>(models.into_iter().map(|model| model.model).collect())
    };
    assert_eq!(names("vendor=anthropic AND model=claude-opus-4-8").await.unwrap(), ["claude-opus-4-8"]);
    let sonnets = names("vendor=anthropic AND model=claude-sonnet-*").await.unwrap();
    assert!(sonnets.len() >= 4 && sonnets.iter().all(|name| name.starts_with("claude-sonnet-")), "{sonnets:?}");
    assert_eq!(names("origin=override").await.unwrap(), Vec::<String>::new());
    for filter in ["origin=else", "price=1", "vendor="] {
        assert_eq!(violations(names(filter).await), ["filter"], "{filter}");
    }
    let token = list(1, "", "vendor=anthropic").await.unwrap().next_page_token;
    assert_eq!(violations(list(1, &token, "vendor=openai").await), ["page_token"]);
    world.stop().await;
}
