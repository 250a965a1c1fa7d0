//! Lists changed clients with names and contacts.

use jiff::Timestamp;

use super::{next, rows};
use crate::domain::model::{ClientSnapshot, SnapshotEmail, SnapshotPhone};
use crate::jobber::operation::{ListOperation, Listed, Operation, RawAnswer, encode};
use crate::jobber::query::{EncodedId, ISO8601DateTime, query};
use crate::jobber::{Answer, ApiError};

query!(Clients, "graphql/clients.graphql");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedClients {
    pub since: ISO8601DateTime,
    pub after: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsPage {
    pub clients: Vec<ClientSnapshot>,
    pub next: Option<String>,
}

impl Operation for ChangedClients {
    type Output = ClientsPage;

    fn kind(&self) -> &'static str {
        if self.after.is_some() { "next clients" } else { "first clients" }
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        let (first, after) = (rows(self.after.as_ref()), self.after.clone());
        encode::<Clients>(clients::Variables { since: self.since, first, after })
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<ClientsPage>, ApiError> {
        answer.whole::<Clients>()?.and_then(page)
    }
}

impl ListOperation for ChangedClients {
    type Row = ClientSnapshot;

    fn at_cursor(&self, cursor: Option<String>) -> Self {
        Self { after: cursor, ..self.clone() }
    }

    fn split(page: ClientsPage) -> (Vec<ClientSnapshot>, Option<String>) {
        (page.clients, page.next)
    }
}

impl Listed for ClientSnapshot {
    fn id(&self) -> &EncodedId {
        &self.id
    }

    fn at(&self) -> Option<Timestamp> {
        Some(self.updated_at)
    }
}

fn page(data: clients::ResponseData) -> Result<ClientsPage, ApiError> {
    let clients = data.clients.nodes.into_iter().map(|client| ClientSnapshot {
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
    let info = data.clients.page_info;
    Ok(ClientsPage { clients: clients.collect(), next: next(info.has_next_page, info.end_cursor)? })
}
