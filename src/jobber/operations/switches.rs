//! Jobber's switches for review requests, on the newest finished records and on their clients.

use std::collections::BTreeMap;

use crate::domain::model::{InvoiceStatus, Share, Switches};
use crate::jobber::operation::{Operation, RawAnswer, encode};
use crate::jobber::query::{EncodedId, ISO8601DateTime, InvoiceStatusTypeEnum, query};
use crate::jobber::{Answer, ApiError};

query!(SwitchesOfRecords, "graphql/switches.graphql");

/// Records of each kind that are counted, at most.
const RECORDS: i64 = 50;

/// How many of the newest records finished after `since` have the switches off.
#[derive(Debug, Clone, Copy)]
pub struct NewestSwitches {
    /// Older records are not counted.
    pub since: ISO8601DateTime,
}

impl Operation for NewestSwitches {
    type Output = Switches;

    fn kind(&self) -> &'static str {
        "switches"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<SwitchesOfRecords>(switches_of_records::Variables { since: self.since, first: RECORDS })
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Switches>, ApiError> {
        answer.whole::<SwitchesOfRecords>()?.and_then(|data| {
            let (jobs, invoices) = (data.jobs.nodes, data.invoices.nodes);
            let clients: BTreeMap<_, _> =
                jobs.iter().map(|job| (&job.client.id, job.client.receives_review_requests)).collect();
            Ok(Switches {
                clients: Share::off(clients.into_values()),
                jobs: Share::off(jobs.iter().map(|job| job.allow_review_request)),
                invoices: Share::off(
                    invoices
                        .iter()
                        .filter(|invoice| invoice.invoice_status != InvoiceStatus::Draft)
                        .map(|invoice| invoice.allow_review_request),
                ),
            })
        })
    }
}
