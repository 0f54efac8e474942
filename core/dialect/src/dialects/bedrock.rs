//! Amazon Bedrock: the binary frames of its streams ([`frames`]).

pub mod frames;
