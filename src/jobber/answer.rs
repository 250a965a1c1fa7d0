//! Classifies HTTP answers, in the order of `api-behaviour.md` §3.

use std::fmt;

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderName, RETRY_AFTER};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{API_VERSION, Answer, ApiError};
use crate::domain::retry;

const LONGEST_REST: SignedDuration = SignedDuration::from_hours(1);

const QUOTED_AT_MOST: usize = 200;

#[derive(Debug, Clone, Default)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) is_html: bool,
    pub(super) date: Option<Timestamp>,
    pub(super) retry_after: Option<SignedDuration>,
}

impl Head {
    pub(super) fn of(response: &reqwest::Response) -> Self {
        let header = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
        let date = header(DATE).and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
        Self {
            status: response.status().as_u16(),
            is_html: header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html")),
            date,
            retry_after: header(RETRY_AFTER).and_then(|value| rest(value, date)),
        }
    }
}

/// The pause that Jobber asks for. It is unknown whether and how it does (`api-behaviour.md` §3), so the
/// value is limited, and a date counts only together with Jobber's own time.
fn rest(value: &str, date: Option<Timestamp>) -> Option<SignedDuration> {
    let now = date.or_else(|| value.trim().parse::<u64>().ok().map(|_| Timestamp::UNIX_EPOCH))?;
    Some(retry::retry_after(value, now)?.min(LONGEST_REST))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It expired. A refresh helps.
    Expired,
    /// Jobber does not know it. A refresh may help.
    Unrecognised,
    Disconnected,
    Inactive,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "it expired",
            Self::Unrecognised => "it is not recognised",
            Self::Disconnected => "the app was disconnected",
            Self::Inactive => "the account is not active",
        })
    }
}

/// The cost of a query, in points of the account's budget (`api-behaviour.md` §3, Cost).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// Estimated before it ran.
    #[serde(rename = "requestedQueryCost")]
    pub requested: u64,
    pub throttle_status: ThrottleStatus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThrottleStatus {
    pub maximum_available: u64,
    pub currently_available: u64,
    /// Refill rate in points per second.
    pub restore_rate: u64,
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default = "nothing")]
    data: Option<T>,
    #[serde(default)]
    errors: Vec<GraphqlError>,
    #[serde(default)]
    extensions: Extensions,
    message: Option<String>,
    error: Option<TopLevelError>,
}

fn nothing<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct GraphqlError {
    #[serde(default)]
    message: String,
    #[serde(default)]
    extensions: ErrorExtensions,
}

#[derive(Default, Deserialize)]
struct ErrorExtensions {
    code: Option<String>,
}

#[derive(Default, Deserialize)]
struct Extensions {
    cost: Option<Cost>,
    versioning: Option<Versioning>,
}

