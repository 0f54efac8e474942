//! What is read of a request before anything is decided.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_dialect_fuzz::asked::check(bytes));
