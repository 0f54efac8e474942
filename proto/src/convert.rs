//! Conversions between wire and domain.

pub mod fleet;
pub mod usage;
pub mod evidence;
pub mod model;
