//! Encodes values: a version byte, then JSON. Every type has a frozen sample in this module's tests that must
//! still decode. A change that breaks one needs a new version and a migration.

use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::StoreError;
use crate::domain::endpoints::{Asked, Endpoints, LastHeard};
use crate::domain::forward::{Pending as Forwarded, Sequence};
use crate::domain::gaps::GapMarks;
use crate::domain::model::{
    Account, ActionRecord, Alert, ApiKey, AskOf, Burst, Cause, ClientSnapshot, Contacted, DayTally, Decision,
    Forgotten, Health, Link, Marker, Noted, OpenTally, OutboxEntry, Pending, ReceiverState, Review, Seen,
    Suppression,
};
use crate::domain::pace::Pace;
use crate::domain::webhook_event::InboxEntry;

pub(super) trait Stored: Serialize + DeserializeOwned {
    const FAMILY: &'static str;
    const VERSION: u8 = 1;
}

macro_rules! stored {
    ($($type:ty = $family:literal $(version $version:literal)?),+ $(,)?) => {
        $(impl Stored for $type {
            const FAMILY: &'static str = $family;
            $(const VERSION: u8 = $version;)?
        })+

        /// What decodes must encode to something that decodes to the same.
        #[cfg(feature = "fuzzing")]
        pub(super) fn fuzzed(bytes: &[u8]) {
            $(match decode::<$type>(bytes) {
                Ok(value) => {
                    let again = encode(&value);
                    let same = decode::<$type>(&again).is_ok_and(|value| encode(&value) == again);
                    assert!(same, concat!($family, " does not read back"));
                }
                Err(error) => assert!(error.to_string().len() < 300, "a value in an error"),
            })+
        }
    };
}

stored! {
    Account = "account",
    ActionRecord = "record of a write",
    Alert = "alert",
    ApiKey = "key of the API",
    AskOf = "index of asks",
    Cause = "cause",
    Forgotten = "note of somebody forgotten",
    Forwarded = "event to forward",
    Sequence = "count of events",
    Review = "review",
    Burst = "burst",
    ClientSnapshot = "client's card",
    Contacted = "contact note",
    Decision = "decision",
    Endpoints = "webhook endpoints",
    Asked = "requested events",
    GapMarks = "known lists",
    DayTally = "tally of a day",
    OpenTally = "tally of what waits",
    LastHeard = "heard topics",
    Health = "health note",
    Link = "link",
    Marker = "marker",
    Noted = "what was noted with an ask",
    OutboxEntry = "outbox entry" version 2,
    Pace = "pace",
    Pending = "pending authorisation",
    ReceiverState = "receiver state",
    Seen = "reported record",
    Suppression = "suppression",
    Timestamp = "instant",
    InboxEntry = "event",
    u32 = "number",
    u64 = "counter",
}

pub(super) fn encode<V: Stored>(value: &V) -> Vec<u8> {
    let mut bytes = vec![V::VERSION];
    // Plain data with text keys cannot fail to encode, and a Vec accepts every write.
    let written = serde_json::to_writer(&mut bytes, value);
    debug_assert!(written.is_ok(), "{} does not encode", V::FAMILY);
    bytes
}

