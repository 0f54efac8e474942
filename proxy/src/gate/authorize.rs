//! Room 4: whether the caller may have it, and from where. From here on a change of policy reaches the visit.

use std::{fmt, sync::Arc};

use tollgate_dialect::Weight;
use tollgate_policy::{
    budget::Enforcement,
    decide::{self, Caller, Granted as Grant},
    refusal::{Refusal, RefusalKind},
    rule::{Facts, Request, Who},
    snapshot::Snapshot,
    usage::Attribution,
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
    let Ask { mut ticket, current: pinned, caller, request, weight } = ask;
    let registration = gate.holder.visits().register(caller.clone());
    let current = gate.holder.load().unwrap_or_else(|| Arc::clone(&pinned));
    ticket.revision = current.snapshot.revision();
    // The key as the newest policy has it.
    let caller = if Arc::ptr_eq(&pinned, &current) {
        caller
    } else {
        match decide::readmit(&current.snapshot, clock::wall(), &caller) {
            Ok(caller) => caller,
            Err(refusal) => return Err(ticket.refuse(refusal)),
        }
    };
    let asked = Asked { gate, ticket: &ticket, current: &current, caller: &caller, request: &request, weight: &weight };
    let decided = decide::authorize(
        &current.snapshot,
        &caller,
        &decide::Ask {
            dialect: speech::policy(request.dialect, ticket.operation.envelope()),
            model: &ticket.model,
            region: &gate.region,
            facts: &asked,
        },
    );
    let grant = match decided {
        Ok(grant) => grant,
        Err(refusal) => return Err(ticket.refuse(refusal)),
    };
    if ticket.operation == Operation::Embeddings && !ticket.operation.is_asked_of(&grant) {
        let refusal = no_embeddings(&caller, &ticket.model);
        return Err(ticket.refuse(refusal));
    }
    if let Some((deadline, route)) = grant.route().and_then(|route| Some((route.deadline?, &route.name))) {
        let arrived = ticket.times.arrived;
        if let Some(at) = arrived.checked_add(deadline) {
            let seconds = deadline.as_secs();
            registration.end_at(at, overdue(route, seconds));
        }
    }
    Ok(Granted { ticket, current, registration, caller, grant, request, weight })
}

fn overdue(route: &str, seconds: u64) -> Refusal {
    Refusal::new(
        RefusalKind::UpstreamTimeout,
        format!("The answer took longer than the route \"{route}\" allows: {seconds} s. Ask for less at a time."),
    )
}

// What the rules of routes are about.
struct Asked<'a> {
    gate: &'a Gate,
    ticket: &'a Ticket,
    current: &'a Current,
    caller: &'a Caller,
    request: &'a Outgoing,
    weight: &'a Weight,
}

impl Facts for Asked<'_> {
    fn request(&self) -> Request {
        Request {
            model: Arc::clone(&self.ticket.model),
            dialect: speech::policy(self.request.dialect, self.ticket.operation.envelope()).word(),
            operation: self.ticket.operation.word(),
            stream: self.ticket.streamed,
            max_tokens: self.weight.output_tokens.unwrap_or_default(),
            bytes: self.weight.text_bytes,
            images: self.weight.images,
        }
    }

    fn caller(&self) -> Who {
        who(&self.current.snapshot, self.caller, self.ticket.attribution.as_ref())
    }

    // The credentials were lifted off them. A header that is no text is not there; of one that was sent twice the first counts.
    fn headers(&self) -> Vec<(String, String)> {
        let headers = &self.request.headers;
        let texts = headers.keys().filter_map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        texts.collect()
    }

    // As this replica last heard: what it has not borrowed of yet, it knows nothing of.
    fn budget_used(&self) -> f64 {
        let quotas = decide::quotas(&self.current.snapshot, self.caller);
        let budgets = quotas.iter().flat_map(|owner| &owner.quota.budgets);
        let hard = budgets.filter(|budget| budget.enforcement == Enforcement::Hard);
        let used = hard.filter_map(|budget| {
            let known = self.gate.funds.known(&budget.id)?;
            Some(known.settled.part_of(known.limit))
        });
        used.fold(0.0, f64::max)
    }

    fn region(&self) -> Arc<str> {
        Arc::clone(&self.gate.region)
    }

    fn now_ms(&self) -> i64 {
        clock::wall().get()
    }
}

impl fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("model", &self.ticket.model).finish_non_exhaustive()
    }
}

/// Who asks, as rules have it.
pub(super) fn who(snapshot: &Snapshot, caller: &Caller, attribution: Option<&Attribution>) -> Who {
    let key = caller.key();
    let team = snapshot.team(&key.team);
    let customer = team.and_then(|team| snapshot.customer(&team.customer));
    let user = key.user.as_ref().and_then(|user| snapshot.user(user));
    Who {
        key: Arc::clone(&key.name),
        team: team.map(|team| Arc::clone(&team.name)).unwrap_or_default(),
        customer: customer.map(|customer| Arc::clone(&customer.name)).unwrap_or_default(),
        user: user.map(|user| Arc::clone(&user.name)).unwrap_or_default(),
        session: attribution.map(|attribution| Arc::clone(&attribution.session)).unwrap_or_default(),
        agent: attribution.map(|attribution| Arc::clone(&attribution.agent)).unwrap_or_default(),
    }
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
