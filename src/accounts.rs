//! Everything about one connected account: onboarding, tokens, session, settings.

pub mod budget;
pub mod onboarding;
pub mod session;
pub mod settings;
pub mod tokens;
