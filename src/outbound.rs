//! Signed posts to receivers, and which addresses may be reached.

pub mod error;
pub mod resolver;
pub mod secret;
pub mod sender;
