//! Anthropic Messages: requests, answers, streams and errors.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_dialect_fuzz::dialect::check(
    tollgate_dialect::Dialect::Anthropic,
    bytes
));
