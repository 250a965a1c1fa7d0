//! Decides when to try a delivery again, by a typed outcome and a fixed schedule. Pure.

use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};

use crate::clock::plus;
use crate::domain::model::DeadReason;

/// The wait before each attempt. The first attempt is made at once. After the last one the ask is a dead
/// letter.
pub const SCHEDULE: [SignedDuration; 10] = [
    SignedDuration::ZERO,
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
    SignedDuration::from_hours(14),
    SignedDuration::from_hours(20),
    SignedDuration::from_hours(24),
];

/// The longest `Retry-After` that is honoured.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// The outcome of one attempt, as far as the policy needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 2xx: the receiver has it.
    Accepted { status: u16 },
    /// 400, 413, 415, 422: the receiver will never take this payload.
    Refused { status: u16 },
    /// 410: the receiver is gone for every payload.
    Gone,
    /// Everything else (no answer, 3xx, other 4xx, 5xx) is tried again.
    Failed {
        status: Option<u16>,
        /// The wait that the receiver asks for.
        retry_after: Option<SignedDuration>,
    },
}

impl Reply {
    /// Sorts an HTTP status. 401 and 404 are retried too: a receiver gives both while it is being deployed.
    pub fn from_status(status: u16, retry_after: Option<SignedDuration>) -> Self {
        match status {
            200..=299 => Self::Accepted { status },
            400 | 413 | 415 | 422 => Self::Refused { status },
            410 => Self::Gone,
            _ => Self::Failed { status: Some(status), retry_after },
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Delivered,
    DueAgain {
        at: Timestamp,
    },
    Dead(DeadReason),
    /// Nothing more is sent to this receiver until the operator resumes it. The ask stays queued.
    ReceiverGone,
}

/// Decides what follows attempt number `attempt` (counted from 1), which ended at `now` with `reply`.
///
/// `entropy` spreads asks that failed together: the scheduled wait varies by up to a tenth. A receiver's
/// `Retry-After` can lengthen the wait up to [`LONGEST_WAIT`], but never shorten it.
pub fn next(attempt: u32, reply: &Reply, now: Timestamp, entropy: u64) -> Next {
    match reply {
        Reply::Accepted { .. } => Next::Delivered,
        Reply::Refused { .. } => Next::Dead(DeadReason::Refused),
        Reply::Gone => Next::ReceiverGone,
        Reply::Failed { retry_after, .. } => {
            let Some(wait) = usize::try_from(attempt).ok().and_then(|made| SCHEDULE.get(made)) else {
                return Next::Dead(DeadReason::Exhausted);
            };
            let asked = retry_after.unwrap_or(SignedDuration::ZERO).min(LONGEST_WAIT);
            Next::DueAgain { at: plus(now, jittered(*wait, entropy).max(asked)) }
        }
    }
}

fn jittered(wait: SignedDuration, entropy: u64) -> SignedDuration {
    let span = wait.as_millis() / 5;
    if span <= 0 {
        return wait;
    }
    let offset = i128::from(entropy) % (span + 1) - span / 2;
    wait + SignedDuration::from_millis_i128(offset)
}

/// Reads a `Retry-After` header in either form (RFC 9110 §10.2.3): seconds, or an HTTP date.
pub fn retry_after(value: &str, now: Timestamp) -> Option<SignedDuration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than an i64 holds mean a very long time, not a missing value.
        return Some(value.parse().map_or(SignedDuration::MAX, SignedDuration::from_secs));
    }
    let until = DateTimeParser::new().parse_timestamp(value).ok()?;
    Some(until.duration_since(now).max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(retry_after: Option<SignedDuration>) -> Reply {
        Reply::Failed { status: Some(503), retry_after }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn statuses_are_sorted_by_what_they_promise() {
        for status in [200, 201, 204, 299] {
            assert_eq!(Reply::from_status(status, None), Reply::Accepted { status });
        }
        for status in [400, 413, 415, 422] {
            assert_eq!(Reply::from_status(status, None), Reply::Refused { status });
        }
        assert_eq!(Reply::from_status(410, None), Reply::Gone);
        for status in [301, 302, 401, 403, 404, 408, 409, 429, 500, 502, 503] {
            assert_eq!(
                Reply::from_status(status, None),
                Reply::Failed { status: Some(status), retry_after: None }
            );
        }
    }

    #[test]
    fn ten_attempts_and_then_a_dead_letter() {
        let now = at("2026-01-01T00:00:00Z");
        let mut waits = 0;
        for attempt in 1.. {
            match next(attempt, &failed(None), now, 7) {
                Next::DueAgain { .. } => waits += 1,
                other => {
                    assert_eq!(other, Next::Dead(DeadReason::Exhausted));
                    assert_eq!(attempt, 10);
                    break;
                }
            }
        }
        assert_eq!(waits, 9);
    }

    #[test]
    fn a_refusal_is_final_and_gone_keeps_the_ask() {
        let now = at("2026-01-01T00:00:00Z");
        assert_eq!(next(1, &Reply::Refused { status: 422 }, now, 0), Next::Dead(DeadReason::Refused));
        assert_eq!(next(1, &Reply::Gone, now, 0), Next::ReceiverGone);
        assert_eq!(next(10, &Reply::Gone, now, 0), Next::ReceiverGone);
    }

    #[test]
    fn what_failed_together_comes_again_apart_by_a_tenth_either_way() {
        let (wait, span) = (SignedDuration::from_secs(100), 20_000);
        assert_eq!(jittered(wait, 0), SignedDuration::from_secs(90));
        assert_eq!(jittered(wait, span / 2), wait);
        assert_eq!(jittered(wait, span), SignedDuration::from_secs(110));
        assert_eq!(jittered(wait, span + 1), SignedDuration::from_secs(90));
        // Nothing can be spread.
        assert_eq!(jittered(SignedDuration::ZERO, 3), SignedDuration::ZERO);
        assert_eq!(jittered(SignedDuration::from_millis(4), 3), SignedDuration::from_millis(4));
        // The least that can.
        assert_eq!(jittered(SignedDuration::from_millis(5), 1), SignedDuration::from_millis(6));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now = at("1999-12-31T23:58:59Z");
        assert_eq!(retry_after("120", now), Some(SignedDuration::from_secs(120)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 23:59:59 GMT", now), Some(SignedDuration::from_secs(60)));
        assert_eq!(retry_after("Fri, 31 Dec 1999 00:00:00 GMT", now), Some(SignedDuration::ZERO));
        assert_eq!(retry_after("99999999999999999999", now), Some(SignedDuration::MAX));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-5", now), None);
        assert_eq!(retry_after("", now), None);
    }

    proptest! {
        #[test]
        fn a_wait_is_never_shorter_than_nine_tenths_nor_longer_than_a_day_and_a_tenth(
            attempt in 1_u32..10, entropy: u64, seconds in 0_i64..1_000_000,
        ) {
            let now = at("2026-01-01T00:00:00Z");
            let asked = SignedDuration::from_secs(seconds);
            let Next::DueAgain { at } = next(attempt, &failed(Some(asked)), now, entropy) else {
                panic!("attempt {attempt} is not the last one");
            };
            let wait = at.duration_since(now);
            let schedule = SCHEDULE[attempt as usize];
            prop_assert!(wait >= schedule * 9 / 10);
            prop_assert!(wait >= asked.min(LONGEST_WAIT));
            prop_assert!(wait <= (schedule * 11 / 10).max(LONGEST_WAIT));
        }
    }
}
