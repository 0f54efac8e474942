//! What each fuzz target does with its bytes. A target asserts more than that nothing panics: a stream says the same however it is cut, what
//! was read can be written in every dialect and is read there again, and what is not to change does not.
//!
//! Every input begins with [`input::Input`]'s four bytes, which say what is done with the rest. `scripts/fuzz` puts them ahead of the shapes.

pub mod input;
pub mod dialect;
pub mod stream;
pub mod sse;
pub mod frames;
pub mod asked;
pub mod splice;
pub mod meter;
