//! Describes request errors without address or content.

use super::resolver::NotPublic;

pub(crate) fn describe(error: &reqwest::Error) -> &'static str {
    let mut causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    if causes.any(<dyn std::error::Error>::is::<NotPublic>) {
        "its host has no public address"
    } else if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    }
}
