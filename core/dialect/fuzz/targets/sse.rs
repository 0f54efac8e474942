//! The splitter of event streams.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_dialect_fuzz::sse::check(bytes));
