//! Tokens of others for servers of tools: got, renewed once, given to replicas, and taken back. [`consent`] has what users permit.

#[path = "mcp_oauth/fake.rs"]
mod fake;
#[path = "mcp_oauth/consent.rs"]
mod consent;
#[path = "mcp_oauth/ending.rs"]
mod ending;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tollgate_control_plane::store::Statement;
use tollgate_policy::credential::Presented;
use tollgate_proto::{
    admin::v1,
    fleet::v1::{GetTokenRequest, NoToken, fleet_service_client::FleetServiceClient, get_token_response::Outcome},
};
use tonic::Code;

use self::fake::{Gate, Mood};
use crate::{
    fleet::{Member, stranger},
    mcp::{made, texts},
    world::{Place, World, code, over_both},
};

over_both! {
    a_token_of_the_control_planes_own_is_got_once_and_kept
    whoever_is_no_replica_gets_no_token
    a_user_is_vouched_for_in_an_exchange_and_nowhere_else
    nobody_connects_where_nobody_signs_in
    an_authorization_server_that_cannot_be_relied_on_gets_nothing
}

/// A server of tools at this gate.
pub(crate) fn server(gate: &Gate, auth: &str) -> v1::McpServer {
    v1::McpServer {
        name: "tools".into(),
        url: format!("{}/mcp", gate.url),
        allow_private: true,
        auth: auth.into(),
        ..Default::default()
    }
}

fn with_client(gate: &Gate, auth: &str) -> v1::McpServer {
    let oauth = v1::McpOAuth {
        client_id: "tollgate one".into(),
        scopes: texts(&["read"]),
        authorization_server: gate.url.clone(),
        resource: String::new(),
    };
    v1::McpServer { secret: "client-secret-canary".into(), oauth: Some(oauth), ..server(gate, auth) }
}

/// What a replica gets: the token and how often tokens had been taken back, or why there is none.
pub(crate) async fn token(member: &Member, server: &str, user: &str, rejected: &str) -> Result<(String, u64), NoToken> {
    let rejected = if rejected.is_empty() { Vec::new() } else { Sha256::digest(rejected).to_vec() };
    let request = GetTokenRequest { server: server.into(), user: user.into(), rejected: rejected.into() };
    match member.client().get_token(request).await.unwrap().into_inner().outcome.unwrap() {
        Outcome::Token(token) => {
            assert!((1..=3_600_000).contains(&token.left_ms), "{}", token.left_ms);
            Ok((token.token, token.grants))
        }
        Outcome::None(none) => Err(none),
    }
}

/// A minute goes by for every grant.
pub(crate) async fn pass(world: &World) {
    let mut txn = world.store.begin().await.unwrap();
    let update = "UPDATE mcp_grants SET refresh_time = refresh_time - 60000, claim_time = 0";
    txn.execute(Statement::new(update)).await.unwrap();
    txn.commit().await.unwrap();
}

