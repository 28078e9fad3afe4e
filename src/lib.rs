pub mod json;
pub mod schema;
