//! The switches: how an account's Jobber behaves where the documents leave it open, and how it misbehaves.

use serde::{Deserialize, Serialize};

/// How the sandbox behaves towards one account. The defaults are what is documented or was seen
/// (`api-behaviour.md`); what is unknown has a default and another position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// A refresh spends the refresh token.
    pub rotation: bool,
    /// `after` in a filter includes its own instant.
    pub after_inclusive: bool,
    /// Reopening a job clears its `completedAt`.
    pub reopen_clears_completed_at: bool,
    /// Points in a full budget.
    pub bucket_size: f64,
    /// Points that come back in a second.
    pub bucket_refill: f64,
    /// The fields of `pageInfo` count once a row.
    pub page_info_per_row: bool,
    /// Requests in 300 s before HTTP 429.
    pub requests_per_window: usize,
    /// Seconds an access token lives.
    pub token_ttl_seconds: i64,
    /// Milliseconds before every answer.
    pub latency_ms: u64,
    /// Up to so many milliseconds more, at random.
    pub jitter_ms: u64,
    /// The version that is served whatever was asked for.
    pub served_version: Option<String>,
    /// The version that is asked for does not exist any more: HTTP 404 with that sentence.
    pub version_gone: bool,
    /// HTTP status of the answer for a closed account.
    pub inactive_status: u16,
    /// Fields hidden for want of a scope: `Query.jobs`, `Job.invoices`.
    pub hidden_fields: Vec<String>,
    /// Types hidden for want of a scope: `User`.
    pub hidden_types: Vec<String>,
    /// In every answer, this enum field has a value that the schema does not know.
    pub unknown_enum: Option<UnknownEnum>,
    /// Every object of an answer has a field more.
    pub extra_fields: bool,
    /// Every answer carries an error beside its data.
    pub partial_errors: bool,
    /// So many copies of every webhook.
    pub webhook_copies: u32,
    /// Milliseconds before a webhook leaves.
    pub webhook_delay_ms: u64,
    /// Of two webhooks the second comes first.
    pub webhook_reorder: bool,
    /// Webhooks are signed with another secret.
    pub webhook_bad_signature: bool,
    /// `occuredAt`, as apps from before December 2023 get it.
    pub webhook_old_spelling: bool,
    /// Form-encoded, as old apps get it.
    pub webhook_form: bool,
}

/// A value that the schema does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownEnum {
    /// The field: `jobStatus`.
    pub field: String,
    /// Its value.
    pub value: String,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            rotation: true,
            after_inclusive: false,
            reopen_clears_completed_at: true,
            bucket_size: 10_000.0,
            bucket_refill: 500.0,
            page_info_per_row: true,
            requests_per_window: 2500,
            token_ttl_seconds: 3600,
            latency_ms: 0,
            jitter_ms: 0,
            served_version: None,
            version_gone: false,
            inactive_status: 401,
            hidden_fields: vec![],
            hidden_types: vec![],
            unknown_enum: None,
            extra_fields: false,
            partial_errors: false,
            webhook_copies: 1,
            webhook_delay_ms: 0,
            webhook_reorder: false,
            webhook_bad_signature: false,
            webhook_old_spelling: false,
            webhook_form: false,
        }
    }
}

/// A failure that happens to the next requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// How often it still happens.
    #[serde(default = "once")]
    pub times: u32,
    /// Only to this operation: the name of a query, or `token` for the token endpoint.
    #[serde(default)]
    pub operation: Option<String>,
}

fn once() -> u32 {
    1
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection ends before the answer has a body.
    Reset,
    /// The answer ends in the middle.
    Truncate,
    /// No answer comes for this long.
    Hang {
        /// Milliseconds.
        ms: u64,
    },
    /// An HTTP status with Jobber's words for it.
    Http {
        /// The status.
        status: u16,
        /// The `Retry-After` header.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// A waiting room: HTTP 200 and HTML.
    WaitingRoom,
    /// The access token runs out just now.
    Expired,
    /// The access token does not count, and that is answered as a missing one is: HTTP 200 and hidden data.
    Unauthenticated,
    /// HTTP 200 and JSON that means nothing.
    Nonsense,
    /// It is done, and then the connection ends: the caller cannot know.
    ResetAfter,
}