async fn a_token_of_the_control_planes_own_is_got_once_and_kept(place: Place) {
    let gate = Gate::start().await;
    let (one, two) = (World::start(&place).await, World::start_in(&place, "other").await);
    let tools = made(&one, with_client(&gate, "client_credentials")).await;
    let (first, second) = (Member::join(&one, "first").await, Member::join_at(&two, &one, "second").await);
    // Of replicas that ask at a time, at two control planes, all get the one that was asked for once.
    gate.set(Mood::Slow);
    let asks = (0..6).map(|at| token(if at % 2 == 0 { &first } else { &second }, &tools.id, "", ""));
    let asks = futures_util::future::join_all(asks);
    let gone_on = async {
        while gate.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        gate.set(Mood::Honest);
        gate.shared.go_on.notify_one();
    };
    let (got, ()) = tokio::join!(asks, gone_on);
    let access = got[0].clone().unwrap();
    assert!(access.0.starts_with("access-canary-") && got.iter().all(|one| *one == Ok(access.clone())), "{got:?}");
    let asked = gate.asked();
    assert_eq!(asked.len(), 1);
    let basic = "Basic dG9sbGdhdGUlMjBvbmU6Y2xpZW50LXNlY3JldC1jYW5hcnk=";
    let resource = format!("{}/mcp", gate.url);
    let expect = [
        ("authorization", basic),
        ("grant_type", "client_credentials"),
        ("resource", resource.as_str()),
        ("scope", "read"),
    ];
    assert_eq!(asked[0], expect.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

    // One that is turned away is replaced, once; one that was just got is not.
    let none = token(&first, &tools.id, "", &access.0).await.unwrap_err();
    assert!(!none.consent && none.reason.contains("turns away"), "{none:?}");
    pass(&one).await;
    let fresh = token(&first, &tools.id, "", &access.0).await.unwrap();
    assert_ne!(fresh.0, access.0);
    assert_eq!(token(&second, &tools.id, "", &access.0).await, Ok(fresh.clone()));
    assert_eq!(gate.asked().len(), 2);

    // An authorization server that is away ends nothing, and says nothing secret.
    pass(&one).await;
    for (mood, reason) in [
        (Mood::Down, "got no token: the authorization server does not answer: status 503"),
        (
            Mood::Refusing("invalid_grant"),
            "got no token: the authorization server refuses: invalid_grant (because [31mI say so)",
        ),
    ] {
        gate.set(mood);
        let none = token(&first, &tools.id, "", &fresh.0).await.unwrap_err();
        assert_eq!(none, NoToken { reason: format!("the server of tools tools: {reason}"), ..NoToken::default() });
        pass(&one).await;
    }
    gate.set(Mood::Honest);
    assert_eq!(token(&first, &tools.id, "", "").await, Ok(fresh.clone()));

    // No secret lies about, and another secret has another token got.
    let dump = String::from_utf8_lossy(&place.dump().await).into_owned();
    for canary in ["client-secret-canary", access.0.as_str(), fresh.0.as_str()] {
        assert!(!dump.contains(canary), "{canary} is in the database");
    }
    let other = v1::McpServer { id: tools.id.clone(), secret: "another".into(), ..Default::default() };
    crate::mcp::update(&one, other, &["secret"]).await.unwrap();
    let (anew, grants) = token(&first, &tools.id, "", "").await.unwrap();
    assert_eq!((anew != fresh.0, grants), (true, fresh.1 + 1));
    let off = v1::McpServer { id: tools.id.clone(), disabled: true, ..Default::default() };
    crate::mcp::update(&one, off, &["disabled"]).await.unwrap();
    assert_eq!(token(&first, &tools.id, "", "").await.unwrap_err().reason, "the server of tools is disabled");
    for unknown in ["", "mcp-server-01k0000000000000000000000a", "tools'"] {
        assert!(token(&first, unknown, "", "").await.unwrap_err().reason.contains("is not known"), "{unknown}");
    }
    one.stop().await;
    two.stop().await;
    gate.stop();
}

async fn whoever_is_no_replica_gets_no_token(place: Place) {
    let world = World::start(&place).await;
    let mut client = FleetServiceClient::new(stranger(&world).await);
    assert_eq!(code(client.get_token(GetTokenRequest::default()).await), Code::Unauthenticated);
    world.stop().await;
}

async fn a_user_is_vouched_for_in_an_exchange_and_nowhere_else(place: Place) {
    let gate = Gate::start().await;
    let world = World::start(&place).await;
    let member = Member::join(&world, "first").await;
    let user = v1::User { name: "ada".into(), email: "ada@corp.example".into(), ..Default::default() };
    let request = v1::CreateUserRequest { user: Some(user) };
    let ada = world.users().create_user(request).await.unwrap().into_inner();
    let tools = made(&world, with_client(&gate, "token_exchange")).await;
    let got = token(&member, &tools.id, &ada.id, "").await.unwrap();
    assert_eq!(token(&member, &tools.id, &ada.id, "").await, Ok(got));
    let none = token(&member, &tools.id, "", "").await.unwrap_err();
    assert!(!none.consent && none.reason.contains("key of your own"), "{none:?}");
    let asked = gate.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["subject_token_type"], "urn:ietf:params:oauth:token-type:jwt");
    // The authorization server knows it by the key that is published, and no replica takes it for a credential.
    let parts: Vec<&str> = asked[0]["subject_token"].split('.').collect();
    let read = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (header, claims) = (read(parts[0]), read(parts[1]));
    let keys = reqwest::get(format!("http://{}/.well-known/jwks.json", world.http)).await.unwrap();
    let keys: Value = serde_json::from_slice(&keys.bytes().await.unwrap()).unwrap();
    let key = &keys["keys"][0];
    assert_eq!((&header["kid"], &header["typ"], &key["crv"]), (&key["kid"], &json!("JWT"), &json!("Ed25519")));
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap();
    let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    let covered = format!("{}.{}", parts[0], parts[1]);
    UnparsedPublicKey::new(&ED25519, public).verify(covered.as_bytes(), &signature).unwrap();
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!(ada.id), &json!(gate.url)));
    assert_eq!(
        (&claims["iss"], &claims["email"]),
        (&json!(format!("http://{}", world.http)), &json!("ada@corp.example"))
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    let as_credential = Presented::parse(&format!("tgt_{}", asked[0]["subject_token"]));
    if let Ok(presented) = as_credential {
        let mut txn = world.store.begin_read().await.unwrap();
        let keys = txn.token_key_list().await.unwrap();
        let keys: Vec<_> = keys.into_iter().map(|made| std::sync::Arc::new(made.key)).collect();
        assert!(presented.verify(&keys).is_err());
    }
    world.stop().await;
    gate.stop();
}

