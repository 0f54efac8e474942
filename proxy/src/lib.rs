//! One stateless proxy replica.
//!
//! Reading order: [`current`], what holds now; [`visits`], what is open.

pub mod current;
pub mod visits;
