//! What the pages of both listeners have in common with a browser: headers, the hash of a style, cookies.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

/// Gives a page its content policy, and keeps it from caches, guesses and referrers.
pub(super) fn hardened(response: &mut Response, policy: HeaderValue) {
    let headers: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_SECURITY_POLICY, policy),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    response.headers_mut().extend(headers);
}

/// How a content policy names a style.
pub(super) fn hash_of_style(style: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(style)))
}

/// The value of a cookie of ours: all of them are random and long.
pub(super) fn cookie_in(headers: &HeaderMap, cookie: &str) -> Option<SecretString> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == cookie && value.len() >= 22)
        .map(|(_, value)| SecretString::from(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        const NAME: &str = "jobber_reviewd_browser";

        let mut headers = HeaderMap::new();
        assert!(cookie_in(&headers, NAME).is_none());
        let value = "x".repeat(43);
        headers.append(COOKIE, HeaderValue::from_str(&format!("a=b; {NAME}={value}; c=d")).unwrap());
        assert_eq!(cookie_in(&headers, NAME).unwrap().expose_secret(), value);
    }
}
