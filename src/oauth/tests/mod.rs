mod cases;
mod corpus;
mod template;
