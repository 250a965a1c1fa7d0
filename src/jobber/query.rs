//! The types that `graphql_client` derives from the documents in `graphql/` and the schema of our version.

use crate::domain::model::{InvoiceStatus, JobStatus};

/// A change of the schema file must rebuild the derived types.
const _SCHEMA: &str = include_str!("../../schema/jobber-2026-07-27.graphql");

// Names that the derived types use for the schema's scalars and enums. They must be in the parent module.
pub(super) use crate::domain::model::EncodedId;
pub(super) type ISO8601DateTime = jiff::Timestamp;
pub(super) type InvoiceStatusTypeEnum = InvoiceStatus;
pub(super) type JobStatusTypeEnum = JobStatus;
pub(super) type Timezone = String;

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
