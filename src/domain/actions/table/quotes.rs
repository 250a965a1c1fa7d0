//! Quotes.

use super::{Action, Kind, Shape, Sorting, Takes, flag, instant, line, reads, switch, value, writes};

pub(super) const ACTIONS: &[Action] = &[
    reads("quotes", "search", "Lists quotes that match", "read_quotes")
        .make("Search Quotes")
        .document(include_str!("../../../../graphql/actions/quotes_search.graphql"))
        .shape(Shape::List {
            takes_text: true,
            sort: Some(Sorting { is_list: true, key: "CREATED_AT", direction: "DESCENDING" }),
            columns: &[
                ("NUMBER", "quoteNumber"),
                ("TITLE", "title"),
                ("CLIENT", "client.name"),
                ("STATUS", "quoteStatus"),
                ("TOTAL", "amounts.total"),
                ("SENT", "sentAt"),
                ("ID", "id"),
            ],
        })
        .flags(&[
            value("status", "filter.status", "only those of this status"),
            flag("client", "filter.clientId", "only those of this client", Takes::Record(Kind::Client)),
            instant("updated-after", "filter.updatedAt.after", "only those changed after this time"),
            instant("updated-before", "filter.updatedAt.before", "only those changed before this time"),
            instant("sent-after", "filter.sentAt.after", "only those sent after this time"),
            instant("sent-before", "filter.sentAt.before", "only those sent before this time"),
        ]),
    reads("quotes", "show", "Shows a quote with its line items and notes", "read_quotes")
        .make("Get a Quote")
        .document(include_str!("../../../../graphql/actions/quotes_show.graphql"))
        .about(Kind::Quote, "id")
        .shape(Shape::Show),
    writes("quotes", "create", "Creates a quote for a client; it stays a draft", "write_quotes")
        .make("Create a Quote")
        .document(include_str!("../../../../graphql/actions/quotes_create.graphql"))
        .about(Kind::Client, "attributes.clientId")
        .input("attributes")
        .flags(&[
            flag(
                "property",
                "propertyId",
                "the property, if the client has several",
                Takes::Record(Kind::Property),
            ),
            value("title", "title", "the title"),
            value("message", "message", "the message to the client"),
            value("number", "quoteNumber", "a number instead of the next one"),
            line("line", "lineItems", "a line item: name;quantity;unit price"),
        ])
        .defaults(&[("lineItems[].saveToProductsAndServices", "false")])
        .property("propertyId"),
    writes("quotes", "update", "Changes a quote", "write_quotes")
        .make("Update a Quote")
        .document(include_str!("../../../../graphql/actions/quotes_update.graphql"))
        .about(Kind::Quote, "id")
        .input("attributes")
        .flags(&[
            value("title", "title", "the title"),
            value("message", "message", "the message to the client"),
            value("number", "quoteNumber", "the number"),
        ]),
    reads("quotes", "close", "Jobber cannot close quotes: says where to do it", "read_quotes")
        .make("Close a Quote")
        .document(include_str!("../../../../graphql/actions/quotes_close.graphql"))
        .about(Kind::Quote, "id")
        .shape(Shape::Impossible("Jobber has no operation that closes a quote: archive it in Jobber")),
    writes("quotes", "note", "Adds a note to a quote", "write_quotes")
        .make("Create a Quote Note")
        .document(include_str!("../../../../graphql/actions/quotes_note.graphql"))
        .about(Kind::Quote, "id")
        .input("input")
        .flags(&[
            value("message", "message", "the text"),
            switch("pinned", "pinned", "whether it stays on top"),
        ])
        .needs(&["message"]),
    writes("quotes", "edit-note", "Replaces the text of a note of a quote", "write_quotes")
        .make("Update a Quote Note")
        .document(include_str!("../../../../graphql/actions/quotes_edit_note.graphql"))
        .about(Kind::Note, "input.noteId")
        .input("input")
        .flags(&[
            value("message", "message", "the text"),
            switch("pinned", "pinned", "whether it stays on top"),
        ])
        .needs(&["message"]),
];
