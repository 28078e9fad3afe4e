//! flow-shim runs any Airbyte source or Singer tap as a capture connector of Estuary Flow. ARCHITECTURE.md describes the modules.

pub mod airbyte;
pub mod capture;
pub mod cli;
pub mod dates;
pub mod demo;
pub mod error;
pub mod flow;
pub mod http;
pub mod init;
pub mod inspect;
pub mod json;
pub mod logging;
pub mod manual;
pub mod oauth;
pub mod preview;
pub mod process;
pub mod schema;
pub mod secrets;
pub mod serve;
pub mod session;
pub mod settings;
pub mod signin;
pub mod singer;
pub mod suggest;
pub mod terminal;
pub mod upstream;
