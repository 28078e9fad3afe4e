//! Raw JSON text: scan a line without building a tree, mend what Python writes but JSON forbids, reduce RFC 7396
//! merge patches, follow pointers. It knows no protocol.

pub mod compact;
pub mod hints;
pub mod members;
pub mod merge;
pub mod pointer;
pub mod repair;
pub mod scan;
