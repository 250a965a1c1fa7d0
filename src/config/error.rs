//! Settings that cannot be used.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub key: String,
    pub problem: String,
    pub remedy: String,
    /// The file and the line, or the variable.
    pub place: Option<String>,
}

impl ConfigError {
    pub(crate) fn of(key: &str, error: impl fmt::Display) -> Self {
        Self::new(key, "it cannot be used", error.to_string())
    }

    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>, remedy: impl Into<String>) -> Self {
        // The value is quoted without line breaks, so that the error stays on one line.
        let one_line = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (key, problem, remedy) = (key.into(), problem.into(), remedy.into());
        Self { key: one_line(key), problem: one_line(problem), remedy: one_line(remedy), place: None }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, problem, remedy, place } = self;
        write!(f, "{key}: {problem}; {remedy}")?;
        match place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// Every mistake that was found: at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn into_first(self) -> ConfigError {
        let first = self.0.into_iter().next();
        first.unwrap_or_else(|| ConfigError::new("the settings", "they cannot be used", "correct them"))
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return only.fmt(f);
        }
        write!(f, "{} settings cannot be used:", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}
