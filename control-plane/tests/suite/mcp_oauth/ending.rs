//! Tokens are taken back: by their user, an administrator, and with the user or the server.

use tollgate_proto::admin::v1::{self, mcp_service_client::McpServiceClient};
use tonic::Code;

use super::{
    consent::{connect, press, signed_in},
    fake::Gate,
    server, token,
};
use crate::{
    fleet::Member,
    mcp::{delete, made, told},
    oidc::{Fake, start, user},
    roles::As,
    world::{Place, World, code, mask, over_both},
};

over_both! {
    what_ends_a_grant_takes_its_tokens_back_everywhere
}

async fn grants(world: &World, filter: &str) -> Vec<v1::McpGrant> {
    let request = v1::ListMcpGrantsRequest { filter: filter.into(), ..Default::default() };
    world.mcp().list_mcp_grants(request).await.unwrap().into_inner().mcp_grants
}

async fn what_ends_a_grant_takes_its_tokens_back_everywhere(place: Place) {
    let (idp, gate) = (Fake::start().await, Gate::start().await);
    let world = start(&place, &idp.settings("corp", "")).await;
    let member = Member::join(&world, "first").await;
    let mut follower = member.follow().await;
    let tools = made(&world, server(&gate, "per_user")).await;
    let mut ada = signed_in(&world, &idp, "ada").await;
    let id = user(&world, "ada").await.id;
    let mut seen = 0;
    for way in ["page", "call", "url", "disable"] {
        connect(&mut ada, &gate).await;
        let (access, _) = token(&member, &tools.id, &id, "").await.unwrap();
        let listed = grants(&world, "user=ada AND server=tools").await;
        assert_eq!((listed.len(), listed[0].state.as_str(), listed[0].user.as_str()), (1, "good", id.as_str()));
        assert!(listed[0].renewable && listed[0].scopes == ["read", "write"], "{listed:?}");
        match way {
            "page" => assert_eq!(press(&mut ada, "disconnect").await.status(), 303),
            "call" => {
                let request = v1::RevokeMcpGrantRequest {
                    mcp_server: "tools".into(),
                    user: "ada".into(),
                    reason: "left the project".into(),
                };
                // Whoever holds nothing learns of nothing, and what is not there can be ended again.
                let nobody = As::token(&world, &crate::matrix::session(&world, &world.user("nobody").await.id).await.1);
                let mut theirs = McpServiceClient::new(nobody.service());
                assert_eq!(code(theirs.revoke_mcp_grant(request.clone()).await), Code::PermissionDenied);
                world.mcp().revoke_mcp_grant(request.clone()).await.unwrap();
                world.mcp().revoke_mcp_grant(request).await.unwrap();
            }
            "url" => {
                let url = tools.url.replace("127.0.0.1", "localhost");
                let moved = v1::McpServer { id: tools.id.clone(), url, ..Default::default() };
                crate::mcp::update(&world, moved, &["url"]).await.unwrap();
                let back = v1::McpServer { id: tools.id.clone(), url: tools.url.clone(), ..Default::default() };
                crate::mcp::update(&world, back, &["url"]).await.unwrap();
            }
            _ => {
                let disabled = v1::User { id: id.clone(), disabled: true, ..Default::default() };
                let request = v1::UpdateUserRequest { user: Some(disabled), update_mask: mask(&["disabled"]) };
                world.users().update_user(request).await.unwrap();
            }
        }
        let none = token(&member, &tools.id, &id, "").await.unwrap_err();
        assert_eq!(none.consent, way != "disable", "{way} {none:?}");
        assert!(grants(&world, "").await.is_empty(), "{way}");
        let published = told(&world, &mut follower).await["tools"].grants;
        assert!(published > seen, "{way}: {published} after {seen}");
        seen = published;
        gate.revoked(&access).await;
    }
    assert_eq!(world.log("action=mcp-grant.disconnect").await.len(), 2);
    // A user who is deleted, and a server.
    let mut bob = signed_in(&world, &idp, "bob").await;
    let bob_id = user(&world, "bob").await.id;
    connect(&mut bob, &gate).await;
    let (access, _) = token(&member, &tools.id, &bob_id, "").await.unwrap();
    world.users().delete_user(v1::DeleteUserRequest { user: bob_id.clone(), etag: String::new() }).await.unwrap();
    gate.revoked(&access).await;
    assert!(token(&member, &tools.id, &bob_id, "").await.unwrap_err().reason.contains("not known"));
    let mut eve = signed_in(&world, &idp, "eve").await;
    connect(&mut eve, &gate).await;
    let (access, _) = token(&member, &tools.id, &user(&world, "eve").await.id, "").await.unwrap();
    delete(&world, "tools", "").await.unwrap();
    gate.revoked(&access).await;
    let mut txn = world.store.begin_read().await.unwrap();
    for purpose in ["mcp-grant", "mcp-client"] {
        assert!(txn.secret_list(purpose).await.unwrap().is_empty(), "{purpose}");
    }
    txn.end().await.unwrap();
    world.stop().await;
    idp.stop();
    gate.stop();
}