async fn nobody_connects_where_nobody_signs_in(place: Place) {
    let world = World::start(&place).await;
    let member = Member::join(&world, "first").await;
    let tools = made(&world, v1::McpServer { auth: "per_user".into(), ..crate::mcp::server("tools") }).await;
    let none = token(&member, &tools.id, &world.user("ada").await.id, "").await.unwrap_err();
    assert!(!none.consent && none.connect_url.is_empty() && none.reason.contains("oidc_config"), "{none:?}");
    world.stop().await;
}

async fn an_authorization_server_that_cannot_be_relied_on_gets_nothing(place: Place) {
    let gate = Gate::start().await;
    let world = World::start(&place).await;
    let member = Member::join(&world, "first").await;
    // A secret goes to nobody whom the server of tools alone names.
    let found = v1::McpOAuth { client_id: "tollgate".into(), ..Default::default() };
    let named = |name: &str, oauth: v1::McpOAuth, path: &str| v1::McpServer {
        name: name.into(),
        url: format!("{}{path}", gate.url),
        oauth: Some(oauth),
        ..with_client(&gate, "client_credentials")
    };
    let tools = made(&world, named("found", found, "/mcp")).await;
    let none = token(&member, &tools.id, "", "").await.unwrap_err();
    assert!(none.reason.contains("set authorization_server"), "{none:?}");
    // Each with a path of its own, since what was found is remembered.
    let own =
        || v1::McpOAuth { client_id: "tollgate".into(), authorization_server: gate.url.clone(), ..Default::default() };
    for (at, (lies, sentence)) in [
        (json!({"issuer": "https://other.example"}), "names another issuer"),
        (json!({"token_endpoint": "ftp://127.0.0.1/token"}), "names an endpoint that is not https"),
        (json!({"token_endpoint": null}), "has no token endpoint"),
        (json!({"token_endpoint": 7}), "is not the JSON document"),
    ]
    .into_iter()
    .enumerate()
    {
        *gate.shared.metadata.lock().unwrap() = lies;
        let tools = made(&world, named(&format!("bad-{at}"), own(), &format!("/mcp/{at}"))).await;
        let none = token(&member, &tools.id, "", "").await.unwrap_err();
        assert!(!none.consent && none.reason.contains(sentence), "{none:?}");
    }
    assert!(gate.asked().is_empty());
    // A private address is not asked unless that is permitted.
    let public = v1::McpServer {
        allow_private: false,
        url: "https://tools.example/mcp".into(),
        oauth: Some(v1::McpOAuth { authorization_server: "https://localhost.example".into(), ..own() }),
        ..with_client(&gate, "client_credentials")
    };
    let inside = v1::McpOAuth { authorization_server: gate.url.clone(), ..own() };
    let refused = v1::McpServer { oauth: Some(inside), ..public };
    assert_eq!(crate::world::violations(crate::mcp::create(&world, refused).await), ["oauth.authorization_server"]);
    world.stop().await;
    gate.stop();
}
