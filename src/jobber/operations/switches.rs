//! Jobber's switches for review requests, on the finished records that changed last and on their clients.

use std::collections::BTreeMap;

use crate::domain::model::{InvoiceStatus, Share, Switches};
use crate::jobber::operation::{Operation, RawAnswer, encode};
use crate::jobber::query::{EncodedId, ISO8601DateTime, InvoiceStatusTypeEnum, query};
use crate::jobber::{Answer, ApiError};

query!(SwitchesOfJobs, "graphql/job_switches.graphql");
query!(SwitchesOfInvoices, "graphql/invoice_switches.graphql");

/// Records that are counted, at most.
const RECORDS: i64 = 50;

/// How many of the finished jobs that changed last, and of their clients, have the switches off.
#[derive(Debug, Clone, Copy)]
pub struct JobSwitches {
    /// Older jobs are not counted.
    pub since: ISO8601DateTime,
}

impl Operation for JobSwitches {
    type Output = Switches;

    fn kind(&self) -> &'static str {
        "job switches"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<SwitchesOfJobs>(switches_of_jobs::Variables { since: self.since, first: RECORDS })
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Switches>, ApiError> {
        answer.whole::<SwitchesOfJobs>()?.and_then(|data| {
            let jobs = data.jobs.nodes;
            let clients: BTreeMap<_, _> = jobs.iter().map(|job| (&job.client.id, &job.client)).collect();
            let with_phones = clients.values().filter(|client| !client.phones.is_empty());
            let takes_texts = |phones: &[switches_of_jobs::SwitchesOfJobsJobsNodesClientPhones]| {
                phones.iter().any(|phone| phone.sms_allowed)
            };
            Ok(Switches {
                texts: Share::off(with_phones.map(|client| takes_texts(&client.phones))),
                clients: Share::off(clients.values().map(|client| client.receives_review_requests)),
                jobs: Share::off(jobs.iter().map(|job| job.allow_review_request)),
                invoices: Share::default(),
                one_off: Share::off(
                    data.recent
                        .nodes
                        .iter()
                        .map(|job| !matches!(job.job_type, switches_of_jobs::JobTypeTypeEnum::RECURRING)),
                ),
            })
        })
    }
}

/// How many of the invoices that changed last have the switch off. Drafts do not count.
#[derive(Debug, Clone, Copy)]
pub struct InvoiceSwitches {
    /// Older invoices are not counted.
    pub since: ISO8601DateTime,
}

impl Operation for InvoiceSwitches {
    type Output = Share;

    fn kind(&self) -> &'static str {
        "invoice switches"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<SwitchesOfInvoices>(switches_of_invoices::Variables { since: self.since, first: RECORDS })
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Share>, ApiError> {
        answer.whole::<SwitchesOfInvoices>()?.and_then(|data| {
            let invoices = data.invoices.nodes.into_iter();
            let issued = invoices.filter(|invoice| invoice.invoice_status != InvoiceStatus::Draft);
            Ok(Share::off(issued.map(|invoice| invoice.allow_review_request)))
        })
    }
}
