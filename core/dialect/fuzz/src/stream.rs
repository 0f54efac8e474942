//! Streamed answers of one dialect.

use tollgate_dialect::{
    Dialect,
    hub::{Begin, Delta, Event, Forms},
};

use crate::input::Input;

/// What a stream says, and whether it says it in order.
#[derive(Debug, Default)]
struct Said {
    events: Vec<String>,
    started: bool,
    open: Option<Open>,
    stopped: bool,
    over: bool,
    failures: usize,
}

/// Which block is open.
#[derive(Clone, Copy, Debug)]
enum Open {
    Text,
    Thinking,
    Redacted,
    ToolUse,
    Other,
}

impl Open {
    const fn of(begin: &Begin<'_>) -> Self {
        match begin {
            Begin::Text => Self::Text,
            Begin::Thinking => Self::Thinking,
            Begin::RedactedThinking { .. } => Self::Redacted,
            Begin::ToolUse { .. } => Self::ToolUse,
            Begin::Other { .. } => Self::Other,
        }
    }

    const fn takes(self, delta: &Delta<'_>) -> bool {
        match delta {
            Delta::Text(_) | Delta::Citation(_) => matches!(self, Self::Text),
            Delta::Thinking(_) | Delta::Signature(_) => matches!(self, Self::Thinking),
            Delta::Input(_) => matches!(self, Self::ToolUse),
            Delta::Other(_) => true,
        }
    }
}

impl Said {
    fn see(&mut self, event: &Event<'_>) {
        let was_over = self.over || self.failures > 0;
        let is_in_place = match event {
            Event::Start { .. } => !std::mem::replace(&mut self.started, true),
            Event::Begin(begin) => self.started && !self.stopped && self.open.replace(Open::of(begin)).is_none(),
            Event::Delta(delta) => self.open.is_some_and(|open| open.takes(delta)),
            Event::End => self.open.take().is_some(),
            Event::Stop { .. } => self.started && self.open.is_none() && !std::mem::replace(&mut self.stopped, true),
            Event::Done => self.stopped && !std::mem::replace(&mut self.over, true),
            Event::Ping => true,
            Event::Failed { .. } => {
                self.failures += 1;
                true
            }
        };
        let is_late = was_over && !matches!(event, Event::Ping) || self.failures > 1;
        self.events.push(format!("{event:?}"));
        assert!(is_in_place && !is_late, "out of order: {:?}", self.events);
    }
}

fn read(dialect: Dialect, pieces: &[&[u8]], mut sink: impl FnMut(&Event<'_>)) -> Said {
    let (mut decoder, mut said) = (dialect.stream_decoder(), Said::default());
    let mut see = |event: Event<'_>| {
        said.see(&event);
        sink(&event);
    };
    pieces.iter().for_each(|piece| decoder.push(piece, &mut see));
    decoder.end(&mut see);
    said
}

/// Reads a stream whole and in pieces, and writes it in each dialect.
///
/// # Panics
/// When the two differ, when events are out of order, or when what was written is not read again.
pub fn check(dialect: Dialect, input: &Input<'_>, wire: &[u8]) {
    let mut encoders = Dialect::ALL.map(|target| (target.stream_encoder_in(Forms::default()), Vec::new()));
    let whole = read(dialect, &[wire], |event| {
        encoders.iter_mut().for_each(|(encoder, out)| encoder.push(event, out));
    });
    let cut = read(dialect, &input.pieces(wire), |_| {});
    assert_eq!(cut.events, whole.events, "{dialect:?} cut");
    // What fails or breaks off behind its end has been said whole: not every dialect can take that back.
    let is_late = whole.stopped && !whole.over;
    for (target, (_, out)) in Dialect::ALL.into_iter().zip(encoders) {
        assert!(out.len() <= 64 * wire.len() + 8_192, "{dialect:?} to {target:?}: {} of {}", out.len(), wire.len());
        let back = read(target, &[&out], |_| {});
        if is_late {
            continue;
        }
        let about = || {
            format!(
                "{dialect:?} to {target:?}: {:?} became {} which is {:?}",
                whole.events,
                String::from_utf8_lossy(&out),
                back.events
            )
        };
        assert_eq!(back.failures, whole.failures, "{}", about());
        assert_eq!(back.over, whole.over, "{}", about());
    }
}
