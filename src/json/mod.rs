//! Raw JSON text: scans a line without building a tree, repairs invalid JSON, applies RFC 7396 merge patches, and follows
//! pointers. It knows no protocol.

pub mod compact;
pub mod hints;
pub mod lexical;
pub mod members;
pub mod merge;
pub mod pointer;
pub mod repair;
pub mod scan;
pub mod watch;
