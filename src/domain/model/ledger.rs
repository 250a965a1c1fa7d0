//! What the program keeps: accounts and their links, one decision per finished work, asks on their way.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, AskId, ContactKey, EncodedId, LinkId, Stream, Trigger, WorkKind, WorkRef};

/// A connected Jobber account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Jobber's id of the account.
    pub id: AccountId,
    /// The account's name in Jobber.
    pub name: String,
    /// The name the admin gave when making the link.
    pub label: String,
    /// What fires an ask.
    pub trigger: Trigger,
    /// When it was first connected.
    pub connected_at: Timestamp,
    /// Work finished before this is never asked about: the first connection, or the last change of trigger.
    pub asks_from: Timestamp,
    /// Whether Jobber still lets us in.
    pub connection: Connection,
    /// High-water instant of each stream that was swept.
    #[serde(default)]
    pub watermarks: BTreeMap<Stream, Timestamp>,
    /// When the look-back over the whole `max_age` window last succeeded.
    #[serde(default)]
    pub reconciled_at: Option<Timestamp>,
    /// The time zone of the user who authorised, as Jobber names it; `None` as long as it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// Since when an admin has it rest: nothing is read, decided or sent, and what waits is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_at: Option<Timestamp>,
    /// What it does otherwise than `[review]` says.
    #[serde(default, skip_serializing_if = "Overrides::is_empty")]
    pub overrides: Overrides,
    /// Where the next look at its clients begins, if they are watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients_watermark: Option<Timestamp>,
    /// Where the next look at each stream begins that is watched for whoever listens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub watched: BTreeMap<Stream, Timestamp>,
    /// Who at Jobber sends its events, by topic: Jobber cannot list them (`api-behaviour.md` §4).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub endpoints: BTreeMap<String, EncodedId>,
}

impl Account {
    /// An account that was connected just now, at `at`.
    pub fn new(id: AccountId, name: String, label: String, trigger: Trigger, at: Timestamp) -> Self {
        Self {
            id,
            name,
            label,
            trigger,
            connected_at: at,
            asks_from: at,
            connection: Connection::Connected,
            watermarks: BTreeMap::new(),
            reconciled_at: None,
            timezone: None,
            paused_at: None,
            overrides: Overrides::default(),
            clients_watermark: None,
            watched: BTreeMap::new(),
            endpoints: BTreeMap::new(),
        }
    }

    /// Whether there is anything to read and to decide for it now.
    pub fn is_active(&self) -> bool {
        self.connection.is_connected() && self.paused_at.is_none()
    }

    /// Its state's name in output.
    pub fn state(&self) -> &'static str {
        match (&self.connection, self.paused_at) {
            (Connection::Connected, Some(_)) => "paused",
            (connection, _) => connection.as_str(),
        }
    }
}

/// Settings of one account: keys below `review`, such as `delay` or `window.sunday`, and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Overrides {
    /// By key.
    pub keys: BTreeMap<String, serde_json::Value>,
    /// A template of the whole body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

impl Overrides {
    /// Whether the account does everything as `[review]` says.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.body.is_none()
    }
}

/// Whether Jobber still lets us in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connection {
    /// It does, as far as we know.
    Connected,
    /// It does not; only the contractor can mend it, with a link.
    NeedsAuthorization {
        /// Why.
        reason: LostReason,
        /// Since when we know.
        since: Timestamp,
    },
    /// An admin ended it, here and in Jobber.
    Disconnected {
        /// When.
        at: Timestamp,
    },
}

impl Connection {
    /// Whether polling makes sense.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected)
    }

    /// The state's name in output.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::NeedsAuthorization { .. } => "needs_authorization",
            Self::Disconnected { .. } => "disconnected",
        }
    }
}

/// Why a connection needs a new authorisation (`api-behaviour.md` §2 and §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostReason {
    /// Jobber refused the refresh token.
    RefreshTokenRefused,
    /// Jobber refused the refresh token, and an earlier refresh had never been answered: its pair was lost.
    RefreshInterrupted,
    /// The contractor disconnected the app in Jobber.
    DisconnectedInJobber,
    /// The Jobber account is not active any more.
    AccountInactive,
    /// There is no token for this account in the store.
    NoToken,
}

impl LostReason {
    /// One sentence for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::RefreshTokenRefused => {
                "Jobber refused the refresh token (spent elsewhere, admin deactivated, plan or app changed)"
            }
            Self::RefreshInterrupted => {
                "a refresh was cut off (a crash, or an answer that never came) and its tokens were lost"
            }
            Self::DisconnectedInJobber => "the app was disconnected in Jobber",
            Self::AccountInactive => "the Jobber account is not active",
            Self::NoToken => "there is no token for this account in the store",
        }
    }
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.describe())
    }
}

