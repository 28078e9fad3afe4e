//! What ends a scan.

/// The reason why a text is not JSON, and the byte at which it was found. Small, as each part of a scan returns one or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct Fault {
    pub(super) at: u32,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum What {
    #[error("something follows the end of the message")]
    SomethingFollows,
    #[error("expected a member's name")]
    NoName,
    #[error("the message ends too early")]
    EndsTooEarly,
    #[error("expected a value")]
    NoValue,
    #[error("not a number")]
    NotANumber,
    #[error("the message ends within a string")]
    EndsWithinString,
    #[error("not an escape")]
    NotAnEscape,
    #[error("expected an object")]
    NoObject,
    #[error("expected ',' or '}}'")]
    NoCommaOrBrace,
    #[error("expected ',' or ']'")]
    NoCommaOrBracket,
    #[error("expected ',' or the end of the container")]
    NoCommaOrEnd,
    #[error("expected ':'")]
    NoColon,
}
