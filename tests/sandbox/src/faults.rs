//! The switches: how Jobber behaves where the documentation is unclear, and how it fails.

use serde::{Deserialize, Serialize};

/// How the sandbox behaves for one account. The defaults are documented or observed behaviour
/// (`api-behaviour.md`). For unknown behaviour there is a default and an alternative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Whether a refresh spends the refresh token.
    pub rotation: bool,
    /// Whether `after` in a filter includes the instant itself.
    pub after_inclusive: bool,
    /// Whether stored instants have fractions that are compared but never shown.
    pub hidden_fractions: bool,
    /// Whether rows with the same sort key come in another order each time.
    pub unstable_ties: bool,
    /// Whether reopening a job clears its `completedAt`.
    pub reopen_clears_completed_at: bool,
    /// Points in a full budget.
    pub bucket_size: f64,
    /// Refill rate in points per second.
    pub bucket_refill: f64,
    /// Whether the fields of `pageInfo` count once per row.
    pub page_info_per_row: bool,
    /// Requests per 300 s before HTTP 429.
    pub requests_per_window: usize,
    /// Lifetime of an access token in seconds.
    pub token_ttl_seconds: i64,
    /// Delay of every answer in milliseconds.
    pub latency_ms: u64,
    /// Maximum additional random delay in milliseconds.
    pub jitter_ms: u64,
    /// The version that is always served, whatever was requested.
    pub served_version: Option<String>,
    /// The version that is asked for does not exist any more: HTTP 404 with that sentence.
    pub version_gone: bool,
    /// HTTP status of the answer for a closed account.
    pub inactive_status: u16,
    /// Fields hidden because a scope is missing: `Query.jobs`, `Job.invoices`.
    pub hidden_fields: Vec<String>,
    /// The scopes that tokens say they have. What is hidden is another switch.
    pub scopes: Vec<String>,
    /// Types hidden because a scope is missing: `User`.
    pub hidden_types: Vec<String>,
    /// In every answer this enum field has a value unknown to the schema.
    pub unknown_enum: Option<UnknownEnum>,
    /// Whether every object in an answer has an additional field.
    pub extra_fields: bool,
    /// Whether every answer has an error in addition to its data.
    pub partial_errors: bool,
    /// Whether webhook endpoints belong to the account that creates them, and not to the app.
    pub webhooks_per_account: bool,
    /// Topics of which a webhook is refused, as if their scope were missing.
    pub refused_topics: Vec<String>,
    /// Number of copies of every webhook.
    pub webhook_copies: u32,
    /// Delay of webhooks in milliseconds.
    pub webhook_delay_ms: u64,
    /// Whether the second of two webhooks is sent first.
    pub webhook_reorder: bool,
    /// So many webhooks are held and then sent at once, the last one first.
    pub webhook_burst: usize,
    /// Every so many webhooks one is lost. 0 loses none.
    pub webhook_drop_every: u64,
    /// Whether webhooks are signed with a wrong secret.
    pub webhook_bad_signature: bool,
    /// Whether webhooks spell `occuredAt`, as for apps from before December 2023.
    pub webhook_old_spelling: bool,
    /// Whether webhooks are form-encoded, as for old apps.
    pub webhook_form: bool,
}

/// An enum value unknown to the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownEnum {
    /// The name of the field, such as `jobStatus`.
    pub field: String,
    /// Its value.
    pub value: String,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            rotation: true,
            after_inclusive: false,
            hidden_fractions: false,
            unstable_ties: false,
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
            scopes: ["clients", "jobs", "scheduled_items", "invoices", "users"]
                .map(|what| format!("read_{what}"))
                .to_vec(),
            hidden_types: vec![],
            unknown_enum: None,
            extra_fields: false,
            partial_errors: false,
            webhooks_per_account: false,
            refused_topics: vec![],
            webhook_copies: 1,
            webhook_delay_ms: 0,
            webhook_reorder: false,
            webhook_burst: 1,
            webhook_drop_every: 0,
            webhook_bad_signature: false,
            webhook_old_spelling: false,
            webhook_form: false,
        }
    }
}

/// A failure of the next requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The kind of failure.
    pub kind: FaultKind,
    /// How many times it will still happen.
    #[serde(default = "once")]
    pub times: u32,
    /// The affected operation: the name of a query, or `token` for the token endpoint. If absent, all.
    #[serde(default)]
    pub operation: Option<String>,
}

fn once() -> u32 {
    1
}

/// The kinds of failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The connection ends before the answer has a body.
    Reset,
    /// The answer ends in the middle.
    Truncate,
    /// The answer is delayed.
    Hang {
        /// Milliseconds.
        ms: u64,
    },
    /// An HTTP status with Jobber's text for it.
    Http {
        /// The status.
        status: u16,
        /// The `Retry-After` header.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// A waiting room: HTTP 200 and HTML.
    WaitingRoom,
    /// The access token expires now.
    Expired,
    /// The access token does not count, and that is answered as a missing one is: HTTP 200 and hidden data.
    Unauthenticated,
    /// The refresh token is refused, though nothing is wrong with it.
    RefreshRefused,
    /// The record is answered with null, as if it were gone.
    Absent,
    /// HTTP 200 with meaningless JSON.
    Nonsense,
    /// The request is executed, then the connection ends: the caller cannot know the result.
    ResetAfter,
}
