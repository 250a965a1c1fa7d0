//! The message to the review platform. Receivers rely on the field names.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AccountId, AskId, ContactKey, EncodedId, Subject, Trigger, WorkRef};

/// An ask before it is frozen into bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Webhook id and idempotency key.
    pub id: AskId,
    /// The work it asks about.
    pub work: WorkRef,
    /// Every job behind it.
    pub job_ids: Vec<EncodedId>,
    /// When the work was finished.
    pub finished_at: Timestamp,
    /// Fields by which `explain` finds it.
    pub subject: Subject,
    /// All contacts of the customer.
    pub contacts: Vec<ContactKey>,
    /// The JSON that is sent.
    pub body: AskBody,
}

/// The JSON of an ask. Receivers rely on the field names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AskBody {
    /// Always `review.requested`.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it was decided to ask.
    pub timestamp: Timestamp,
    /// The trigger that applied.
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
    /// Who did the work. May be empty.
    pub assigned_users: Vec<BodyPerson>,
    /// The invoice of an invoice trigger, or the newest one of the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invoice: Option<BodyInvoice>,
    /// A ready sentence for the customer.
    pub message: String,
    /// Texts that were made fit for a message, as Jobber has them. Absent if none was changed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub as_in_jobber: BTreeMap<String, String>,
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
    /// The number that people use.
    pub number: i64,
    /// The job's title.
    pub title: Option<String>,
    /// What the work is called: the title, or else the first line items.
    #[serde(default)]
    pub name: Option<String>,
    /// The names of the first line items, at most three.
    #[serde(default)]
    pub line_items: Vec<String>,
    /// `completed` or `open`.
    pub status: String,
    /// Jobber's own status.
    pub jobber_status: String,
    /// When it was closed.
    pub completed_at: Option<Timestamp>,
    /// The job's page in Jobber.
    pub url: String,
}

/// The visit in an ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyVisit {
    /// Jobber's id.
    pub id: EncodedId,
    /// The visit's title.
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
    /// A number that accepts text messages.
    pub phone: Option<String>,
    /// An e-mail address.
    pub email: Option<String>,
}

/// Where the work was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyProperty {
    /// The address on one line.
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
    /// The number that people use.
    pub number: String,
    /// Total in whole currency units.
    pub total: Option<f64>,
    /// Jobber's own status.
    pub status: String,
}
