//! Clients.

use super::{
    Action, Kind, Shape, Sorting, Takes, dangerous, flag, instant, items, reads, switch, value, writes,
};

pub(super) const ACTIONS: &[Action] = &[
    reads("clients", "search", "Lists clients that match", "read_clients")
        .make("Search Clients")
        .document(include_str!("../../../../graphql/actions/clients_search.graphql"))
        .shape(Shape::List {
            takes_text: true,
            sort: Some(Sorting { is_list: false, key: "UPDATED_AT", direction: "DESCENDING" }),
            columns: &[
                ("NAME", "name"),
                ("PHONE", "phones.0.number"),
                ("EMAIL", "emails.0.address"),
                ("ARCHIVED", "isArchived"),
                ("UPDATED", "updatedAt"),
                ("ID", "id"),
            ],
        })
        .flags(&[
            items("in", "searchFields", "where to look: NAMES, EMAILS, PHONES, NOTES, PROPERTIES"),
            items("tag", "filter.tags", "only those with this tag"),
            switch("archived", "filter.isArchived", "only archived ones"),
            switch("lead", "filter.isLead", "only leads"),
            switch("company", "filter.isCompany", "only companies"),
            instant("updated-after", "filter.updatedAt.after", "only those changed after this time"),
            instant("updated-before", "filter.updatedAt.before", "only those changed before this time"),
            instant("created-after", "filter.createdAt.after", "only those created after this time"),
            instant("created-before", "filter.createdAt.before", "only those created before this time"),
        ]),
    reads("clients", "show", "Shows a client with contacts, properties, tags and notes", "read_clients")
        .document(include_str!("../../../../graphql/actions/clients_show.graphql"))
        .about(Kind::Client, "id")
        .shape(Shape::Show),
    writes("clients", "create", "Creates a client", "write_clients")
        .make("Create a Client")
        .document(include_str!("../../../../graphql/actions/clients_create.graphql"))
        .input("input")
        .flags(&[
            value("title", "title", "MR, MS, MRS, MISS or DR"),
            value("first-name", "firstName", "first name"),
            value("last-name", "lastName", "last name"),
            value("company-name", "companyName", "name of the company"),
            switch("company", "isCompany", "whether it is a company"),
            flag("phone", "phones", "a phone number that takes texts", Takes::Phone),
            flag("email", "emails", "an e-mail address", Takes::Email),
            value("street", "billingAddress.street1", "street and number"),
            value("street2", "billingAddress.street2", "second line of the street"),
            value("city", "billingAddress.city", "city"),
            value("province", "billingAddress.province", "province or state"),
            value("postal-code", "billingAddress.postalCode", "postal code"),
            value("country", "billingAddress.country", "country"),
            switch(
                "receives-review-requests",
                "receivesReviewRequests",
                "whether Jobber may ask for reviews",
            ),
            switch("receives-reminders", "receivesReminders", "whether it gets reminders"),
            switch("receives-follow-ups", "receivesFollowUps", "whether it gets follow-ups"),
        ])
        .needs(&["firstName", "lastName", "companyName"]),
    writes("clients", "update", "Changes a client", "write_clients")
        .make("Update a Client")
        .document(include_str!("../../../../graphql/actions/clients_update.graphql"))
        .about(Kind::Client, "id")
        .input("input")
        .flags(&[
            value("title", "title", "MR, MS, MRS, MISS or DR"),
            value("first-name", "firstName", "first name"),
            value("last-name", "lastName", "last name"),
            value("company-name", "companyName", "name of the company"),
            switch("company", "isCompany", "whether it is a company"),
            flag("add-phone", "phonesToAdd", "a phone number that takes texts", Takes::Phone),
            flag("add-email", "emailsToAdd", "an e-mail address", Takes::Email),
            items("add-tag", "tagsToAdd", "a tag"),
            items("remove-tag", "tagsToDelete", "a tag"),
            value("street", "billingAddress.street1", "street and number"),
            value("street2", "billingAddress.street2", "second line of the street"),
            value("city", "billingAddress.city", "city"),
            value("province", "billingAddress.province", "province or state"),
            value("postal-code", "billingAddress.postalCode", "postal code"),
            value("country", "billingAddress.country", "country"),
            switch(
                "receives-review-requests",
                "receivesReviewRequests",
                "whether Jobber may ask for reviews",
            ),
            switch("receives-reminders", "receivesReminders", "whether it gets reminders"),
            switch("receives-follow-ups", "receivesFollowUps", "whether it gets follow-ups"),
        ])
        .whole("billingAddress"),
    dangerous("clients", "archive", "Archives a client", "write_clients")
        .make("Archive a Client")
        .document(include_str!("../../../../graphql/actions/clients_archive.graphql"))
        .about(Kind::Client, "id"),
    writes("clients", "unarchive", "Takes a client out of the archive", "write_clients")
        .document(include_str!("../../../../graphql/actions/clients_unarchive.graphql"))
        .about(Kind::Client, "id"),
    writes("clients", "note", "Adds a note to a client", "write_clients")
        .document(include_str!("../../../../graphql/actions/clients_note.graphql"))
        .about(Kind::Client, "id")
        .input("input")
        .flags(&[
            value("message", "message", "the text"),
            switch("pinned", "pinned", "whether it stays on top"),
        ])
        .needs(&["message"]),
];
