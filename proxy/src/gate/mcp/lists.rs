//! What is offered to a caller: of what servers were found to have, what policy admits, under names that say which server has it. No server is asked
//! while somebody waits.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash as _, Hasher as _},
};

use http::Response;
use tollgate_mcp::{
    Definition, Kind, Method, Request,
    failure::{self, code},
    list::{Caching, Offer, page},
};
use tollgate_policy::{mcp::Offer as Offered, refusal::RefusalKind};

use super::{Body, Reached, Speech, View, Visit};

/// Lists what there is.
pub(super) fn list(visit: Visit<'_>, speech: &Speech, method: &Method<'_>, request: &Request<'_>) -> Response<Body> {
    let revision = speech.revision();
    // A list has one page, so that no cursor is ever given.
    if request.params.get("cursor").is_some_and(|cursor| cursor.get() != "null") {
        let sentence = "This cursor was not given here: lists of Tollgate have one page.";
        let error = failure::error(code::INVALID_PARAMS, sentence, None);
        return visit.refuse_with(&request.id, revision, RefusalKind::Malformed, &error, sentence);
    }
    let kind = match method {
        Method::ListPrompts => Kind::Prompt,
        Method::ListResources => Kind::Resource,
        Method::ListTemplates => Kind::Template,
        _ => Kind::Tool,
    };
    let reached = visit.view.reached();
    let is_joined = visit.view.only.is_none();
    let known: Vec<_> = reached.iter().filter_map(|reached| Some((reached, reached.server.catalogue()?))).collect();
    let offers = known.iter().flat_map(|(reached, catalogue)| {
        let admitted = catalogue.list(kind).iter().filter(|definition| visit.view.offers(reached, kind, definition));
        admitted.map(|definition| Offer { server: is_joined.then_some(&reached.server.name), definition })
    });
    let connect: Vec<_> =
        reached.iter().filter(|_| kind == Kind::Tool).filter_map(|one| Some((one, one.connect_tool()?))).collect();
    let signing_in = connect
        .iter()
        .map(|(reached, definition)| Offer { server: is_joined.then_some(&reached.server.name), definition });
    let page = page(kind, revision, offers.chain(signing_in), None, Caching::NONE);
    for omitted in &page.omitted {
        tracing::debug!(server = omitted.server.as_str(), name = omitted.name, why = %omitted.why, "not offered");
    }
    visit.result(&request.id, &page.result)
}

impl View {
    /// Whether the caller may see, and so use, what a server has.
    pub(super) fn offers(&self, reached: &Reached, kind: Kind, definition: &Definition) -> bool {
        let Reached { policy, server: _ } = reached;
        let access = &self.caller.key().tools;
        let admits = |offer| policy.admits(offer, definition.name(), access);
        match kind {
            Kind::Tool => admits(Offered::Tool) && policy.approves(definition.name(), definition.pin().as_bytes()),
            Kind::Prompt => admits(Offered::Prompt),
            Kind::Resource | Kind::Template => admits(Offered::Resource),
        }
    }

    /// Tells lists apart: the same as long as the caller sees the same.
    pub(super) fn seen(&self, kinds: &[Kind]) -> u64 {
        let mut hasher = DefaultHasher::new();
        for reached in self.reached() {
            let Some(catalogue) = reached.server.catalogue() else { continue };
            reached.policy.name.hash(&mut hasher);
            let all =
                kinds.iter().flat_map(|kind| catalogue.list(*kind).iter().map(move |definition| (kind, definition)));
            for (kind, definition) in all.filter(|(kind, definition)| self.offers(&reached, **kind, definition)) {
                (kind, definition.pin().as_bytes()).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}
