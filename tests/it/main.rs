//! The program against a local Jobber and a real receiver.

mod asking;
mod delivering;
mod support;
mod tokens;
mod trouble;
