//! Reads everything about one piece of work: what the decision needs, and what the ask can do without.

use crate::domain::model::{
    ClientFacts, EmailAddress, Facts, InvoiceFacts, InvoiceRecord, JobFacts, JobRecord, Person, Phone,
    Record, VisitFacts, VisitRecord, VisitsOfJob, WorkKind, WorkRef,
};
use crate::jobber::operation::{Operation, RawAnswer, encode};
use crate::jobber::query::{EncodedId, ISO8601DateTime, InvoiceStatusTypeEnum, JobStatusTypeEnum, query};
use crate::jobber::{Answer, ApiError};

query!(Details, "graphql/details.graphql");
query!(Extras, "graphql/extras.graphql");

/// What the decision needs about one piece of work. `None` if Jobber no longer has it.
#[derive(Debug, Clone, Copy)]
pub struct WorkDetails<'w> {
    /// The work.
    pub work: &'w WorkRef,
}

impl Operation for WorkDetails<'_> {
    type Output = Option<Facts>;

    fn kind(&self) -> &'static str {
        "details"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<Details>(details::Variables {
            id: self.work.id.clone(),
            job: self.work.kind == WorkKind::Job,
            visit: self.work.kind == WorkKind::Visit,
            invoice: self.work.kind == WorkKind::Invoice,
        })
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Option<Facts>>, ApiError> {
        answer.whole::<Details>()?.and_then(|data| Ok(facts(data, self.work)))
    }
}

/// Optional parts of an ask. What Jobber hides from this app or answers in an unusable way is left out.
#[derive(Debug, Clone, Copy)]
pub struct WorkExtras<'w> {
    pub work: &'w WorkRef,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct ExtraFacts {
    pub crew: Vec<Person>,
    pub invoice: Option<InvoiceFacts>,
    /// `None` if Jobber hides the visits.
    pub visits: Option<VisitsOfJob>,
}

impl Operation for WorkExtras<'_> {
    type Output = ExtraFacts;

    fn kind(&self) -> &'static str {
        "extras"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<Extras>(extras::Variables {
            id: self.work.id.clone(),
            job: self.work.kind == WorkKind::Job,
            visit: self.work.kind == WorkKind::Visit,
            invoice: self.work.kind == WorkKind::Invoice,
        })
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<ExtraFacts>, ApiError> {
        match answer.partial::<Extras>() {
            Ok(answer) => answer.and_then(|data| Ok(extras(data))),
            // Permanently missing parts are left out. Temporary failures are retried.
            Err(
                error @ (ApiError::Hidden { .. } | ApiError::Rejected { .. } | ApiError::Unexpected { .. }),
            ) => Ok(Answer::without(ExtraFacts::default(), error.to_string())),
            Err(error) => Err(error),
        }
    }
}

fn facts(data: details::ResponseData, work: &WorkRef) -> Option<Facts> {
    let country = data.account.and_then(|account| account.country_code);
    let country = country.as_deref();
    match work.kind {
        WorkKind::Job => data.job.map(|found| job(found, country)),
        WorkKind::Visit => data.visit.map(|found| visit(found, country)),
        WorkKind::Invoice => data.invoice.map(|found| invoice(found, country)),
        WorkKind::Client | WorkKind::Record => None,
    }
}

fn job(job: details::DetailsJob, country: Option<&str>) -> Facts {
    let details = job.job_details;
    let record = Record::Job(JobRecord {
        id: details.id.clone(),
        number: details.job_number,
        client_id: job.client.id.clone(),
        updated_at: details.updated_at,
        completed_at: details.completed_at,
        status: details.job_status.clone(),
    });
    Facts {
        record,
        client: Some(client(job.client, country)),
        job_ids: vec![details.id.clone()],
        job: Some(job_facts(details)),
        visit: None,
        invoice: None,
        address: address(job.property),
        crew: vec![],
        visits: None,
    }
}

fn visit(visit: details::DetailsVisit, country: Option<&str>) -> Facts {
    let record = Record::Visit(VisitRecord {
        id: visit.id.clone(),
        job_id: visit.job.id.clone(),
        job_number: visit.job.job_number,
        client_id: visit.client.id.clone(),
        completed_at: visit.completed_at,
    });
    Facts {
        record,
        client: Some(client(visit.client, country)),
        job_ids: vec![visit.job.id.clone()],
        job: Some(job_facts(visit.job)),
        visit: Some(VisitFacts { id: visit.id, title: visit.title, completed_at: visit.completed_at }),
        invoice: None,
        address: address(visit.property),
        crew: vec![],
        visits: None,
    }
}

fn invoice(invoice: details::DetailsInvoice, country: Option<&str>) -> Facts {
    let record = Record::Invoice(InvoiceRecord {
        id: invoice.id.clone(),
        number: invoice.invoice_number.clone(),
        client_id: invoice.client.as_ref().map(|client| client.id.clone()),
        created_at: invoice.created_at,
        updated_at: invoice.updated_at,
        issued_at: invoice.issued_date,
        received_at: invoice.received_date,
        status: invoice.invoice_status.clone(),
    });
    let jobs = invoice.jobs.nodes;
    Facts {
        record,
        client: invoice.client.map(|found| client(found, country)),
        job_ids: jobs.iter().map(|job| job.id.clone()).collect(),
        job: invoice.first_job.nodes.into_iter().next().map(job_facts),
        visit: None,
        invoice: Some(InvoiceFacts {
            id: invoice.id,
            number: invoice.invoice_number,
            total: invoice.amounts.map(|amounts| amounts.total),
            status: invoice.invoice_status,
            allow_review_request: invoice.allow_review_request,
        }),
        address: invoice.properties.nodes.into_iter().next().and_then(address),
        crew: vec![],
        visits: None,
    }
}

