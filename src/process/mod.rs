//! Child processes: start, supervise, signal, drain, and end them with all that they started. It knows no protocol.
//!
//! Between the shim and a connector stands a [`keeper`]: the same binary once more, which outlives the shim by just
//! as long as it takes to kill what the connector has started and to remove its private files.

pub mod keeper;
pub mod launch;
pub mod lines;
pub mod private;
pub mod shutdown;
mod stderr;
pub mod supervise;
