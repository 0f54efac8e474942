//! Room 4: whether the caller may have it, and from where. From here on a change of policy reaches the visit.

use std::sync::Arc;

use tollgate_dialect::Weight;
use tollgate_policy::{
    decide::{self, Caller, Granted as Grant},
    refusal::{Refusal, RefusalKind},
};

use super::{
    Gate,
    parse::{Ask, Outgoing},
    route::Operation,
    ticket::{Ticket, Verdict},
};
use crate::{clock, current::Current, upstream::speech, visits::Registration};

/// A visit that policy admits.
pub(super) struct Granted {
    pub(super) ticket: Box<Ticket>,
    pub(super) current: Arc<Current>,
    pub(super) registration: Registration,
    pub(super) caller: Caller,
    pub(super) grant: Grant,
    pub(super) request: Outgoing,
    pub(super) weight: Weight,
}

/// Registers the visit, then decides by the policy that holds now: a change that came while the body was read decides, and
/// one that comes later finds the registration.
pub(super) fn authorize(gate: &Gate, ask: Ask) -> Verdict<Granted> {
    let Ask { mut ticket, current, caller, request, weight } = ask;
    let registration = gate.holder.visits().register(caller.clone());
    let newest = gate.holder.load().unwrap_or_else(|| Arc::clone(&current));
    let decided = decide(
        &current,
        &newest,
        caller,
        &decide::Ask { dialect: speech::policy(request.dialect, ticket.operation.envelope()), model: &ticket.model },
    );
    let decided = decided.and_then(|(caller, grant)| {
        if ticket.operation == Operation::Embeddings && !ticket.operation.is_asked_of(&grant) {
            return Err(no_embeddings(&caller, &ticket.model));
        }
        Ok((caller, grant))
    });
    ticket.revision = newest.snapshot.revision();
    match decided {
        Ok((caller, grant)) => Ok(Granted { ticket, current: newest, registration, caller, grant, request, weight }),
        Err(refusal) => Err(ticket.refuse(refusal)),
    }
}

fn decide(
    pinned: &Arc<Current>,
    newest: &Arc<Current>,
    caller: Caller,
    ask: &decide::Ask<'_>,
) -> Result<(Caller, Grant), Refusal> {
    // The key as the newest policy has it.
    let caller =
        if Arc::ptr_eq(pinned, newest) { caller } else { decide::readmit(&newest.snapshot, clock::wall(), &caller)? };
    let grant = decide::authorize(&newest.snapshot, &caller, ask)?;
    Ok((caller, grant))
}

fn no_embeddings(caller: &Caller, model: &str) -> Refusal {
    Refusal::new(
        RefusalKind::NoProvider,
        format!(
            "No provider that the Tollgate key \"{}\" may use gives embeddings of the model \"{model}\": only those do that speak \
             openai_chat or openai_responses. Choose another model, or ask your platform team for such a provider.",
            caller.key().name,
        ),
    )
}
