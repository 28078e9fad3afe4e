//! Tests with real connectors from PyPI, which `tests/run --connectors` installs.

#[path = "../authorization/mod.rs"]
mod authorization;
#[path = "../builder/mod.rs"]
mod builder;
#[path = "../command/mod.rs"]
mod command;
#[path = "../runtime/mod.rs"]
mod runtime;
#[path = "../sources/mod.rs"]
mod sources;

mod airbyte;
mod builder_api;
mod capture;
mod files;
mod fivetran;
mod init;
mod manifests;
mod many_streams;
mod rules;
mod shims;
mod taps;
mod weather;
