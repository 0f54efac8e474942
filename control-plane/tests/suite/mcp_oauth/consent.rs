//! What users permit in their browsers, and what does not count as that.

use reqwest::Response;
use serde_json::json;
use tollgate_proto::admin::v1;

use super::{
    fake::{Gate, Mood},
    pass, server, token,
};
use crate::{
    fleet::Member,
    mcp::made,
    oidc::{Fake, Person, header, location, start, start_beside, user},
    world::{Place, World, over_both},
};

over_both! {
    each_user_connects_and_has_a_token_of_their_own
    what_begins_elsewhere_leads_to_nobodys_grant
    a_renewal_that_fails_for_a_while_ends_nothing_and_one_that_is_refused_does
}

/// Signs a browser in as somebody.
pub(super) async fn signed_in(world: &World, idp: &Fake, name: &str) -> Person {
    let mut person = Person::new(world);
    let begun = location(&person.get("/login?next=/logout").await);
    let mut claims = idp.claims(&begun["nonce"]);
    claims["sub"] = json!(format!("subject-{name}"));
    claims["preferred_username"] = json!(name);
    claims["email"] = json!(format!("{name}@corp.example"));
    idp.give(&idp.sign(&header(), &claims));
    assert_eq!(person.come_back(&begun["state"]).await.status(), 303);
    person
}

async fn form_token(person: &mut Person, path: &str) -> String {
    let page = person.get(path).await.text().await.unwrap();
    page.split("name=\"form_token\" value=\"")
        .nth(1)
        .unwrap_or_else(|| panic!("{page}"))
        .split('"')
        .next()
        .unwrap()
        .to_owned()
}

/// Presses the button of a page.
pub(super) async fn press(person: &mut Person, action: &str) -> Response {
    let form_token = form_token(person, "/mcp/connect/tools").await;
    person.post("/mcp/connect/tools", &[("form_token", &form_token), ("action", action)]).await
}

/// Begins, and returns where the browser is sent.
pub(super) async fn begin(person: &mut Person) -> String {
    let answer = press(person, "connect").await;
    let status = answer.status();
    let refresh = answer.headers().get("refresh").map(|value| value.to_str().unwrap().to_owned());
    let text = answer.text().await.unwrap();
    let url = refresh.unwrap_or_else(|| panic!("{status} {text}")).strip_prefix("0; url=").unwrap().to_owned();
    assert!(text.contains(&format!("href=\"{}\"", url.replace('&', "&amp;"))), "{text}");
    url
}

// The way back, as the authorization server sends it.
fn back(gate: &Gate, url: &str) -> (String, String) {
    let (code, fields) = gate.permit(url);
    let path = reqwest::Url::parse(&fields["redirect_uri"]).unwrap().path().to_owned();
    let iss = crate::oidc::encoded(&gate.url);
    (path, format!("state={}&code={code}&iss={iss}", fields["state"]))
}

/// Connects.
pub(super) async fn connect(person: &mut Person, gate: &Gate) {
    let (path, query) = back(gate, &begin(person).await);
    let answer = person.get(&format!("{path}?{query}")).await;
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().contains("is connected")), (200, true));
}

