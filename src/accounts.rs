//! Everything about one connected account: onboarding, tokens, session, settings, and where its messages go.

pub mod budget;
mod doubt;
pub mod forwards;
pub mod onboarding;
pub mod receiver;
pub mod session;
pub mod settings;
pub mod tokens;
