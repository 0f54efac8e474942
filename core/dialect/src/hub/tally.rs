//! Counts a streamed answer while it passes, from its events.

use super::event::{Delta, Event};
use crate::meter::{Counters, Metered};

/// Text has about four bytes a token. What is estimated by it is only what a provider did not get to count.
const BYTES_PER_TOKEN: u64 = 4;

/// The count of one stream.
#[derive(Debug, Default)]
pub struct Tally {
    counters: Counters,
    model: Option<String>,
    failed: Option<String>,
    is_final: bool,
    complete: bool,
    started: bool,
    deltas: u64,
    content_bytes: u64,
}

impl Tally {
    /// Counts one event.
    pub fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Start { id: _, model, usage } => {
                self.counters = usage.counters;
                self.started = usage.counters.input_total() > 0;
                self.model = Some(model.to_string()).filter(|model| !model.is_empty());
            }
            Event::Delta(delta) => self.pass(delta),
            Event::Stop { stop: _, usage } => {
                self.is_final = usage.counters != Counters::default();
                self.started |= self.is_final;
                self.counters = usage.counters;
            }
            Event::Done => self.complete = self.failed.is_none(),
            Event::Failed { class, .. } => self.failed = Some(crate::anthropic::error_type(*class).to_owned()),
            Event::Begin(_) | Event::End | Event::Ping => {}
        }
    }

    /// The counters of the input, once the stream has told them.
    #[must_use]
    pub fn input(&self) -> Option<Counters> {
        self.started.then_some(Counters { output: 0, ..self.counters })
    }

    /// The bytes of content that passed: no output that is shown has more tokens.
    #[must_use]
    pub const fn output_bytes(&self) -> u64 {
        self.content_bytes
    }

    /// What is known so far. Until the provider has told the output, it is estimated from the content that passed.
    #[must_use]
    pub fn metered(&self) -> Metered {
        let Self { counters, model, failed, is_final, complete, started: _, deltas, content_bytes } = self;
        let mut counters = *counters;
        if !is_final {
            counters.output = counters.output.max(*deltas).max(content_bytes.div_ceil(BYTES_PER_TOKEN));
        }
        Metered { counters, model: model.clone(), is_final: *is_final, complete: *complete, failed: failed.clone() }
    }

    fn pass(&mut self, delta: &Delta<'_>) {
        let bytes = match delta {
            Delta::Text(text) | Delta::Thinking(text) | Delta::Input(text) => text.len(),
            Delta::Signature(seal) => seal.seal.len(),
            Delta::Other(json) => json.get().len(),
            Delta::Citation(_) => 0,
        };
        self.deltas += 1;
        self.content_bytes = self.content_bytes.saturating_add(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{Stop, Usage};

    fn usage(input: u64, output: u64) -> Usage {
        Usage { counters: Counters { input, output, ..Counters::default() }, thinking: None }
    }

    #[test]
    fn an_answer_is_counted_and_what_was_not_told_is_estimated() {
        let mut tally = Tally::default();
        let mut told = |event: Event<'_>| {
            tally.see(&event);
            let Metered { counters, is_final, complete, .. } = tally.metered();
            (tally.input().map(|counters| counters.input), counters.output, is_final, complete)
        };
        let start = Event::Start { id: "1".into(), model: "m".into(), usage: usage(0, 0) };
        assert_eq!(told(start), (None, 0, false, false));
        assert_eq!(told(Event::Delta(Delta::Text("a".into()))), (None, 1, false, false));
        assert_eq!(told(Event::Delta(Delta::Thinking("word ".repeat(8).into()))), (None, 11, false, false));
        assert_eq!(told(Event::Stop { stop: Stop::EndTurn, usage: usage(7, 9) }), (Some(7), 9, true, false));
        assert_eq!(told(Event::Done), (Some(7), 9, true, true));
    }

    #[test]
    fn an_end_without_counters_is_not_final() {
        let mut tally = Tally::default();
        tally.see(&Event::Delta(Delta::Text("four".into())));
        tally.see(&Event::Stop { stop: Stop::EndTurn, usage: Usage::default() });
        tally.see(&Event::Done);
        let metered = tally.metered();
        assert_eq!((metered.is_final, metered.complete, metered.counters.output), (false, true, 1));
    }
}