async fn each_user_connects_and_has_a_token_of_their_own(place: Place) {
    let (idp, gate) = (Fake::start().await, Gate::start().await);
    let world = start(&place, &idp.settings("corp", "")).await;
    let member = Member::join(&world, "first").await;
    let tools = made(&world, server(&gate, "per_user")).await;
    let mut nobody = Person::new(&world);
    let sent = nobody.get("/mcp/connect/tools").await;
    assert_eq!(
        (sent.status().as_u16(), sent.headers()["location"].to_str().unwrap()),
        (303, "/login?next=%2Fmcp%2Fconnect%2Ftools")
    );
    let (mut ada, mut bob) = (signed_in(&world, &idp, "ada").await, signed_in(&world, &idp, "bob").await);
    let (ada_id, bob_id) = (user(&world, "ada").await.id, user(&world, "bob").await.id);
    let none = token(&member, &tools.id, &ada_id, "").await.unwrap_err();
    assert_eq!((none.consent, none.connect_url), (true, format!("http://{}/mcp/connect/tools", world.http)));
    let page = ada.get("/mcp/connect/tools").await.text().await.unwrap();
    for text in ["You are ada.", "It is not connected.", "<code>read</code>", "<code>write</code>", "value=\"connect\""]
    {
        assert!(page.contains(text), "{text} in {page}");
    }
    assert!(!page.contains("value=\"disconnect\""), "{page}");

    connect(&mut ada, &gate).await;
    let (of_ada, _) = token(&member, &tools.id, &ada_id, "").await.unwrap();
    assert!(token(&member, &tools.id, &bob_id, "").await.unwrap_err().consent);
    connect(&mut bob, &gate).await;
    let (of_bob, _) = token(&member, &tools.id, &bob_id, "").await.unwrap();
    assert_ne!(of_ada, of_bob);
    assert!(
        ada.get("/mcp/connect/tools")
            .await
            .text()
            .await
            .unwrap()
            .contains("It is connected, for: <code>read write</code>.")
    );
    // Tollgate registered once, as a public client, at a place of its own for this server.
    let registered = gate.shared.registered.lock().unwrap().clone();
    assert_eq!(registered.len(), 1);
    let place_of_server = format!("http://{}/mcp/callback/{}", world.http, tools.id);
    assert_eq!(
        (&registered[0]["token_endpoint_auth_method"], &registered[0]["redirect_uris"]),
        (&json!("none"), &json!([place_of_server]))
    );

    // It is renewed when little is left of it; what was rotated is used from then on.
    gate.live(30);
    pass(&world).await;
    let (second, _) = token(&member, &tools.id, &ada_id, &of_ada).await.unwrap();
    let (third, _) = token(&member, &tools.id, &ada_id, "").await.unwrap();
    assert!(second != of_ada && third != second);
    // Two control planes renew it once, or the rotation would have ended it.
    gate.live(3_600);
    let other = start_beside(&place, &idp.settings("corp", "")).await;
    let elsewhere = Member::join_at(&other, &world, "second").await;
    let before = gate.asked().len();
    let asks = (0..8).map(|at| token(if at % 2 == 0 { &member } else { &elsewhere }, &tools.id, &ada_id, ""));
    let got = futures_util::future::join_all(asks).await;
    assert!(got.iter().all(|one| one.is_ok() && *one == got[0]), "{got:?}");
    assert_eq!(gate.asked().len(), before + 1);
    assert_eq!(token(&member, &tools.id, &bob_id, "").await.map(|got| got.0), Ok(of_bob));

    let dump = String::from_utf8_lossy(&place.dump().await).into_owned();
    for canary in ["access-canary", "refresh-canary", "code-canary"] {
        assert!(!dump.contains(canary), "{canary} is in the database");
    }
    let connects = world.log("action=mcp-grant.connect").await;
    assert_eq!((connects.len(), connects[0].initiator.as_str()), (2, format!("user/{ada_id}").as_str()));
    assert_eq!(world.log("action=mcp-client.register").await.len(), 1);
    other.stop().await;
    world.stop().await;
    idp.stop();
    gate.stop();
}

