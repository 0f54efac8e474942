//! Amazon Bedrock: its Converse API, which is a dialect of its own ([`converse`]). Its streams are binary frames ([`frames`]).

pub mod frames;
pub mod converse;