#[derive(Deserialize)]
struct Versioning {
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum TopLevelError {
    Object { message: Option<String> },
    Text(String),
}

pub(super) fn sort<T: DeserializeOwned>(head: &Head, body: &[u8]) -> Result<Answer<T>, ApiError> {
    let parsed = serde_json::from_slice::<Envelope<T>>(body);
    // Data of the wrong shape must not hide the rest of the answer.
    let (rest, data) = match parsed {
        Ok(Envelope { data, errors, extensions, message, error }) => {
            (Ok(Envelope { data: None, errors, extensions, message, error }), Ok(data))
        }
        Err(wrong) => (serde_json::from_slice::<Envelope<IgnoredAny>>(body), Err(wrong)),
    };

    let words = rest.as_ref().ok().and_then(|rest| match (&rest.message, &rest.error) {
        (Some(message), _) => Some(quote(message)),
        (None, Some(TopLevelError::Object { message })) => {
            Some(quote(message.as_deref().unwrap_or_default()))
        }
        (None, Some(TopLevelError::Text(text))) => Some(quote(text)),
        (None, None) => None,
    });
    if let Some(refusal) = words.as_deref().and_then(refusal_in) {
        return Err(ApiError::Unauthorized(refusal));
    }
    if head.status == 401 {
        return Err(ApiError::Unauthorized(Refusal::Unrecognised));
    }
    if head.status == 429 {
        return Err(ApiError::TooMany { retry_after: head.retry_after });
    }
    if head.status >= 500 {
        let detail = format!("HTTP {}", head.status);
        return Err(ApiError::Unavailable { detail, retry_after: head.retry_after });
    }
    if head.is_html {
        let detail = "a waiting room instead of an answer".to_owned();
        return Err(ApiError::Unavailable { detail, retry_after: head.retry_after });
    }
    let rest = match rest {
        Ok(rest) => rest,
        Err(error) if error.is_eof() || error.is_syntax() => {
            let detail = format!("HTTP {} without JSON", head.status);
            return Err(ApiError::Unavailable { detail, retry_after: head.retry_after });
        }
        Err(error) => return Err(ApiError::Unexpected { detail: misfit(&error) }),
    };
    if head.status == 404
        && let Some(detail) = words.as_ref().filter(|words| words.contains("does not exist"))
    {
        return Err(ApiError::UnknownVersion { detail: detail.clone() });
    }
    if let Some(detail) = words {
        return Err(ApiError::Unavailable { detail, retry_after: head.retry_after });
    }
    // A missing token hides the data like a missing scope does, and is told apart by the code alone.
    if rest.errors.iter().any(|error| error.extensions.code.as_deref() == Some("UNAUTHENTICATED")) {
        return Err(ApiError::Unauthorized(Refusal::Unrecognised));
    }
    if rest.errors.iter().any(|error| error.extensions.code.as_deref() == Some("THROTTLED")) {
        return Err(throttled(rest.extensions.cost));
    }
    if head.status != 200 {
        return Err(ApiError::Unexpected { detail: format!("HTTP {}", head.status) });
    }
    let (hidden, other): (Vec<_>, Vec<_>) =
        rest.errors.iter().partition(|error| error.message.contains("hidden due to permissions"));
    if let Some(error) = other.first() {
        return Err(ApiError::Rejected { detail: quote(&error.message) });
    }
    if let Some(served) = rest.extensions.versioning.and_then(|versioning| versioning.version)
        && served != API_VERSION
    {
        return Err(ApiError::WrongVersion { served: quote(&served) });
    }
    let hidden = hidden.first().map(|error| quote(&error.message));
    match data {
        Ok(Some(data)) => Ok(Answer { data, date: head.date, cost: rest.extensions.cost, hidden }),
        Ok(None) => Err(match hidden {
            Some(detail) => ApiError::Hidden { detail },
            None => ApiError::Unexpected { detail: "neither data nor errors".to_owned() },
        }),
        Err(error) => Err(ApiError::Unexpected { detail: misfit(&error) }),
    }
}

fn refusal_in(words: &str) -> Option<Refusal> {
    let words = words.to_lowercase();
    if words.contains("access token expired") {
        Some(Refusal::Expired)
    } else if words.contains("token not recognized") {
        Some(Refusal::Unrecognised)
    } else if words.contains("disconnected this app") {
        Some(Refusal::Disconnected)
    } else if words.contains("account is not active") {
        Some(Refusal::Inactive)
    } else {
        None
    }
}

fn throttled(cost: Option<Cost>) -> ApiError {
    let Some(cost) = cost else {
        let wait = SignedDuration::from_secs(10);
        return ApiError::Throttled { requested: 0, available: 0, wait };
    };
    let (requested, budget) = (cost.requested, cost.throttle_status);
    let available = budget.currently_available;
    if requested > budget.maximum_available {
        let detail =
            format!("it costs {requested} points, more than the maximum of {}", budget.maximum_available);
        return ApiError::Rejected { detail };
    }
    let missing = requested.saturating_sub(available).max(1);
    let milliseconds = missing.saturating_mul(1000).div_ceil(budget.restore_rate.max(1));
    let wait = SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX));
    ApiError::Throttled { requested, available, wait }
}

/// Where data does not fit, without its content: serde's message can quote a value.
fn misfit(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        serde_json::error::Category::Data => "data of another shape",
        serde_json::error::Category::Syntax => "broken JSON",
        serde_json::error::Category::Eof => "JSON that ends too early",
        serde_json::error::Category::Io => "unreadable JSON",
    };
    format!("{kind} at line {} column {}", error.line(), error.column())
}

