//! One file per dialect. A dialect never imports another one.

pub mod anthropic;
pub mod openai;
