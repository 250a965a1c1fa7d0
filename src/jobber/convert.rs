//! From the derived GraphQL types to the model: the only place that knows both.

use jiff::Timestamp;

use super::queries::{clients, connected_account, details, extras, invoices, jobs, visits};
use super::{ApiError, Cards, ExtraFacts, Identity, Page};
use crate::domain::model::{
    AccountId, ClientFacts, ClientSnapshot, EmailAddress, Facts, InvoiceFacts, InvoiceRecord, JobFacts,
    JobRecord, Person, Phone, Record, SnapshotEmail, SnapshotPhone, VisitFacts, VisitRecord, WorkKind,
    WorkRef,
};
use crate::domain::webhook_event::Topic;

pub(super) fn identity(data: connected_account::ResponseData) -> Result<Identity, ApiError> {
    match data.account {
        Some(account) => Ok(Identity { id: AccountId::new(account.id.as_str()), name: account.name }),
        None => Err(ApiError::Unexpected { detail: "an access token without an account".to_owned() }),
    }
}

pub(super) fn completed_after(since: Timestamp) -> jobs::JobFilterAttributes {
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

pub(super) fn jobs(data: jobs::ResponseData) -> Result<Page, ApiError> {
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
    page(records, data.jobs.page_info.has_next_page, data.jobs.page_info.end_cursor)
}

pub(super) fn visits(data: visits::ResponseData) -> Result<Page, ApiError> {
    let records = data.visits.nodes.into_iter().map(|visit| {
        Record::Visit(VisitRecord {
            id: visit.id,
            job_id: visit.job.id,
            job_number: visit.job.job_number,
            client_id: visit.client.id,
            completed_at: visit.completed_at,
        })
    });
    page(records, data.visits.page_info.has_next_page, data.visits.page_info.end_cursor)
}

pub(super) fn invoices(data: invoices::ResponseData) -> Result<Page, ApiError> {
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
    page(records, data.invoices.page_info.has_next_page, data.invoices.page_info.end_cursor)
}

/// A page with its rows. One that promises another without saying where is no answer: rows would be missed.
fn page(
    records: impl Iterator<Item = Record>,
    has_next_page: bool,
    end_cursor: Option<String>,
) -> Result<Page, ApiError> {
    let next = match (has_next_page, end_cursor) {
        (false, _) => None,
        (true, Some(cursor)) => Some(cursor),
        (true, None) => {
            return Err(ApiError::Unexpected { detail: "a next page without a cursor".to_owned() });
        }
    };
    Ok(Page { records: records.collect(), next })
}

pub(super) fn cards(data: clients::ResponseData) -> Result<Cards, ApiError> {
    let page =
        page(std::iter::empty(), data.clients.page_info.has_next_page, data.clients.page_info.end_cursor)?;
    let cards = data.clients.nodes.into_iter().map(|client| ClientSnapshot {
        id: client.id,
        name: client.name,
        first_name: client.first_name,
        last_name: client.last_name,
        company_name: client.company_name.filter(|name| !name.is_empty()),
        is_archived: client.is_archived,
        receives_review_requests: client.receives_review_requests,
        phones: client
            .phones
            .into_iter()
            .map(|phone| SnapshotPhone {
                number: phone.normalized_phone_number.unwrap_or(phone.number),
                takes_texts: phone.sms_allowed,
                is_primary: phone.primary,
            })
            .collect(),
        emails: client
            .emails
            .into_iter()
            .map(|email| SnapshotEmail { address: email.address, is_primary: email.primary })
            .collect(),
        updated_at: client.updated_at,
    });
    Ok(Cards { cards: cards.collect(), next: page.next })
}

pub(super) fn details_variables(work: &WorkRef) -> details::Variables {
    details::Variables {
        id: work.id.clone(),
        job: work.kind == WorkKind::Job,
        visit: work.kind == WorkKind::Visit,
        invoice: work.kind == WorkKind::Invoice,
    }
}

pub(super) fn extras_variables(work: &WorkRef) -> extras::Variables {
    extras::Variables {
        id: work.id.clone(),
        job: work.kind == WorkKind::Job,
        visit: work.kind == WorkKind::Visit,
        invoice: work.kind == WorkKind::Invoice,
    }
}

pub(super) fn facts(data: details::ResponseData, work: &WorkRef) -> Option<Facts> {
    match work.kind {
        WorkKind::Job => data.job.map(job),
        WorkKind::Visit => data.visit.map(visit),
        WorkKind::Invoice => data.invoice.map(invoice),
        WorkKind::Client => None,
    }
}

fn job(job: details::DetailsJob) -> Facts {
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
        client: Some(client(job.client)),
        job_ids: vec![details.id.clone()],
        job: Some(job_facts(details)),
        visit: None,
        invoice: None,
        address: address(job.property),
        crew: vec![],
    }
}

