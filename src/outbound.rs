//! Signed requests to receivers, and the check of their addresses.

pub mod error;
pub mod resolver;
pub mod secret;
pub mod sender;
