//! The registered app, and what a browser sends for it.

use serde::Deserialize;

/// The app's client id in the sandbox.
pub const CLIENT_ID: &str = "sandbox-client";

/// The app's client secret in the sandbox.
pub const CLIENT_SECRET: &str = "sandbox-secret";

/// The query of the consent page.
#[derive(Debug, Deserialize)]
pub(super) struct AuthorizeQuery {
    pub(super) response_type: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) redirect_uri: Option<String>,
    pub(super) state: Option<String>,
}