/// How the last sweeps of an account went. Kept apart from [`Account`]: losing it costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The last sweep that read everything it wanted.
    pub last_success: Option<Timestamp>,
    /// Since when sweeps fail, if they do.
    pub failing_since: Option<Timestamp>,
    /// What the last failure was.
    pub last_error: Option<String>,
    /// Whether that failure needs the operator: it does not heal itself.
    #[serde(default)]
    pub needs_operator: bool,
    /// Since when what is due cannot be read, if it cannot.
    #[serde(default)]
    pub asking_fails_since: Option<Timestamp>,
    /// The last finished work that was seen for the first time.
    pub last_event: Option<Timestamp>,
    /// The last event that Jobber sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_webhook: Option<Timestamp>,
    /// Finished works that a sweep found since then and no event told of.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unheard: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What could not be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What happened, in a sentence.
    pub detail: String,
    /// Whether it needs the operator; otherwise it heals itself.
    pub needs_operator: bool,
}

/// Words to find a decision by, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// Jobber's id of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<EncodedId>,
    /// The client's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_name: Option<String>,
    /// The number an ask would go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The address an ask would go to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The job, or the job behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<EncodedId>,
    /// That job's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_number: Option<i64>,
    /// That job's title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_title: Option<String>,
    /// The invoice's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice_number: Option<String>,
}

/// Finished work that waits for its moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The work.
    pub work: WorkRef,
    /// What it fired.
    pub trigger: Trigger,
    /// When it was finished.
    pub finished_at: Timestamp,
    /// The earliest moment to ask: completion plus `delay`, or later.
    pub due_at: Timestamp,
    /// When an admin said that it may be asked about although it is too old.
    pub released_at: Option<Timestamp>,
    /// What is known of it.
    pub subject: Subject,
}

/// Why a finished work is not asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// Finished before the contractor connected, or before the trigger was changed.
    BeforeConnection,
    /// Finished longer than `max_age` ago.
    TooOld,
    /// Reopened, uncompleted or unpaid since.
    NoLongerFinished,
    /// Jobber does not have it any more.
    NotFound,
    /// Jobber gives a status this version does not know.
    UnknownStatus,
    /// This work, or the job behind it, was asked about.
    AlreadyAsked,
    /// The invoice has no client.
    NoClient,
    /// One of Jobber's demo clients.
    SampleData,
    /// The client's card is archived.
    ClientArchived,
    /// The client does not want review requests.
    ClientOptedOut,
    /// Review requests are off for this job or invoice.
    WorkOptedOut,
    /// No phone that takes texts, and no e-mail address.
    NoContact,
    /// The client is a lead: nobody has worked for them.
    ClientIsLead,
    /// The client has the tag that says never.
    Tagged,
    /// An admin put this person on the list of those who are never asked.
    Suppressed,
    /// An admin ended the connection before its moment came.
    Disconnected,
    /// The work came to less than the settings want.
    BelowMinimum,
    /// The settings leave work with such a title out.
    TitleExcluded,
    /// The settings leave companies, or people, out.
    KindOfClient,
    /// This person was asked not long ago, perhaps through another card, work or trigger.
    AskedRecently,
    /// It was decided to ask, and nothing is sent.
    Shadow,
}

