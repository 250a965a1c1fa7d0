//! Requests.

use super::{Action, Kind, Takes, dangerous, flag, line, value, writes};

pub(super) const ACTIONS: &[Action] = &[
    writes("requests", "create", "Creates a request of a client", "write_requests")
        .make("Create a Request")
        .document(include_str!("../../../../graphql/actions/requests_create.graphql"))
        .about(Kind::Client, "input.clientId")
        .input("input")
        .flags(&[
            value("title", "title", "the title"),
            flag(
                "property",
                "propertyId",
                "the property (default: the last one of the client)",
                Takes::Record(Kind::Property),
            ),
            line("line", "lineItems", "a line item: name;quantity;unit price"),
        ])
        .defaults(&[("lineItems[].saveToProductsAndServices", "false")]),
    dangerous("requests", "archive", "Archives a request", "write_requests")
        .make("Archive a Request")
        .document(include_str!("../../../../graphql/actions/requests_archive.graphql"))
        .about(Kind::Request, "id"),
    writes("requests", "unarchive", "Takes a request out of the archive", "write_requests")
        .document(include_str!("../../../../graphql/actions/requests_unarchive.graphql"))
        .about(Kind::Request, "id"),
];
