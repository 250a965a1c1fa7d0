//! A setting that cannot be used.

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}; {remedy}")]
pub struct ConfigError {
    pub key: String,
    pub problem: String,
    pub remedy: String,
}

impl ConfigError {
    pub(crate) fn of(key: &str, error: impl std::fmt::Display) -> Self {
        Self::new(key, "it cannot be used", error.to_string())
    }

    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        // The value is quoted without line breaks, so that the error stays on one line.
        let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self { key: one_line(key.into()), problem: one_line(problem.into()), remedy: one_line(remedy.into()) }
    }
}
