mod cases;
mod corpus;
