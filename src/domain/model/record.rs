//! The records of a sweep: only ids, times and statuses.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{EncodedId, Subject, WorkRef};

/// A list in Jobber that the poller follows with a watermark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Jobs, by `updatedAt`.
    Jobs,
    /// Visits, by `completedAt`: they have no `updatedAt` (`api-behaviour.md` §1, Visits).
    Visits,
    /// Invoices, by `updatedAt`.
    Invoices,
}

macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(from = "String", into = "String")]
        pub enum $name {
            $($(#[$vdoc])* $variant,)+
            /// A value that this version of the API did not have.
            Unknown(String),
        }

        impl $name {
            /// Jobber's spelling.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Unknown(text) => text,
                }
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                match text.as_str() {
                    $($text => Self::$variant,)+
                    _ => Self::Unknown(text),
                }
            }
        }

        impl From<$name> for String {
            fn from(status: $name) -> Self {
                status.as_str().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

status! {
    /// `JobStatusTypeEnum` of the schema. No value means "completed" (`api-behaviour.md` §1, Jobs).
    JobStatus {
        /// Completed visits are not invoiced yet. Open jobs can have it too.
        RequiresInvoicing = "requires_invoicing",
        /// Closed, with nothing left to invoice.
        Archived = "archived",
        /// Open: a visit is overdue.
        Late = "late",
        /// Open: a visit is today.
        Today = "today",
        /// Open: the next visit is in the future.
        Upcoming = "upcoming",
        /// Open: a task must be done.
        ActionRequired = "action_required",
        /// Open, on hold.
        OnHold = "on_hold",
        /// Open, without a date.
        Unscheduled = "unscheduled",
        /// Open.
        Active = "active",
        /// Open, recurring, ends soon.
        ExpiringWithin30Days = "expiring_within_30_days",
    }
}

status! {
    /// `InvoiceStatusTypeEnum` of the schema.
    InvoiceStatus {
        /// Not issued yet.
        Draft = "draft",
        /// Issued and due.
        AwaitingPayment = "awaiting_payment",
        /// Paid. Only this status means it (`api-behaviour.md` §1, Invoices).
        Paid = "paid",
        /// Issued and overdue.
        PastDue = "past_due",
        /// Written off.
        BadDebt = "bad_debt",
        /// Issued, not due yet.
        SentNotDue = "sent_not_due",
        /// Void.
        Voided = "voided",
    }
}

/// A job as a sweep sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Jobber's id.
    pub id: EncodedId,
    /// The number that people use. It can be edited and reused, so it is never a key.
    pub number: i64,
    /// The client of the job.
    pub client_id: EncodedId,
    /// Last change.
    pub updated_at: Timestamp,
    /// Set when the job was closed.
    pub completed_at: Option<Timestamp>,
    /// Jobber's own status.
    pub status: JobStatus,
}

/// A visit as a sweep sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitRecord {
    /// Jobber's id.
    pub id: EncodedId,
    /// The job it belongs to.
    pub job_id: EncodedId,
    /// That job's number.
    pub job_number: i64,
    /// The client of the job.
    pub client_id: EncodedId,
    /// Set when the visit was completed.
    pub completed_at: Option<Timestamp>,
}

/// An invoice as a sweep sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceRecord {
    /// Jobber's id.
    pub id: EncodedId,
    /// The number that people use.
    pub number: String,
    /// The client of the invoice, if any.
    pub client_id: Option<EncodedId>,
    /// When it was created.
    pub created_at: Timestamp,
    /// Last change.
    pub updated_at: Timestamp,
    /// The printed issue date. It can be edited, and drafts have none.
    pub issued_at: Option<Timestamp>,
    /// The day it was marked paid, if any.
    pub received_at: Option<Timestamp>,
    /// Jobber's own status.
    pub status: InvoiceStatus,
}

/// One row of a sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A row of [`Stream::Jobs`].
    Job(JobRecord),
    /// A row of [`Stream::Visits`].
    Visit(VisitRecord),
    /// A row of [`Stream::Invoices`].
    Invoice(InvoiceRecord),
}

impl Record {
    /// The piece of work this row is about.
    pub fn work(&self) -> WorkRef {
        match self {
            Self::Job(job) => WorkRef::job(job.id.clone()),
            Self::Visit(visit) => WorkRef::visit(visit.id.clone()),
            Self::Invoice(invoice) => WorkRef::invoice(invoice.id.clone()),
        }
    }

    /// The instant by which its stream is sorted and its watermark moves.
    pub fn stream_at(&self) -> Option<Timestamp> {
        match self {
            Self::Job(job) => Some(job.updated_at),
            Self::Visit(visit) => visit.completed_at,
            Self::Invoice(invoice) => Some(invoice.updated_at),
        }
    }

    /// Fields by which `explain` can find this row.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Job(job) => Subject {
                client_id: Some(job.client_id.clone()),
                job_id: Some(job.id.clone()),
                job_number: Some(job.number),
                ..Subject::default()
            },
            Self::Visit(visit) => Subject {
                client_id: Some(visit.client_id.clone()),
                job_id: Some(visit.job_id.clone()),
                job_number: Some(visit.job_number),
                ..Subject::default()
            },
            Self::Invoice(invoice) => Subject {
                client_id: invoice.client_id.clone(),
                invoice_number: Some(invoice.number.clone()),
                ..Subject::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_status_keeps_its_spelling() {
        let status = JobStatus::from("paused_by_weather".to_owned());
        assert_eq!(status, JobStatus::Unknown("paused_by_weather".into()));
        assert_eq!(serde_json::to_string(&status).unwrap(), "\"paused_by_weather\"");
        assert_eq!(serde_json::from_str::<JobStatus>("\"late\"").unwrap(), JobStatus::Late);
    }
}
