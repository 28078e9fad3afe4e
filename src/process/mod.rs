//! Child processes: start, supervise, stop, and end them with everything that they started. It knows no protocol.
//!
//! Between the shim and a connector stands a [`keeper`]: a second process of this binary, which outlives the shim by
//! just as long as it takes to kill what the connector has started and to remove its private files.
//!
//! Supervision is async, on one current-thread runtime. Blocking work (reading records, writing logs) has threads of its
//! own, and nobody joins them.

pub mod activity;
pub mod container;
mod descendants;
pub mod files;
pub mod guard;
pub mod keeper;
pub mod kept;
pub mod launch;
pub mod lines;
pub mod listeners;
mod null;
pub mod private;
pub mod program;
pub mod shutdown;
pub mod stderr;
pub mod supervise;
pub mod thread;
