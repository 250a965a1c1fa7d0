//! What belongs to one connected account: its tokens, its session with Jobber, its settings, how it is connected.

pub mod budget;
pub mod onboarding;
pub mod session;
pub mod settings;
pub mod tokens;
