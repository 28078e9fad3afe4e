//! Tests with real taps of PostgreSQL and MariaDB and real servers, which `tests/run --databases` installs and these tests start.

#[path = "../runtime/mod.rs"]
mod runtime;
#[path = "../sources/mod.rs"]
mod sources;

mod servers;
mod tables;
mod values;
