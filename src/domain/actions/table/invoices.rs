//! Invoices.

use super::{Action, Kind, Shape, Sorting, Takes, flag, instant, reads, switch, value, writes};

pub(super) const ACTIONS: &[Action] = &[
    reads("invoices", "search", "Lists invoices that match", "read_invoices")
        .make("Search Invoices")
        .document(include_str!("../../../../graphql/actions/invoices_search.graphql"))
        .shape(Shape::List {
            takes_text: true,
            sort: Some(Sorting { is_list: true, key: "UPDATED_AT", direction: "DESCENDING" }),
            columns: &[
                ("NUMBER", "invoiceNumber"),
                ("SUBJECT", "subject"),
                ("CLIENT", "client.name"),
                ("STATUS", "invoiceStatus"),
                ("TOTAL", "amounts.total"),
                ("BALANCE", "amounts.invoiceBalance"),
                ("ISSUED", "issuedDate"),
                ("ID", "id"),
            ],
        })
        .flags(&[
            value("status", "filter.status", "only those of this status"),
            flag("client", "filter.clientId", "only those of this client", Takes::Record(Kind::Client)),
            instant("updated-after", "filter.updatedAt.after", "only those changed after this time"),
            instant("updated-before", "filter.updatedAt.before", "only those changed before this time"),
            instant("issued-after", "filter.issuedDate.after", "only those issued after this time"),
            instant("issued-before", "filter.issuedDate.before", "only those issued before this time"),
        ]),
    reads("invoices", "show", "Shows an invoice with its jobs and line items", "read_invoices")
        .make("Get an Invoice")
        .document(include_str!("../../../../graphql/actions/invoices_show.graphql"))
        .about(Kind::Invoice, "id")
        .shape(Shape::Show),
    writes("invoices", "update", "Changes an invoice", "write_invoices")
        .make("Update an Invoice")
        .document(include_str!("../../../../graphql/actions/invoices_update.graphql"))
        .about(Kind::Invoice, "id")
        .input("input")
        .flags(&[
            value("subject", "subject", "the subject"),
            value("message", "message", "the message to the client"),
            value("number", "invoiceNumber", "the number"),
            instant("issued", "issuedDate", "the day it was issued"),
            instant("due", "dueDetails.dueDate", "the day it is due"),
            switch(
                "allow-review-request",
                "allowReviewRequest",
                "whether Jobber may send its own review request",
            ),
        ]),
    writes("invoices", "note", "Adds a note to an invoice", "write_invoices")
        .document(include_str!("../../../../graphql/actions/invoices_note.graphql"))
        .about(Kind::Invoice, "id")
        .input("input")
        .flags(&[
            value("message", "message", "the text"),
            switch("pinned", "pinned", "whether it stays on top"),
        ])
        .needs(&["message"]),
];