pub(super) fn decode<V: Stored>(bytes: &[u8]) -> Result<V, StoreError> {
    let corrupt = |detail: String| StoreError::Corrupt { family: V::FAMILY, detail };
    match bytes.split_first() {
        Some((version, json)) if *version == V::VERSION => serde_json::from_slice(json)
            .map_err(|error| corrupt(format!("{:?} at byte {}", error.classify(), error.column()))),
        Some((version, _)) => Err(corrupt(format!("version {version}, this program reads {}", V::VERSION))),
        None => Err(corrupt("empty".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes written by an earlier version. Never change a line: add one.
    macro_rules! samples {
        ($($name:ident: $type:ty = $json:literal,)+) => {
            $(#[test]
            fn $name() {
                let mut bytes = vec![<$type as Stored>::VERSION];
                bytes.extend($json.as_bytes());
                let value: $type = decode(&bytes).unwrap();
                assert_eq!(String::from_utf8_lossy(&encode(&value)), String::from_utf8_lossy(&bytes));
            })+
        };
    }

    samples! {
        asked_of_jobber: Asked = r#"{"url":"https://a.example.com/webhooks/jobber","there":["JOB_CLOSED"],"refused":{"PAYMENT_CREATE":{"at":"2026-03-10T12:00:00Z","why":"no scope"}}}"#,
        day_tally: DayTally = r#"{"asked":3,"skipped":{"too_old":1}}"#,
        standing: OpenTally = r#"{"waiting":3,"held":0}"#,
        gap_marks: GapMarks = r#"{"looked_at":"2026-03-10T12:00:00Z","known_to":{"quote":"2026-03-10T11:58:00Z"},"topics":["QUOTE_CREATE"]}"#,
        last_heard: LastHeard = r#"{"JOB_CLOSED":"2026-03-10T12:00:00Z"}"#,
        account: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{"jobs":"2026-03-10T09:00:00Z"},"reconciled_at":null}"#,
        lost_account: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"invoice_paid","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"needs_authorization","reason":"refresh_token_refused","since":"2026-03-02T00:00:00Z"},"watermarks":{},"reconciled_at":"2026-03-02T00:00:00Z"}"#,
        action_begun: ActionRecord = r#"{"account":"Z2lk","key":"act_1","action":"jobs.close","by":"operator","target":"ajE=","input":"00ff","at":"2026-03-10T11:00:00Z","outcome":"begun"}"#,
        action_done: ActionRecord = r#"{"account":"Z2lk","key":"act_1","action":"clients.note","by":"api crm","input":"00ff","at":"2026-03-10T11:00:00Z","outcome":"done","ended_at":"2026-03-10T11:00:01Z","answer":{"id":"bjE="}}"#,
        action_refused: ActionRecord = r#"{"account":"Z2lk","key":"act_1","action":"jobs.update","by":"operator","target":"ajE=","input":"00ff","at":"2026-03-10T11:00:00Z","outcome":"refused","ended_at":"2026-03-10T11:00:01Z","errors":[{"message":"Title is too long","path":["input","title"]}]}"#,
        action_unknown: ActionRecord = r#"{"account":"Z2lk","key":"act_1","action":"api","by":"operator","input":"00ff","at":"2026-03-10T11:00:00Z","outcome":"unknown","ended_at":"2026-03-10T11:00:31Z","detail":"timeout"}"#,
        api_key: ApiKey = r#"{"name":"crm","account":null,"may":["clients.note","asks.review"],"hash":"00ff","created_at":"2026-03-10T11:00:00Z"}"#,
        ask_of: AskOf = r#"{"account":"Z2lk","work":{"kind":"job","id":"ajE="}}"#,
        review: Review = r#"{"account":"Z2lk","work":{"kind":"job","id":"ajE="},"at":"2026-03-12T11:00:00Z","rating":5.0,"text":"Great!","url":"https://example.com/r/1"}"#,
        cause: Cause = r#"{"id":"ask_1","what":"ask.delivered","account":"Z2lk","at":"2026-03-10T11:00:01Z","work":{"kind":"job","id":"ajE="},"ask":"ask_1"}"#,
        event_to_forward: Forwarded = r#"{"topic":"QUOTE_APPROVED","item":"cTE=","occurred_at":"2026-03-10T11:00:00Z","received_at":"2026-03-10T11:00:01Z","sequence":3}"#,
        sequence: Sequence = r#"{"count":3,"at":"2026-03-10T11:00:01Z"}"#,
        event_due: OutboxEntry = r#"{"id":"evt_1","account":"Z2lk","message":"event","topic":"QUOTE_APPROVED","work":{"kind":"record","id":"cTE="},"to":"00ff","occurred_at":"2026-03-10T10:59:00Z","sequence":3,"body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":0,"failures":0,"state":"due","at":"2026-03-10T11:05:00Z"}"#,
        health: Health = r#"{"last_success":"2026-03-01T00:00:00Z","failing_since":null,"last_error":null,"needs_operator":false,"asking_fails_since":null,"last_event":null}"#,
        waiting: Decision = r#"{"work":{"kind":"job","id":"ajE="},"trigger":"job_completed","finished_at":"2026-03-10T09:00:00Z","at":"2026-03-10T09:05:00Z","outcome":"waiting","due_at":"2026-03-10T11:00:00Z","subject":{"client_id":"YzE=","job_id":"ajE=","job_number":112}}"#,
        asked: Decision = r#"{"work":{"kind":"visit","id":"djE="},"trigger":"visit_completed","finished_at":"2026-03-10T09:00:00Z","at":"2026-03-10T11:00:00Z","outcome":"asked","ask_id":"ask_1","delivery":{"state":"delivered","at":"2026-03-10T11:00:01Z","status":200,"attempts":1},"subject":{"client_name":"John Smith","phone":"+15551234567","email":"john@example.com","job_title":"Water Heater Installation","invoice_number":"77"}}"#,
        dead: Decision = r#"{"work":{"kind":"visit","id":"djE="},"trigger":"visit_completed","finished_at":"2026-03-10T09:00:00Z","at":"2026-03-10T11:00:00Z","outcome":"asked","ask_id":"ask_1","delivery":{"state":"dead","reason":"refused"},"subject":{}}"#,
        skipped: Decision = r#"{"work":{"kind":"invoice","id":"aTE="},"trigger":"invoice_paid","finished_at":"2026-03-10T09:00:00Z","at":"2026-03-10T11:00:00Z","outcome":"skipped","reason":"no_contact","saw":{"emails":"0","phones":"1"},"subject":{}}"#,
        held: Decision = r#"{"work":{"kind":"job","id":"ajE="},"trigger":"job_completed","finished_at":"2026-03-10T09:00:00Z","at":"2026-03-10T09:05:00Z","outcome":"held","due_at":"2026-03-10T11:00:00Z","since":"2026-03-10T09:05:00Z","subject":{}}"#,
        held_once: Decision = r#"{"work":{"kind":"job","id":"ajE="},"trigger":"job_completed","finished_at":"2026-03-10T09:00:00Z","at":"2026-03-10T09:05:00Z","outcome":"waiting","due_at":"2026-03-10T11:00:00Z","held_for":86400,"subject":{}}"#,
        burst: Burst = r#"{"noticed_at":"2026-03-10T09:05:00Z","begun_at":"2026-03-10T08:50:00Z","ended_at":"2026-03-10T09:05:00Z","works":60,"usual":3,"examples":["job 112","job 113"]}"#,
        pace: Pace = r#"{"days":{"20522":3},"minutes":{"29552400":2,"29552401":1}}"#,
        marker: Marker = r#"{"by":"visit","ask_id":"ask_1","at":"2026-03-10T11:00:00Z"}"#,
        ask_due: OutboxEntry = r#"{"id":"ask_1","account":"Z2lk","message":"ask","work":{"kind":"job","id":"ajE="},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":2,"failures":2,"state":"due","at":"2026-03-10T11:05:00Z","last":{"at":"2026-03-10T11:00:05Z","status":503,"error":"HTTP 503"}}"#,
        ask_leased: OutboxEntry = r#"{"id":"ask_1","account":"Z2lk","message":"ask","work":{"kind":"job","id":"ajE="},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":1,"failures":0,"state":"leased","until":"2026-03-10T11:01:00Z"}"#,
        ask_dead: OutboxEntry = r#"{"id":"ask_1","account":"Z2lk","message":"ask","work":{"kind":"job","id":"ajE="},"trigger":"job_completed","body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":10,"failures":10,"state":"dead","at":"2026-03-14T11:00:00Z","reason":"exhausted"}"#,
        change_due: OutboxEntry = r#"{"id":"evt_1","account":"Z2lk","message":"change","topic":"client.updated","work":{"kind":"client","id":"YzE="},"body":"{}","created_at":"2026-03-10T11:00:00Z","attempt":0,"failures":0,"state":"due","at":"2026-03-10T11:05:00Z"}"#,
        noted: Noted = r#"{"contacts":["00ff"],"jobs":["ajE="]}"#,
        receiver: ReceiverState = r#"{"stopped_at":"2026-03-10T11:00:00Z"}"#,
        open_link: Link = r#"{"id":"lnk_1","label":"Ace","trigger":"job_completed","account":null,"created_at":"2026-03-01T00:00:00Z","expires_at":"2026-03-08T00:00:00Z","state":"open"}"#,
        link_with_a_brand: Link = r#"{"id":"lnk_1","label":"Ace","trigger":"job_completed","account":null,"brand":{"name":"Stars"},"created_at":"2026-03-01T00:00:00Z","expires_at":"2026-03-08T00:00:00Z","state":"open"}"#,
        started_link: Link = r#"{"id":"lnk_1","label":"Ace","trigger":"job_completed","account":"Z2lk","created_at":"2026-03-01T00:00:00Z","expires_at":"2026-03-08T00:00:00Z","state":"started","browser":"00ff"}"#,
        started_link_with_time: Link = r#"{"id":"lnk_1","label":"Ace","trigger":"job_completed","account":null,"created_at":"2026-03-01T00:00:00Z","expires_at":"2026-03-08T00:00:00Z","state":"started","browser":"00ff","at":"2026-03-01T00:10:00Z"}"#,
        used_link: Link = r#"{"id":"lnk_1","label":"Ace","trigger":"job_completed","account":null,"created_at":"2026-03-01T00:00:00Z","expires_at":"2026-03-08T00:00:00Z","state":"used","by":"Z2lk","at":"2026-03-02T00:00:00Z"}"#,
        used_link_with_browser: Link = r#"{"id":"lnk_1","label":"Ace","trigger":"job_completed","account":null,"created_at":"2026-03-01T00:00:00Z","expires_at":"2026-03-08T00:00:00Z","state":"used","by":"Z2lk","at":"2026-03-02T00:00:00Z","browser":"00ff"}"#,
        revoked_link: Link = r#"{"id":"lnk_1","label":"Ace","trigger":"job_completed","account":null,"created_at":"2026-03-01T00:00:00Z","expires_at":"2026-03-08T00:00:00Z","state":"revoked","at":"2026-03-02T00:00:00Z"}"#,
        pending: Pending = r#"{"link":"00ff","browser":"11ee","trigger":"visit_completed","expires_at":"2026-03-01T00:15:00Z"}"#,
        instant: Timestamp = r#""2026-03-01T00:15:00Z""#,
        contacted: Contacted = r#"{"account":"Z2lk","ask_id":"ask_1","at":"2026-03-10T11:00:00Z"}"#,
        forgotten: Forgotten = r#"{"at":"2026-03-10T11:00:00Z","of":"00ff"}"#,
        suppression: Suppression = r#"{"what":"+15551234567","account":null,"note":"asked us to stop","at":"2026-03-10T11:00:00Z"}"#,
        account_with_a_brand: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","brand":{"name":"Stars","contact":"help@example.com"},"trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{},"reconciled_at":null}"#,
        account_with_a_history: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{},"reconciled_at":null,"history":[{"at":"2026-03-01T00:00:00Z","what":"connected"},{"at":"2026-03-02T00:00:00Z","what":"lost","reason":"no_token"},{"at":"2026-03-03T00:00:00Z","what":"disconnected"},{"at":"2026-03-03T00:00:00Z","what":"paused"},{"at":"2026-03-04T00:00:00Z","what":"resumed"}],"digest_told":"2026-03-09T12:00:00Z"}"#,
        account_with_zone: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{},"reconciled_at":null,"timezone":"America/New_York"}"#,
        account_with_switches: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{},"reconciled_at":null,"switches":["2026-03-10T09:00:00Z",{"jobs":{"seen":50,"off":49},"invoices":{"seen":0,"off":0},"clients":{"seen":41,"off":2}}]}"#,
        account_without_texts: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{},"reconciled_at":null,"switches":["2026-03-10T09:00:00Z",{"jobs":{"seen":50,"off":49},"invoices":{"seen":0,"off":0},"clients":{"seen":41,"off":2},"texts":{"seen":40,"off":40}}]}"#,
        account_of_its_own_kind: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"disconnected","at":"2026-03-02T00:00:00Z"},"watermarks":{},"reconciled_at":null,"paused_at":"2026-03-02T00:00:00Z","overrides":{"keys":{"delay":"4h","min_total":100},"body":"{}"}}"#,
        alert: Alert = r#"{"key":"connection_lost/Z2lk","kind":"connection_lost","account":"Z2lk","account_name":"Ace Plumbing","since":"2026-03-01T00:00:00Z","raised_at":"2026-03-01T00:01:00Z","summary":"Ace Plumbing is not connected any more","action":"send a link","held_up":0,"told":true}"#,
        ended_alert: Alert = r#"{"key":"jobber_unreachable/","kind":"jobber_unreachable","since":"2026-03-01T00:00:00Z","raised_at":"2026-03-01T00:30:00Z","summary":"3 accounts cannot be read","action":"nothing","held_up":2,"told":false,"over":{"at":"2026-03-01T02:00:00Z","late":4,"missed":1}}"#,
        wish: InboxEntry = r#"{"wish":"read","work":{"kind":"job","id":"ajE="},"again":0}"#,
        wish_of_a_client: InboxEntry = r#"{"wish":"client","id":"YzE=","again":3}"#,
        wish_to_sweep: InboxEntry = r#"{"wish":"sweep","again":0}"#,
        account_with_events: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{},"reconciled_at":null,"events":true}"#,
        endpoints: Endpoints = r#"[{"topic":"JOB_CLOSED","id":"ZTE=","by":"Z2lk"},{"topic":"CLIENT_UPDATE","id":null,"by":null}]"#,
        card: ClientSnapshot = r#"{"id":"YzE=","name":"John Smith","first_name":"John","last_name":"Smith","company_name":null,"is_archived":false,"receives_review_requests":true,"phones":[{"number":"+15551234567","takes_texts":true,"is_primary":true}],"emails":[{"address":"john@example.com","is_primary":true}],"updated_at":"2026-03-10T11:00:00Z"}"#,
        account_that_is_watched: Account = r#"{"id":"Z2lk","name":"Ace Plumbing","label":"ace","trigger":"job_completed","connected_at":"2026-03-01T00:00:00Z","asks_from":"2026-03-01T00:00:00Z","connection":{"state":"connected"},"watermarks":{},"reconciled_at":null,"clients_watermark":"2026-03-10T09:00:00Z","watched":{"jobs":"2026-03-10T09:00:00Z"}}"#,
        health_with_events: Health = r#"{"last_success":null,"failing_since":null,"last_error":null,"needs_operator":false,"asking_fails_since":null,"last_event":null,"last_webhook":"2026-03-10T09:00:00Z","unheard":2}"#,
        seen: Seen = r#"{"at":"2026-03-10T11:00:00Z","digest":"00ff"}"#,
        seen_before: Seen = r#""2026-03-10T11:00:00Z""#,
        receiver_that_takes: ReceiverState = r#"{"stopped_at":null,"delivered_at":"2026-03-10T11:00:00Z"}"#,
        number: u32 = "2",
        counter: u64 = "1234567890123",
    }

    #[test]
    fn what_does_not_decode_names_its_family_and_nothing_of_its_content() {
        for bytes in [&b""[..], b"\x02{}", b"\x01{\"secret\":\"hunter2\"}", b"\x01not json"] {
            let error = decode::<Account>(bytes).unwrap_err().to_string();
            assert!(error.starts_with("a value of the store cannot be read (account)"), "{error}");
            assert!(!error.contains("hunter2"));
        }
    }
}
