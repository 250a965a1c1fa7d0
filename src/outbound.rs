//! Signed requests to receivers, the check of their addresses, and mails to the operator.

pub mod error;
pub mod mail;
pub mod resolver;
pub mod secret;
pub mod sender;
