//! The page of `flow-shim builder` in headless Chromium, with a real CDK: `tests/run --browser`.

#[path = "../authorization/mod.rs"]
mod authorization;
#[path = "../builder/mod.rs"]
mod builder;
#[path = "../command/mod.rs"]
mod command;
mod driver;
mod page;
#[path = "../runtime/mod.rs"]
mod runtime;
mod sign_in;
#[path = "../sources/mod.rs"]
mod sources;
