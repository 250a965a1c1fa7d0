//! The lists that sweeps read: ids, times and statuses of jobs, visits and invoices.

use jiff::Timestamp;

use super::{next, rows};
use crate::domain::model::{InvoiceRecord, JobRecord, Record, Stream, VisitRecord};
use crate::jobber::operation::{ListOperation, Listed, Operation, RawAnswer, encode};
use crate::jobber::query::{EncodedId, ISO8601DateTime, InvoiceStatusTypeEnum, JobStatusTypeEnum, query};
use crate::jobber::{Answer, ApiError};

query!(Jobs, "graphql/jobs.graphql");
query!(Visits, "graphql/visits.graphql");
query!(Invoices, "graphql/invoices.graphql");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    pub list: List,
    pub after: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    ChangedJobs,
    /// Jobs completed after an instant, last changed first.
    CompletedJobs(ISO8601DateTime),
    CompletedVisits(ISO8601DateTime),
    /// Invoices changed after an instant, last changed first.
    ChangedInvoices(ISO8601DateTime),
}

impl List {
    pub fn stream(&self) -> Stream {
        match self {
            Self::ChangedJobs | Self::CompletedJobs(_) => Stream::Jobs,
            Self::CompletedVisits(_) => Stream::Visits,
            Self::ChangedInvoices(_) => Stream::Invoices,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub records: Vec<Record>,
    /// The cursor of the next page, if there is one. Valid only during this sweep.
    pub next: Option<String>,
}

impl Operation for PageRequest {
    type Output = Page;

    fn kind(&self) -> &'static str {
        if self.after.is_some() { "next page" } else { "first page" }
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        let (first, after) = (rows(self.after.as_ref()), self.after.clone());
        match self.list {
            List::ChangedJobs => encode::<Jobs>(jobs::Variables { filter: None, first, after }),
            List::CompletedJobs(since) => {
                encode::<Jobs>(jobs::Variables { filter: Some(completed_after(since)), first, after })
            }
            List::CompletedVisits(since) => encode::<Visits>(visits::Variables { since, first, after }),
            List::ChangedInvoices(since) => encode::<Invoices>(invoices::Variables { since, first, after }),
        }
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Page>, ApiError> {
        match self.list.stream() {
            Stream::Jobs => answer.whole::<Jobs>()?.and_then(page_of_jobs),
            Stream::Visits => answer.whole::<Visits>()?.and_then(page_of_visits),
            Stream::Invoices => answer.whole::<Invoices>()?.and_then(page_of_invoices),
        }
    }
}

impl ListOperation for PageRequest {
    type Row = Record;

    fn at_cursor(&self, cursor: Option<String>) -> Self {
        Self { after: cursor, ..self.clone() }
    }

    fn split(page: Page) -> (Vec<Record>, Option<String>) {
        (page.records, page.next)
    }
}

impl Listed for Record {
    fn id(&self) -> &EncodedId {
        match self {
            Self::Job(job) => &job.id,
            Self::Visit(visit) => &visit.id,
            Self::Invoice(invoice) => &invoice.id,
        }
    }

    fn at(&self) -> Option<Timestamp> {
        self.stream_at()
    }
}

fn completed_after(since: ISO8601DateTime) -> jobs::JobFilterAttributes {
    jobs::JobFilterAttributes {
        completed_at: Some(jobs::Iso8601DateTimeRangeInput { after: Some(since), before: None, eq: None }),
        created_at: None,
        end_at: None,
        ids: None,
        include_unscheduled: None,
        job_type: None,
        only_invoiceable: None,
        start_at: None,
        status: None,
        visits_assigned_to_user_id: None,
        visits_scheduled_between: None,
    }
}

fn page_of_jobs(data: jobs::ResponseData) -> Result<Page, ApiError> {
    let records = data.jobs.nodes.into_iter().map(|job| {
        Record::Job(JobRecord {
            id: job.id,
            number: job.job_number,
            client_id: job.client.id,
            updated_at: job.updated_at,
            completed_at: job.completed_at,
            status: job.job_status,
        })
    });
    let info = data.jobs.page_info;
    Ok(Page { records: records.collect(), next: next(info.has_next_page, info.end_cursor)? })
}

fn page_of_visits(data: visits::ResponseData) -> Result<Page, ApiError> {
    let records = data.visits.nodes.into_iter().map(|visit| {
        Record::Visit(VisitRecord {
            id: visit.id,
            job_id: visit.job.id,
            job_number: visit.job.job_number,
            client_id: visit.client.id,
            completed_at: visit.completed_at,
        })
    });
    let info = data.visits.page_info;
    Ok(Page { records: records.collect(), next: next(info.has_next_page, info.end_cursor)? })
}

fn page_of_invoices(data: invoices::ResponseData) -> Result<Page, ApiError> {
    let records = data.invoices.nodes.into_iter().map(|invoice| {
        Record::Invoice(InvoiceRecord {
            id: invoice.id,
            number: invoice.invoice_number,
            client_id: invoice.client.map(|client| client.id),
            created_at: invoice.created_at,
            updated_at: invoice.updated_at,
            issued_at: invoice.issued_date,
            received_at: invoice.received_date,
            status: invoice.invoice_status,
        })
    });
    let info = data.invoices.page_info;
    Ok(Page { records: records.collect(), next: next(info.has_next_page, info.end_cursor)? })
}
