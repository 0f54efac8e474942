//! The money that is held for a stream, while it is streamed: less, once its input is told; and slice by slice, where only a
//! part of its output is held ahead.

use std::sync::Arc;

use tollgate_policy::{
    money::NanoUsd,
    refusal::{Refusal, RefusalKind},
};

use super::track::Track;
use crate::{
    funds::Funds,
    gate::{
        reserve::OUTPUT_SLICE_TOKENS,
        settle,
        ticket::{Facts, Ticket},
    },
    spool::{Backlog, Spool},
};

/// Keeps a hold at what an answer may still come to.
#[derive(Debug)]
pub(super) struct Follower {
    funds: Arc<Funds>,
    spool: Spool,
    // What the input costs at most.
    input: NanoUsd,
    // For so many tokens of output money is held.
    output_held: u64,
    told: bool,
    active: bool,
}

impl Follower {
    /// Follows the hold of a ticket, if a budget holds it.
    pub(super) fn new(ticket: &Ticket, funds: Arc<Funds>, spool: Spool) -> Self {
        let active = ticket.hold.as_ref().is_some_and(|hold| !hold.accounts().is_empty());
        let (input, output_held) = match &ticket.running {
            Some(running) if active => {
                let whole = running.extent.output_tokens_once();
                let held = if running.stepwise { whole.min(OUTPUT_SLICE_TOKENS) } else { whole };
                (running.price.bound_input(&running.extent), held)
            }
            _ => (NanoUsd::ZERO, 0),
        };
        Self { funds, spool, input, output_held, told: false, active }
    }

    /// Looks at what has passed.
    ///
    /// # Errors
    /// Refuses when more has passed than money is held for, and no more can be held: the answer is to end here.
    pub(super) fn follow(&mut self, facts: &mut Facts, track: &Track) -> Result<(), Refusal> {
        if !self.active || (self.told && !facts.running.as_ref().is_some_and(|running| running.stepwise)) {
            return Ok(());
        }
        self.tighten(facts, track);
        self.extend(facts, track)
    }

    // The provider has counted the input: what was held for more of it goes back.
    fn tighten(&mut self, facts: &mut Facts, track: &Track) {
        let (Some(hold), Some(running)) = (&facts.hold, &facts.running) else { return };
        if self.told || !running.extent.input_is_told() {
            return;
        }
        let Some(counters) = track.input() else { return };
        self.told = true;
        self.input = running.price.cost(&settle::tokens(&counters));
        let amount = self.input.plus(running.price.output(self.output_held)).min(hold.amount());
        // Before it goes back: otherwise a crash between the two would charge it here, and to whoever holds it next. A note
        // that cannot be written leaves the earlier one, which says more.
        let _ = self.note(facts, amount);
        if let Some(hold) = &mut facts.hold {
            hold.tighten(amount);
        }
    }

    // What is held now is what the visit costs, should this process not live to tell.
    fn note(&self, facts: &mut Facts, amount: NanoUsd) -> Result<(), Backlog> {
        let Some(intent) = &mut facts.noted else { return Ok(()) };
        intent.hold = amount;
        self.spool.intent(intent).map(drop)
    }

    fn extend(&mut self, facts: &mut Facts, track: &Track) -> Result<(), Refusal> {
        let (Some(hold), Some(running)) = (&mut facts.hold, &facts.running) else { return Ok(()) };
        let most = running.extent.output_tokens_once();
        // A token is never less than a byte of what passes.
        let passed = track.output_bytes().min(most);
        if !running.stepwise || self.output_held >= most || passed + OUTPUT_SLICE_TOKENS / 2 < self.output_held {
            return Ok(());
        }
        let wanted = (passed + OUTPUT_SLICE_TOKENS).min(most);
        let amount = self.input.plus(running.price.output(wanted));
        let more = NanoUsd::new(amount.get().saturating_sub(hold.amount().get()).max(0));
        let cut = Arc::clone(&running.cut);
        match hold.extend(more) {
            Ok(()) => {
                let held = hold.amount();
                // What cannot be noted may not pass.
                if self.note(facts, held).is_ok() {
                    self.output_held = wanted;
                    return Ok(());
                }
            }
            // What is left of the slice is the time in which more may be borrowed.
            Err(_) => self.funds.look_ahead(hold),
        }
        if passed < self.output_held {
            Ok(())
        } else {
            Err(Refusal::new(RefusalKind::BudgetExhausted, cut.to_string()))
        }
    }
}
