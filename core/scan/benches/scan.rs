//! Placeholder of the bench while the crate takes shape.
fn main() {}