impl SkipReason {
    /// The name used in output and the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeConnection => "before_connection",
            Self::TooOld => "too_old",
            Self::NoLongerFinished => "no_longer_finished",
            Self::NotFound => "not_found",
            Self::UnknownStatus => "unknown_status",
            Self::AlreadyAsked => "already_asked",
            Self::NoClient => "no_client",
            Self::SampleData => "sample_data",
            Self::ClientArchived => "client_archived",
            Self::ClientOptedOut => "client_opted_out",
            Self::WorkOptedOut => "work_opted_out",
            Self::NoContact => "no_contact",
            Self::ClientIsLead => "client_is_lead",
            Self::Tagged => "tagged",
            Self::Suppressed => "suppressed",
            Self::Disconnected => "disconnected",
            Self::BelowMinimum => "below_minimum",
            Self::TitleExcluded => "title_excluded",
            Self::KindOfClient => "kind_of_client",
            Self::AskedRecently => "asked_recently",
            Self::Shadow => "shadow",
        }
    }

    /// One sentence for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::BeforeConnection => "finished before the account was connected (or its trigger changed)",
            Self::TooOld => "finished longer ago than max_age",
            Self::NoLongerFinished => "reopened before it was asked about",
            Self::NotFound => "Jobber does not have it any more",
            Self::UnknownStatus => "Jobber gives it a status this version does not know",
            Self::AlreadyAsked => "this work, or the job behind it, was asked about",
            Self::NoClient => "the invoice has no client",
            Self::SampleData => "one of Jobber's demo clients",
            Self::ClientArchived => "the client is archived in Jobber",
            Self::ClientOptedOut => "the client gets no review requests (switch on the client in Jobber)",
            Self::WorkOptedOut => "review requests are off for this work (switch in Jobber)",
            Self::NoContact => "no phone that takes texts and no e-mail address",
            Self::ClientIsLead => "the client is a lead",
            Self::Tagged => "the client has the tag that says never (review.never_tag)",
            Self::Disconnected => "the account was disconnected before its moment came",
            Self::Suppressed => "this person is on the list of those who are never asked (suppress)",
            Self::BelowMinimum => "the work came to less than review.min_total",
            Self::TitleExcluded => {
                "work with such a title is left out (review.only_titles, review.not_titles)"
            }
            Self::KindOfClient => "such clients are left out (review.clients)",
            Self::AskedRecently => "this person was asked within review.cooldown",
            Self::Shadow => "it would be asked about, and review.shadow is on: nothing is sent",
        }
    }

    /// Whether the same work, finished at the same recorded instant, is looked at again when a sweep
    /// sees it.
    pub fn frees_key(self) -> bool {
        matches!(self, Self::NoLongerFinished | Self::UnknownStatus)
    }
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of a finished work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// A candidate.
    Waiting {
        /// The earliest moment to ask.
        due_at: Timestamp,
    },
    /// Asked: an outbox entry was made. Final.
    Asked {
        /// The ask.
        ask_id: AskId,
        /// How its delivery stands.
        delivery: Delivery,
    },
    /// Not asked.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
}

/// How the delivery of an ask stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Delivery {
    /// In the outbox.
    Queued,
    /// The receiver took it.
    Delivered {
        /// When.
        at: Timestamp,
        /// The HTTP status it answered.
        status: u16,
        /// Attempts it took.
        attempts: u32,
    },
    /// Given up; kept as a dead letter.
    Dead {
        /// Why.
        reason: DeadReason,
    },
    /// An admin dropped it from the queue.
    Dropped,
}

/// The one record of what was decided about a finished work, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The work.
    pub work: WorkRef,
    /// What it fired.
    pub trigger: Trigger,
    /// When it was finished, as of this decision.
    pub finished_at: Timestamp,
    /// When this was decided.
    pub at: Timestamp,
    /// What was decided.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What the reason saw: name and value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub saw: BTreeMap<String, String>,
    /// When an admin said that it may be asked about although it is too old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// Whom and what it is about.
    #[serde(default)]
    pub subject: Subject,
}

/// Proof that something was asked about. Written with the ask, never removed by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The kind of work that was asked about. A job behind it carries the same value.
    pub by: WorkKind,
    /// The ask.
    pub ask_id: AskId,
    /// When.
    pub at: Timestamp,
}

/// The message to the review platform, before it is frozen into bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Webhook id and idempotency key.
    pub id: AskId,
    /// The work asked about.
    pub work: WorkRef,
    /// Every job behind it.
    pub job_ids: Vec<EncodedId>,
    /// When the work was finished.
    pub finished_at: Timestamp,
    /// What `explain` finds it by.
    pub subject: Subject,
    /// Every way in which the customer is reached.
    pub contacts: Vec<ContactKey>,
    /// What is sent.
    pub body: AskBody,
}

/// The last time a person was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contacted {
    /// Through which account.
    pub account: AccountId,
    /// By which ask.
    pub ask_id: AskId,
    /// When.
    pub at: Timestamp,
}

/// Somebody who is never asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// A number, an address or a card, as the admin wrote it.
    pub what: String,
    /// Only by this account; by none when absent.
    pub account: Option<AccountId>,
    /// Why.
    pub note: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

/// The JSON of an ask. Field names are a promise to receivers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskBody {
    /// Always `review.requested`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was decided to ask.
    pub timestamp: Timestamp,
    /// What fired.
    pub trigger: Trigger,
    /// The contractor.
    pub account: BodyAccount,
    /// The job, or the job behind a visit or an invoice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<BodyJob>,
    /// The visit, for `visit_completed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visit: Option<BodyVisit>,
    /// The customer.
    pub client: BodyClient,
    /// Where the work was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub property: Option<BodyProperty>,
    /// Who did it; may be empty.
    pub assigned_users: Vec<BodyPerson>,
    /// The invoice of an invoice trigger, or the newest one of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<BodyInvoice>,
    /// A ready sentence for the customer.
    pub message: String,
}

