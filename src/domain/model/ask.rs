//! The message to the review platform. Field names are a promise to receivers.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, AskId, ContactKey, EncodedId, Subject, Trigger, WorkRef};

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