fn job_facts(job: details::JobDetails) -> JobFacts {
    JobFacts {
        id: job.id,
        number: job.job_number,
        title: job.title.filter(|title| !title.trim().is_empty()),
        status: job.job_status,
        completed_at: job.completed_at,
        line_items: job.line_items.nodes.into_iter().map(|item| item.name).collect(),
        url: job.jobber_web_uri,
        allow_review_request: job.allow_review_request,
        total: job.total,
    }
}

/// A number as people of `country` write it, in the international form (E.164). What is no number stays as it is.
fn international(number: String, country: Option<&str>) -> String {
    let country = country.and_then(|code| code.to_uppercase().parse::<phonenumber::country::Id>().ok());
    match phonenumber::parse(country, &number) {
        Ok(read) if phonenumber::is_valid(&read) => {
            // An extension cannot be sent to.
            read.format().mode(phonenumber::Mode::E164).to_string()
        }
        _ => number,
    }
}

fn client(client: details::ClientDetails, country: Option<&str>) -> ClientFacts {
    let phones = client.phones.into_iter().map(|phone| {
        let number = match phone.normalized_phone_number {
            Some(number) if !number.is_empty() => number,
            _ => international(phone.number.clone(), country),
        };
        let typed = (phone.number != number).then_some(phone.number);
        Phone { number, typed, primary: phone.primary, sms_allowed: phone.sms_allowed }
    });
    let emails = client
        .emails
        .into_iter()
        .map(|email| EmailAddress { address: email.address, primary: email.primary });
    ClientFacts {
        id: client.id,
        name: client.name,
        first_name: client.first_name,
        is_company: client.is_company,
        is_archived: client.is_archived,
        sample_data: client.sample_data,
        is_lead: client.is_lead,
        receives_review_requests: client.receives_review_requests,
        tags: client.tags.nodes.into_iter().map(|tag| tag.label).collect(),
        phones: phones.collect(),
        emails: emails.collect(),
    }
}

/// "123 Main St, Springfield, IL 62704". `None` if nothing is known.
fn address(property: details::PropertyDetails) -> Option<String> {
    let address = property.address;
    let part = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let region = [part(address.province), part(address.postal_code)];
    let region = region.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let parts = [part(Some(address.street)), part(address.city), part(Some(region))];
    let line = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    Some(line).filter(|line| !line.is_empty())
}

fn extras(data: extras::ResponseData) -> ExtraFacts {
    if let Some(job) = data.job {
        let completed = job.completed.nodes;
        let took_place = |visit: &extras::ExtrasJobCompletedNodes| match (visit.completed_at, visit.end_at) {
            (Some(completed), Some(end)) => Some(completed.min(end)),
            (completed, end) => completed.or(end),
        };
        let visits = match completed.iter().filter_map(took_place).max() {
            Some(last) => VisitsOfJob::Completed(last),
            None if job.any.nodes.is_empty() => VisitsOfJob::NoVisits,
            None => VisitsOfJob::NoneCompleted,
        };
        // The crew is that of the last completed visit that has one.
        let crew = completed.into_iter().map(|visit| crew(visit.crew)).find(|crew| !crew.is_empty());
        return ExtraFacts {
            crew: crew.unwrap_or_default(),
            invoice: job.invoices.nodes.into_iter().next().map(invoice_facts),
            visits: Some(visits),
        };
    }
    if let Some(visit) = data.visit {
        let invoice = visit.invoice.map(invoice_facts);
        return ExtraFacts { crew: crew(visit.crew), invoice, visits: None };
    }
    let visits = data.invoice.map(|invoice| invoice.visits.nodes).unwrap_or_default();
    let crew = visits.into_iter().map(crew).find(|crew| !crew.is_empty()).unwrap_or_default();
    ExtraFacts { crew, invoice: None, visits: None }
}

fn crew(visit: extras::Crew) -> Vec<Person> {
    let users = visit.assigned_users.map(|users| users.nodes).unwrap_or_default();
    users
        .into_iter()
        .map(|user| {
            let first = user.name.first.trim();
            let name = if first.is_empty() { user.name.full.trim() } else { first };
            Person { name: name.to_owned(), id: user.id }
        })
        .collect()
}

fn invoice_facts(invoice: extras::InvoiceExtras) -> InvoiceFacts {
    InvoiceFacts {
        id: invoice.id,
        number: invoice.invoice_number,
        total: invoice.amounts.map(|amounts| amounts.total),
        status: invoice.invoice_status,
        allow_review_request: invoice.allow_review_request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_in_the_country_of_the_account() {
        for (number, country, read) in [
            ("(212) 555-0142", Some("US"), "+12125550142"),
            ("212-555-0142 x9", Some("us"), "+12125550142"),
            ("07400 123456", Some("GB"), "+447400123456"),
            ("0412 345 678", Some("AU"), "+61412345678"),
            ("+44 7400 123456", Some("US"), "+447400123456"),
            ("212 555 0142", None, "212 555 0142"),
            ("call me", Some("US"), "call me"),
            ("12", Some("US"), "12"),
        ] {
            assert_eq!(international(number.to_owned(), country), read, "{number} {country:?}");
        }
    }
}