/// The contractor in an ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyAccount {
    /// Jobber's id of the account.
    pub id: AccountId,
    /// Its name in Jobber.
    pub name: String,
}

/// The job in an ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyJob {
    /// Jobber's id.
    pub id: EncodedId,
    /// The number people use.
    pub number: i64,
    /// Its title.
    pub title: Option<String>,
    /// `completed` or `open`.
    pub status: String,
    /// Jobber's own status.
    pub jobber_status: String,
    /// When it was closed.
    pub completed_at: Option<Timestamp>,
    /// The page in Jobber.
    pub url: String,
}

/// The visit in an ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyVisit {
    /// Jobber's id.
    pub id: EncodedId,
    /// Its title.
    pub title: Option<String>,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
}

/// The customer in an ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyClient {
    /// Jobber's id.
    pub id: EncodedId,
    /// Display name.
    pub name: String,
    /// First name, or the display name of a company.
    pub first_name: String,
    /// A number that takes texts.
    pub phone: Option<String>,
    /// An address.
    pub email: Option<String>,
}

/// Where the work was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyProperty {
    /// On one line.
    pub address: String,
}

/// Who did the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyPerson {
    /// Jobber's id of the user.
    pub id: EncodedId,
    /// First name.
    pub name: String,
}

/// The invoice in an ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BodyInvoice {
    /// Jobber's id.
    pub id: EncodedId,
    /// The number people use.
    pub number: String,
    /// Total in whole currency units.
    pub total: Option<f64>,
    /// Jobber's status.
    pub status: String,
}

/// An ask on its way: the exact bytes, and how far they got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Webhook id and idempotency key of every attempt.
    pub id: AskId,
    /// Whose ask.
    pub account: AccountId,
    /// The work asked about.
    pub work: WorkRef,
    /// What fired.
    pub trigger: Trigger,
    /// The bytes to send, frozen.
    pub body: String,
    /// When it was decided to ask.
    pub created_at: Timestamp,
    /// Attempts begun, ever: the fencing number of the lease.
    pub attempt: u32,
    /// Attempts that failed since the entry was queued or retried by hand: where it stands in the schedule.
    pub failures: u32,
    /// Where it stands.
    #[serde(flatten)]
    pub state: EntryState,
    /// What the last attempt brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastAttempt>,
}

/// Where an outbox entry stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum EntryState {
    /// Waits for its next attempt.
    Due {
        /// Not before this.
        at: Timestamp,
    },
    /// An attempt is under way.
    Leased {
        /// When the attempt counts as lost.
        until: Timestamp,
    },
    /// Given up.
    Dead {
        /// Since when.
        at: Timestamp,
        /// Why.
        reason: DeadReason,
    },
}

/// Why an ask became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadReason {
    /// The receiver said that this payload will never do (400, 413, 415, 422).
    Refused,
    /// Every attempt of the schedule failed.
    Exhausted,
}

impl fmt::Display for DeadReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Refused => "refused by the receiver",
            Self::Exhausted => "every attempt failed",
        })
    }
}

/// What one attempt brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastAttempt {
    /// When it ended.
    pub at: Timestamp,
    /// The HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// What went wrong, in a few words that hold nothing of the payload.
    pub error: String,
}

/// What is known of a receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverState {
    /// It answered 410: nothing is sent until an admin retries.
    pub stopped_at: Option<Timestamp>,
    /// When it last took something, give or take a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
}

/// A one-time authorisation link. Its secret is not here, only the secret's hash is its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The short name admins see.
    pub id: LinkId,
    /// Whom it is for.
    pub label: String,
    /// The trigger the page proposes.
    pub trigger: Trigger,
    /// For mending a known account: no other may be connected through it.
    #[serde(default)]
    pub account: Option<AccountId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it can be used.
    pub expires_at: Timestamp,
    /// Where it stands.
    #[serde(flatten)]
    pub state: LinkState,
}

/// Where a link stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LinkState {
    /// Nobody pressed its button yet.
    Open,
    /// Somebody pressed its button: only that browser can go on with it.
    Started {
        /// Hash of that browser's cookie.
        browser: String,
    },
    /// It connected an account.
    Used {
        /// Which one.
        by: AccountId,
        /// When.
        at: Timestamp,
    },
    /// An admin revoked it.
    Revoked {
        /// When.
        at: Timestamp,
    },
}

/// An authorisation under way at Jobber: what the `state` parameter stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Key of the link it began with.
    pub link: String,
    /// Hash of the browser's cookie.
    pub browser: String,
    /// The trigger that was chosen.
    pub trigger: Trigger,
    /// After this the answer is refused.
    pub expires_at: Timestamp,
}
