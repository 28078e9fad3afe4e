//! The rewriter, held against Flow's rules: by cases, by random schemas, and by what real sources print.

mod cases;
mod checker;
mod corpus;
mod random;
