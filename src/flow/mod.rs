//! Flow's capture protocol: requests, responses, their lines, and structured logs. It knows no Airbyte and no Singer.

pub mod name;
pub mod request;
pub mod response;

/// `spec.protocol` (F3).
pub const PROTOCOL: u32 = 3032023;
