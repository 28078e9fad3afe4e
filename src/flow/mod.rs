//! Flow's capture protocol: requests, responses, their framing, and names. Knows neither Airbyte nor Singer.

pub mod codec;
pub mod name;
pub mod request;
pub mod response;
pub mod secret;
pub mod spool;

/// `spec.protocol` (F3).
pub const PROTOCOL: u32 = 3032023;