fn quote(words: &str) -> String {
    words.chars().filter(|char| !char.is_control()).take(QUOTED_AT_MOST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Data {
        job: Option<u32>,
    }

    fn sort_json(status: u16, body: &Value) -> Result<Answer<Data>, ApiError> {
        let head = Head { status, ..Head::default() };
        sort(&head, body.to_string().as_bytes())
    }

    fn error(status: u16, body: &Value) -> ApiError {
        sort_json(status, body).unwrap_err()
    }

    fn budget(requested: u64, available: u64) -> Value {
        json!({"requestedQueryCost": requested, "actualQueryCost": 0, "throttleStatus":
            {"maximumAvailable": 10000, "currentlyAvailable": available, "restoreRate": 500}})
    }

    #[test]
    fn data_is_data_and_not_found_is_null() {
        let found = sort_json(200, &json!({"data": {"job": 7}})).unwrap();
        assert_eq!(found.data, Data { job: Some(7) });
        assert_eq!(sort_json(200, &json!({"data": {"job": null}})).unwrap().data, Data { job: None });
    }

    #[test]
    fn every_row_of_the_documented_table() {
        use Refusal::{Disconnected, Expired, Inactive, Unrecognised};
        let refused = [
            (401, json!({"message": "Access token expired"}), Expired),
            (401, json!({"message": "Token not recognized"}), Unrecognised),
            (
                401,
                json!({"message": "User has disconnected this app from their account. Please delete this token"}),
                Disconnected,
            ),
            (200, json!({"message": "User has disconnected this app from their account."}), Disconnected),
            (200, json!({"error": {"message": "This account is not active"}}), Inactive),
            (403, json!({"error": {"message": "This account is not active"}}), Inactive),
            (401, json!({"nonsense": true}), Unrecognised),
        ];
        for (status, body, refusal) in refused {
            assert_eq!(error(status, &body), ApiError::Unauthorized(refusal), "{status} {body}");
        }
        let hidden = json!({"data": null, "errors": [{"message": "The field jobs on an object of type Query was hidden due to permissions"}]});
        assert!(matches!(error(200, &hidden), ApiError::Hidden { .. }));
        let variable =
            json!({"errors": [{"message": "Variable $first is invalid", "extensions": {"problems": []}}]});
        assert!(matches!(error(200, &variable), ApiError::Rejected { .. }));
        let document =
            json!({"data": null, "errors": [{"message": "Field 'updatedAt' doesn't exist on type 'Task'"}]});
        assert!(matches!(error(200, &document), ApiError::Rejected { .. }));
        let crowded = json!({"message": "Too many requests"});
        assert!(matches!(error(429, &crowded), ApiError::TooMany { .. }));
        for status in [500, 502, 503] {
            assert!(matches!(
                error(status, &json!({"message": "Service temporarily unavailable"})),
                ApiError::Unavailable { .. }
            ));
        }
        assert!(matches!(
            error(200, &json!({"message": "Service temporarily unavailable"})),
            ApiError::Unavailable { .. }
        ));
    }

    #[test]
    fn what_fits_nothing_documented_is_a_failed_read_never_an_empty_one() {
        for body in
            [json!({}), json!({"data": null}), json!({"data": {"job": "seven"}}), json!({"errors": []})]
        {
            assert!(matches!(error(200, &body), ApiError::Unexpected { .. }), "{body}");
        }
        for (body, is_html) in [("", false), ("{\"data\":{\"jo", false), ("<html>", false), ("<html>", true)]
        {
            let head = Head { status: 200, is_html, ..Head::default() };
            let result = sort::<Data>(&head, body.as_bytes());
            assert!(matches!(result, Err(ApiError::Unavailable { .. })), "{body} {result:?}");
        }
        assert!(matches!(error(302, &json!({})), ApiError::Unexpected { .. }));
        assert!(matches!(error(200, &json!([])), ApiError::Unexpected { .. }));
    }

    #[test]
    fn throttled_says_how_long_to_wait() {
        let body = |requested, available| {
            json!({"errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}],
                   "extensions": {"cost": budget(requested, available)}})
        };
        let expected =
            ApiError::Throttled { requested: 1500, available: 250, wait: SignedDuration::from_millis(2500) };
        assert_eq!(error(200, &body(1500, 250)), expected);
        assert!(matches!(error(200, &body(10_001, 10_000)), ApiError::Rejected { .. }), "it will never run");
    }

    #[test]
    fn an_answer_in_another_version_is_refused() {
        let body =
            |version: &str| json!({"data": {"job": 7}, "extensions": {"versioning": {"version": version}}});
        assert!(sort_json(200, &body(API_VERSION)).is_ok());
        let error = error(200, &body("2022-09-01")).to_string();
        assert!(error.contains("2022-09-01"), "{error}");
    }

    #[test]
    fn a_wish_to_be_left_alone_is_bounded() {
        let date = "2026-03-10T12:00:00Z".parse().ok();
        assert_eq!(rest("30", None), Some(SignedDuration::from_secs(30)));
        assert_eq!(rest("99999999999", None), Some(LONGEST_REST));
        assert_eq!(rest("Tue, 10 Mar 2026 12:05:00 GMT", date), Some(SignedDuration::from_mins(5)));
        assert_eq!(rest("Wed, 11 Mar 2026 12:05:00 GMT", date), Some(LONGEST_REST));
        assert_eq!(rest("Tue, 10 Mar 2026 12:05:00 GMT", None), None, "whose clock?");
        assert_eq!(rest("soon", date), None);
    }

    #[test]
    fn partial_data_says_what_was_hidden() {
        let body = json!({"data": {"job": null}, "errors": [{"message": "An object of type User was hidden due to permissions"}]});
        let answer = sort_json(200, &body).unwrap();
        assert_eq!(answer.hidden.as_deref(), Some("An object of type User was hidden due to permissions"));
    }

    #[test]
    fn no_value_of_an_answer_gets_into_an_error() {
        let body = json!({"data": {"job": "john@example.com"}});
        assert!(!error(200, &body).to_string().contains("john"));
    }

    #[test]
    fn cost_is_read() {
        let body = json!({"data": {"job": 1}, "extensions": {"cost": budget(142, 9953)}});
        let cost = sort_json(200, &body).unwrap().cost.unwrap();
        assert_eq!((cost.requested, cost.throttle_status.currently_available), (142, 9953));
    }
}
