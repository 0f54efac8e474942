//! Counters of answers.

use tollgate_dialect::{
    Dialect, Metered,
    anthropic::StreamMeter,
    hub::Tally,
    meter::{COUNT_MAX, meter_answer},
    openai,
};

use crate::input::Input;

/// Counts a whole answer, and a stream whole and in pieces.
///
/// # Panics
/// When the counts differ or cannot be.
pub fn check(bytes: &[u8]) {
    let Some(input) = Input::read(bytes) else { return };
    let dialect = Dialect::ALL[usize::from(input.kind) % Dialect::ALL.len()];
    if input.has(0) {
        if let Ok(metered) = meter_answer(dialect, input.body) {
            check_counters(&metered);
        }
        let _ = openai::embeddings::meter_answer(input.body);
        return;
    }
    let pieces = input.pieces(input.body);
    let tallied = tally(dialect, &[input.body]);
    assert_eq!(tally(dialect, &pieces), tallied);
    check_counters(&tallied);
    let whole = count(&[input.body]);
    assert_eq!(count(&pieces), whole);
    check_counters(&whole);
}

fn count(pieces: &[&[u8]]) -> Metered {
    let mut meter = StreamMeter::new();
    for piece in pieces {
        meter.push(piece);
        assert!(meter.boundary() <= meter.seen());
    }
    meter.metered()
}

fn tally(dialect: Dialect, pieces: &[&[u8]]) -> Metered {
    let (mut decoder, mut tally) = (dialect.stream_decoder(), Tally::default());
    pieces.iter().for_each(|piece| decoder.push(piece, &mut |event| tally.see(&event)));
    decoder.end(&mut |event| tally.see(&event));
    tally.metered()
}

fn check_counters(metered: &Metered) {
    let counters = &metered.counters;
    for count in
        [counters.input, counters.output, counters.cache_read, counters.cache_write_5m, counters.cache_write_1h]
    {
        assert!(count <= COUNT_MAX, "{counters:?}");
    }
}
