//! The documents of `graphql/`, derived against the real schema.
//!
//! `graphql_client` checks fields and types, not arguments: a test validates every document with another
//! validator. Statuses become the model's own types here, unknown values included.

#![expect(missing_docs, reason = "the derived types are named and shaped by the documents in `graphql/`")]

use graphql_client::GraphQLQuery;

use crate::domain::model::{
    EncodedId, InvoiceStatus as InvoiceStatusTypeEnum, JobStatus as JobStatusTypeEnum,
};

/// A change of the schema file alone must rebuild the derived types.
const _SCHEMA: &str = include_str!("../../schema/jobber-2026-07-27.graphql");

type ISO8601DateTime = jiff::Timestamp;
type Timezone = String;

#[rustfmt::skip]
macro_rules! query {
    ($name:ident, $file:tt) => {
        #[derive(GraphQLQuery)]
        #[graphql(
            schema_path = "schema/jobber-2026-07-27.graphql",
            query_path = $file,
            response_derives = "Debug, Clone, PartialEq",
            variables_derives = "Debug, Clone, PartialEq",
            extern_enums("JobStatusTypeEnum", "InvoiceStatusTypeEnum"),
            skip_serializing_none
        )]
        pub struct $name;
    };
}

query!(ConnectedAccount, "graphql/account.graphql");
query!(ViewerTimezone, "graphql/timezone.graphql");
query!(Jobs, "graphql/jobs.graphql");
query!(Visits, "graphql/visits.graphql");
query!(Invoices, "graphql/invoices.graphql");
query!(Details, "graphql/details.graphql");
query!(Disconnect, "graphql/disconnect.graphql");
query!(Clients, "graphql/clients.graphql");
query!(EventOn, "graphql/event_on.graphql");
query!(EventOff, "graphql/event_off.graphql");
query!(Extras, "graphql/extras.graphql");
