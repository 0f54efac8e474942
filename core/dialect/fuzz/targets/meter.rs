//! Counters of whole and of streamed answers.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_dialect_fuzz::meter::check(bytes));
