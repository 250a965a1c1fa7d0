//! The types that `graphql_client` derives from the documents in `graphql/`, on the schema of the version we ask for.

use crate::domain::model::{InvoiceStatus, JobStatus};

/// A change of the schema file alone must rebuild the derived types.
const _SCHEMA: &str = include_str!("../../schema/jobber-2026-07-27.graphql");

// What the derived types call the schema's scalars and enums. Each document's types look for them beside themselves.
pub(super) use crate::domain::model::EncodedId;
pub(super) type ISO8601DateTime = jiff::Timestamp;
pub(super) type InvoiceStatusTypeEnum = InvoiceStatus;
pub(super) type JobStatusTypeEnum = JobStatus;
pub(super) type Timezone = String;

/// Derives the types of one document.
macro_rules! query {
    ($name:ident, $file:tt) => {
        #[derive(graphql_client::GraphQLQuery)]
        #[graphql(
                                            schema_path = "schema/jobber-2026-07-27.graphql",
                                            query_path = $file,
                                            response_derives = "Debug, Clone, PartialEq",
                                            variables_derives = "Debug, Clone, PartialEq",
                                            extern_enums("JobStatusTypeEnum", "InvoiceStatusTypeEnum"),
                                            skip_serializing_none
                                        )]
        struct $name;
    };
}
pub(super) use query;
