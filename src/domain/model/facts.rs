//! What the recheck reads fresh, at the moment of asking.

use jiff::Timestamp;

use super::{EncodedId, InvoiceStatus, JobStatus, Record};

/// A phone number of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// The normalised number where Jobber has one, else as it was typed.
    pub number: String,
    /// The client's main number.
    pub primary: bool,
    /// Whether this number takes texts.
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
    /// Display name; a company's name for companies.
    pub name: String,
    /// First name, may be empty.
    pub first_name: String,
    /// The card stands for a company.
    pub is_company: bool,
    /// The card was archived.
    pub is_archived: bool,
    /// One of Jobber's demo clients.
    pub sample_data: bool,
    /// Nobody has worked for this client yet.
    pub is_lead: bool,
    /// Jobber's own switch for review requests.
    pub receives_review_requests: bool,
    /// The card's tags, as the contractor wrote them.
    pub tags: Vec<String>,
    /// All numbers.
    pub phones: Vec<Phone>,
    /// All addresses.
    pub emails: Vec<EmailAddress>,
}

/// The job itself, or the job behind a visit or an invoice.
#[derive(Debug, Clone, PartialEq)]
pub struct JobFacts {
    /// Jobber's id.
    pub id: EncodedId,
    /// The number people use.
    pub number: i64,
    /// Its title, if it has one.
    pub title: Option<String>,
    /// Where it stands.
    pub status: JobStatus,
    /// Set when it was closed.
    pub completed_at: Option<Timestamp>,
    /// The page in Jobber.
    pub url: String,
    /// Jobber's switch on the job.
    pub allow_review_request: bool,
    /// What it comes to, in whole currency units.
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

/// The invoice of an invoice trigger, or the newest one of the job.
#[derive(Debug, Clone, PartialEq)]
pub struct InvoiceFacts {
    /// Jobber's id.
    pub id: EncodedId,
    /// The number people use.
    pub number: String,
    /// Total in whole currency units, as Jobber states it.
    pub total: Option<f64>,
    /// Where it stands.
    pub status: InvoiceStatus,
    /// Jobber's switch on the invoice.
    pub allow_review_request: bool,
}

/// Somebody who did the work.
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
    /// The customer; invoices can lack one.
    pub client: Option<ClientFacts>,
    /// The job, or the first job behind an invoice.
    pub job: Option<JobFacts>,
    /// Every job behind this work: an ask marks them all.
    pub job_ids: Vec<EncodedId>,
    /// For `visit_completed`.
    pub visit: Option<VisitFacts>,
    /// For the invoice triggers, and for jobs that have one.
    pub invoice: Option<InvoiceFacts>,
    /// Where the work was done, on one line.
    pub address: Option<String>,
    /// Who did it. Empty when Jobber hides users from this app.
    pub crew: Vec<Person>,
}
