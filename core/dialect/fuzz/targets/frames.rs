//! The frames of Bedrock, and the streams of InvokeModel that travel in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tollgate_dialect_fuzz::frames::check(bytes));
