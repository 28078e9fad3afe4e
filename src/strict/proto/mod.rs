//! Flow's protobuf codec (Q1 to Q13): requests as frames, and frames as the lines of the JSON codec. Decoding is stricter than
//! Flow's, which skips what it does not know: a frame must be the one encoding of its message (Q4).

mod request;
mod response;

use anyhow::{Context, Result};
use prost::Message;
use serde_json::Value;

/// JSON text.
type Json = Vec<u8>;

/// A request of the JSON codec as a frame.
pub fn frame(request: &Value) -> Result<Vec<u8>> {
    let request: request::Request =
        serde_json::from_str(&request.to_string()).context("a request has fields that protobuf lacks")?;
    let message = request.encode_to_vec();
    let length = u32::try_from(message.len()).context("a request is too long for protobuf")?;
    Ok([&length.to_le_bytes()[..], &message].concat())
}

/// A response's message, which follows its length, as the line of the JSON codec.
pub fn line(message: &[u8]) -> Result<String, String> {
    let response = response::Response::decode(message).map_err(|e| format!("Q4: {e}"))?;
    if response.encode_to_vec() != message {
        return Err("Q4: a field is unknown, repeated, empty or not in order".to_owned());
    }
    let it = response.kind.ok_or("Q7: the message is empty")?;
    serde_json::to_string(&it).map_err(|e| format!("Q11: {e}"))
}
