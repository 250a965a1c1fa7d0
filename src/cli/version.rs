//! What this program is.

use serde::Serialize;

use super::show::{Paper, Show};
use crate::jobber::API_VERSION;

#[derive(Debug, Serialize)]
pub(super) struct Version {
    version: &'static str,
    #[serde(flatten)]
    details: Option<Details>,
}

#[derive(Debug, Serialize)]
struct Details {
    /// `unknown` if it was not built by `systemd/package`.
    commit: &'static str,
    api_version: &'static str,
    features: Vec<&'static str>,
    target: String,
    rustc: &'static str,
}

impl Version {
    pub(super) fn of_this(is_verbose: bool) -> Self {
        let details = is_verbose.then(|| Details {
            commit: option_env!("JOBBER_REVIEWD_COMMIT").unwrap_or("unknown"),
            api_version: API_VERSION,
            features: [
                ("demo", cfg!(feature = "demo")),
                ("crash-points", cfg!(feature = "crash-points")),
                ("fuzzing", cfg!(feature = "fuzzing")),
            ]
            .into_iter()
            .filter_map(|(name, is_on)| is_on.then_some(name))
            .collect(),
            target: format!(
                "{}-{}-{}",
                std::env::consts::ARCH,
                std::env::consts::OS,
                if cfg!(target_env = "musl") { "musl" } else { "gnu" }
            ),
            rustc: option_env!("JOBBER_REVIEWD_RUSTC").unwrap_or("unknown"),
        });
        Self { version: env!("CARGO_PKG_VERSION"), details }
    }
}

impl Show for Version {
    fn text(&self, _: &Paper) -> String {
        let Self { version, details } = self;
        let first = format!("jobber-reviewd {version}");
        let Some(Details { commit, api_version, features, target, rustc }) = details else { return first };
        let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
        format!(
            "{first}\ncommit: {commit}\nJobber's API: {api_version}\nfeatures: {features}\ntarget: {target}\nrustc: {rustc}"
        )
    }
}
