//! Amazon Bedrock: its Converse API, which is a dialect of its own ([`converse`]), and the envelope in which its InvokeModel carries the
//! bodies of Anthropic Messages ([`invoke`]). The streams of both are binary frames ([`frames`]). Models are listed as inference profiles.

pub mod frames;
pub mod converse;
pub mod invoke;
mod profiles;

pub use profiles::profile_list;
