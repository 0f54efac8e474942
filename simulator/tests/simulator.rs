//! The simulator over the wire: its dialects, its faults, what it remembers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends at what it did not expect"
)]

#[path = "simulator/client.rs"]
mod client;
#[path = "simulator/shapes.rs"]
mod shapes;
#[path = "simulator/faults.rs"]
mod faults;
#[path = "simulator/memory.rs"]
mod memory;