async fn what_begins_elsewhere_leads_to_nobodys_grant(place: Place) {
    let (idp, gate) = (Fake::start().await, Gate::start().await);
    let world = start(&place, &idp.settings("corp", "")).await;
    let member = Member::join(&world, "first").await;
    let tools = made(&world, server(&gate, "per_user")).await;
    let (mut ada, mut eve) = (signed_in(&world, &idp, "ada").await, signed_in(&world, &idp, "eve").await);
    let ids = [user(&world, "ada").await.id, user(&world, "eve").await.id];
    // What one user began counts in no browser of another, in none where nobody is signed in, and in no other one of their own.
    let mut again = signed_in(&world, &idp, "ada").await;
    for other in [&mut eve, &mut Person::new(&world), &mut again] {
        let (path, query) = back(&gate, &begin(&mut ada).await);
        assert_eq!(other.get(&format!("{path}?{query}")).await.status(), 403);
        // Nor in the right one afterwards: it was taken.
        assert_eq!(ada.get(&format!("{path}?{query}")).await.status(), 403);
    }
    // An answer of another authorization server, of none where each says who it is, at another place, and without a permission.
    let evil = crate::oidc::encoded("https://evil.example");
    let own = crate::oidc::encoded(&gate.url);
    for change in 0..5 {
        let (path, query) = back(&gate, &begin(&mut ada).await);
        let changed = match change {
            0 => format!("{path}?{}", query.replace(&own, &evil)),
            1 => format!("{path}?{}", query.split("&iss=").next().unwrap()),
            2 => format!("/mcp/callback?{query}"),
            3 => format!("{path}x?{query}"),
            _ => format!("{path}?{}", query.replace("code=", "error=access_denied&x=")),
        };
        let answer = ada.get(&changed).await;
        assert_eq!(answer.status(), 403, "{}", answer.text().await.unwrap());
    }
    // A code that the authorization server does not know.
    let (path, query) = back(&gate, &begin(&mut ada).await);
    assert_eq!(ada.get(&format!("{path}?{}", query.replace("code-canary", "code-x"))).await.status(), 502);
    assert_eq!(gate.asked().len(), 1);
    // The form of another page, and of another user.
    let (mine, other) =
        (form_token(&mut ada, "/mcp/connect/tools").await, form_token(&mut eve, "/mcp/connect/tools").await);
    let fields =
        |token: &str| [("form_token".to_owned(), token.to_owned()), ("action".to_owned(), "connect".to_owned())];
    for (token, origin) in [(other.as_str(), ""), (mine.as_str(), "https://evil.example")] {
        let fields = fields(token);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let origin = if origin.is_empty() { format!("http://{}", world.http) } else { origin.to_owned() };
        assert_eq!(ada.post_from("/mcp/connect/tools", &fields, &origin).await.status(), 403);
    }
    for id in &ids {
        assert!(token(&member, &tools.id, id, "").await.unwrap_err().consent);
    }
    assert!(world.log("action=mcp-grant.connect").await.is_empty());
    assert!(world.log("action=session.refuse").await.len() >= 10);
    // What is not for a user is not there, like what does not exist.
    world.customer("acme").await;
    let platform = world.team("platform", "acme").await;
    let only = v1::McpServer { id: tools.id.clone(), teams: vec![platform.id.clone()], ..Default::default() };
    crate::mcp::update(&world, only, &["teams"]).await.unwrap();
    for name in ["tools", "nothing", "No"] {
        assert_eq!(ada.get(&format!("/mcp/connect/{name}")).await.status(), 404, "{name}");
    }
    let key = v1::Key { name: "k".into(), team: "platform".into(), user: ids[0].clone(), ..Default::default() };
    world.key(key).await.unwrap();
    assert_eq!(ada.get("/mcp/connect/tools").await.status(), 200);
    assert_eq!(eve.get("/mcp/connect/tools").await.status(), 404);
    // An authorization server that does not bind codes is sent nobody.
    *gate.shared.metadata.lock().unwrap() = json!({"code_challenge_methods_supported": ["plain"]});
    let moved = v1::McpServer { id: tools.id.clone(), url: format!("{}/mcp?x=1", gate.url), ..Default::default() };
    crate::mcp::update(&world, moved, &["url"]).await.unwrap();
    assert!(ada.get("/mcp/connect/tools").await.text().await.unwrap().contains("does not bind codes by S256"));
    assert_eq!(press(&mut ada, "connect").await.status(), 502);
    world.stop().await;
    idp.stop();
    gate.stop();
}

async fn a_renewal_that_fails_for_a_while_ends_nothing_and_one_that_is_refused_does(place: Place) {
    let (idp, gate) = (Fake::start().await, Gate::start().await);
    let world = start(&place, &idp.settings("corp", "")).await;
    let member = Member::join(&world, "first").await;
    let tools = made(&world, server(&gate, "per_user")).await;
    let mut ada = signed_in(&world, &idp, "ada").await;
    let id = user(&world, "ada").await.id;
    gate.live(30);
    connect(&mut ada, &gate).await;
    for mood in [Mood::Down, Mood::Refusing("temporarily_unavailable"), Mood::Refusing("invalid_request")] {
        gate.set(mood);
        let none = token(&member, &tools.id, &id, "").await.unwrap_err();
        assert!(!none.consent, "{mood:?} {none:?}");
        pass(&world).await;
    }
    gate.set(Mood::Honest);
    token(&member, &tools.id, &id, "").await.unwrap();
    assert!(world.log("action=mcp-grant.break").await.is_empty());
    gate.set(Mood::Refusing("invalid_grant"));
    for _ in 0..2 {
        let none = token(&member, &tools.id, &id, "").await.unwrap_err();
        assert!(none.consent && none.reason.contains("invalid_grant") && !none.connect_url.is_empty(), "{none:?}");
    }
    assert_eq!(world.log("action=mcp-grant.break").await.len(), 1);
    assert!(ada.get("/mcp/connect/tools").await.text().await.unwrap().contains("Its connection has ended"));
    gate.set(Mood::Honest);
    connect(&mut ada, &gate).await;
    token(&member, &tools.id, &id, "").await.unwrap();
    // A client that the authorization server has forgotten registers again.
    gate.set(Mood::Refusing("invalid_client"));
    assert!(token(&member, &tools.id, &id, "").await.unwrap_err().consent);
    gate.set(Mood::Honest);
    connect(&mut ada, &gate).await;
    assert_eq!(gate.shared.registered.lock().unwrap().len(), 2);
    token(&member, &tools.id, &id, "").await.unwrap();
    world.stop().await;
    idp.stop();
    gate.stop();
}
