//! The program against a local Jobber and a real receiver.

mod asking;
mod binary;
mod browser;
mod connecting;
mod delivering;
mod guards;
mod support;
mod tokens;
mod trouble;
