//! The hermetic tests: no network, no root, no packages; scripted connectors need only Python 3. Plain `cargo test` runs
//! these and the unit tests.

#[path = "../authorization/mod.rs"]
mod authorization;
#[path = "../builder/mod.rs"]
mod builder;
#[path = "../command/mod.rs"]
mod command;
#[path = "../runtime/mod.rs"]
mod runtime;
#[path = "../services/mod.rs"]
mod services;
#[path = "../specs/mod.rs"]
mod specs;

mod bake;
mod builder_api;
mod configs;
mod conversations;
mod demo;
mod init;
mod inspect;
mod manual;
mod memory;
mod messages;
mod overlays;
mod parallel;
mod preview;
mod processes;
mod prove;
mod publish_kit;
mod resource_configs;
mod rotation;
mod runtime_double;
mod shims;
mod signin;
mod tiers;
mod vendor;
