//! Far more work than usual that was finished at once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Works that are held because far more than usual were finished within an hour. An account has at most one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// When it was noticed.
    pub noticed_at: Timestamp,
    /// When its first work was finished, to the minute.
    pub begun_at: Timestamp,
    /// When its last work was finished, to the minute.
    pub ended_at: Timestamp,
    /// Number of works held.
    pub works: u32,
    /// Number of works that the account usually finishes on a day.
    pub usual: u32,
    /// Some of the works, such as `job 112`.
    pub examples: Vec<String>,
}