fn visit(visit: details::DetailsVisit) -> Facts {
    let record = Record::Visit(VisitRecord {
        id: visit.id.clone(),
        job_id: visit.job.id.clone(),
        job_number: visit.job.job_number,
        client_id: visit.client.id.clone(),
        completed_at: visit.completed_at,
    });
    Facts {
        record,
        client: Some(client(visit.client)),
        job_ids: vec![visit.job.id.clone()],
        job: Some(job_facts(visit.job)),
        visit: Some(VisitFacts { id: visit.id, title: visit.title, completed_at: visit.completed_at }),
        invoice: None,
        address: address(visit.property),
        crew: vec![],
    }
}

fn invoice(invoice: details::DetailsInvoice) -> Facts {
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
        client: invoice.client.map(client),
        job_ids: jobs.iter().map(|job| job.id.clone()).collect(),
        job: jobs.into_iter().next().map(job_facts),
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
    }
}

fn job_facts(job: details::JobDetails) -> JobFacts {
    JobFacts {
        id: job.id,
        number: job.job_number,
        title: job.title.filter(|title| !title.trim().is_empty()),
        status: job.job_status,
        completed_at: job.completed_at,
        url: job.jobber_web_uri,
        allow_review_request: job.allow_review_request,
        total: job.total,
    }
}

fn client(client: details::ClientDetails) -> ClientFacts {
    let phones = client.phones.into_iter().map(|phone| Phone {
        number: phone.normalized_phone_number.filter(|number| !number.is_empty()).unwrap_or(phone.number),
        primary: phone.primary,
        sms_allowed: phone.sms_allowed,
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

/// "123 Main St, Springfield, IL 62704"; `None` when nothing is known.
fn address(property: details::PropertyDetails) -> Option<String> {
    let address = property.address;
    let part = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let region = [part(address.province), part(address.postal_code)];
    let region = region.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let parts = [part(Some(address.street)), part(address.city), part(Some(region))];
    let line = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    Some(line).filter(|line| !line.is_empty())
}

pub(super) fn extras(data: extras::ResponseData) -> ExtraFacts {
    if let Some(job) = data.job {
        // The crew is that of the last completed visit that had one.
        let crew = job.visits.nodes.into_iter().map(crew).find(|crew| !crew.is_empty());
        return ExtraFacts {
            crew: crew.unwrap_or_default(),
            invoice: job.invoices.nodes.into_iter().next().map(invoice_facts),
        };
    }
    if let Some(visit) = data.visit {
        return ExtraFacts { crew: crew(visit.crew), invoice: visit.invoice.map(invoice_facts) };
    }
    let visits = data.invoice.map(|invoice| invoice.visits.nodes).unwrap_or_default();
    let crew = visits.into_iter().map(crew).find(|crew| !crew.is_empty()).unwrap_or_default();
    ExtraFacts { crew, invoice: None }
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
/// A topic as Jobber's schema has it.
pub(super) fn topic(topic: Topic) -> super::queries::event_on::WebHookTopicEnum {
    use super::queries::event_on::WebHookTopicEnum as Theirs;

    match topic {
        Topic::JobClosed => Theirs::JOB_CLOSED,
        Topic::JobUpdate => Theirs::JOB_UPDATE,
        Topic::VisitComplete => Theirs::VISIT_COMPLETE,
        Topic::VisitUpdate => Theirs::VISIT_UPDATE,
        Topic::InvoiceCreate => Theirs::INVOICE_CREATE,
        Topic::InvoiceUpdate => Theirs::INVOICE_UPDATE,
        Topic::ClientUpdate => Theirs::CLIENT_UPDATE,
        Topic::AppDisconnect => Theirs::APP_DISCONNECT,
        Topic::AppConnect => Theirs::APP_CONNECT,
    }
}
