//! The facts that the recheck reads from Jobber just before an ask.

use jiff::Timestamp;

use super::{EncodedId, InvoiceStatus, JobStatus, Record};

/// A phone number of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// In the international form, or as it was typed if it cannot be read as a number.
    pub number: String,
    /// As it was typed, if that is another text.
    pub typed: Option<String>,
    /// The client's main number.
    pub primary: bool,
    /// Whether this number accepts text messages.
    pub sms_allowed: bool,
}

/// An e-mail address of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAddress {
    /// The address.
    pub address: String,
    /// The client's main address.
    pub primary: bool,
}

/// The customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFacts {
    /// Jobber's id.
    pub id: EncodedId,
    /// Display name, or the company's name.
    pub name: String,
    /// First name, may be empty.
    pub first_name: String,
    /// Whether the card is a company's.
    pub is_company: bool,
    /// Whether the card is archived.
    pub is_archived: bool,
    /// Whether it is one of Jobber's demo clients.
    pub sample_data: bool,
    /// Whether no work was done for this client yet.
    pub is_lead: bool,
    /// Jobber's own switch for review requests.
    pub receives_review_requests: bool,
    /// The card's tags, as the contractor wrote them.
    pub tags: Vec<String>,
    /// All phone numbers.
    pub phones: Vec<Phone>,
    /// All e-mail addresses.
    pub emails: Vec<EmailAddress>,
}

/// The job itself, or the job behind a visit or an invoice.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFacts {
    /// Jobber's id.
    pub id: EncodedId,
    /// The number that people use.
    pub number: i64,
    /// Its title, if it has one. Most jobs have none.
    pub title: Option<String>,
    /// The names of its first line items, at most three.
    pub line_items: Vec<String>,
    /// Jobber's own status.
    pub status: JobStatus,
    /// Set when it was closed.
    pub completed_at: Option<Timestamp>,
    /// The page in Jobber.
    pub url: String,
    /// The job's switch for review requests.
    pub allow_review_request: bool,
    /// The job's total, in whole currency units.
    pub total: f64,
}

/// The visit of a `visit_completed` ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitFacts {
    /// Jobber's id.
    pub id: EncodedId,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// Set when it was completed.
    pub completed_at: Option<Timestamp>,
}

/// Whether and when the work of a job was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitsOfJob {
    /// The job has no visits.
    NoVisits,
    /// It has visits, and none was completed.
    NoneCompleted,
    /// When the last completed visit took place: its scheduled end, or its completion if that was earlier. Closing a
    /// job completes old visits with the instant of closing (`api-behaviour.md` §1, Visits).
    Completed(Timestamp),
}

/// The invoice of an invoice trigger, or the newest one of the job.
#[derive(Debug, Clone, PartialEq)]
pub struct InvoiceFacts {
    /// Jobber's id.
    pub id: EncodedId,
    /// The number that people use.
    pub number: String,
    /// Total in whole currency units, as Jobber states it.
    pub total: Option<f64>,
    /// Jobber's own status.
    pub status: InvoiceStatus,
    /// The invoice's switch for review requests.
    pub allow_review_request: bool,
}

/// A person who did the work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Jobber's id of the user.
    pub id: EncodedId,
    /// First name if there is one, else the full name.
    pub name: String,
}

/// Everything the decision looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The piece of work as a sweep would see it now.
    pub record: Record,
    /// The customer. Invoices can lack one.
    pub client: Option<ClientFacts>,
    /// The job, or the first job behind an invoice.
    pub job: Option<JobFacts>,
    /// Every job behind this work. An ask marks them all.
    pub job_ids: Vec<EncodedId>,
    /// The visit, for `visit_completed`.
    pub visit: Option<VisitFacts>,
    /// The invoice, for the invoice triggers and for jobs that have one.
    pub invoice: Option<InvoiceFacts>,
    /// Where the work was done, on one line.
    pub address: Option<String>,
    /// The visits of the job, for `job_completed`. `None` if Jobber hides them from this app.
    pub visits: Option<VisitsOfJob>,
    /// Who did the work. Empty if Jobber hides users from this app.
    pub crew: Vec<Person>,
}
