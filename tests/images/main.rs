//! Tests that build and run container images with podman, which `tests/run --images` installs.

#[path = "../runtime/mod.rs"]
mod runtime;

mod containers;
mod dockerfiles;
mod podman;
