//! Properties of clients.

use super::{Action, Kind, Shape, Takes, flag, reads, switch, value, writes};

pub(super) const ACTIONS: &[Action] = &[
    reads("properties", "search", "Lists properties that match", "read_clients")
        .make("Search Properties")
        .document(include_str!("../../../../graphql/actions/properties_search.graphql"))
        .shape(Shape::List {
            takes_text: true,
            sort: None,
            columns: &[
                ("NAME", "name"),
                ("STREET", "address.street"),
                ("CITY", "address.city"),
                ("CLIENT", "client.name"),
                ("ID", "id"),
            ],
        })
        .flags(&[
            flag("client", "filter.clientId", "only those of this client", Takes::Record(Kind::Client)),
            switch("primary", "filter.primary", "only primary ones"),
        ]),
    reads("properties", "show", "Shows a property", "read_clients")
        .make("Get a Property")
        .document(include_str!("../../../../graphql/actions/properties_show.graphql"))
        .about(Kind::Property, "id")
        .shape(Shape::Show),
    writes("properties", "create", "Adds a property to a client", "write_clients")
        .make("Create a Property")
        .document(include_str!("../../../../graphql/actions/properties_create.graphql"))
        .about(Kind::Client, "id")
        .input("input")
        .flags(&[
            value("name", "properties[0].name", "a name"),
            value("street", "properties[0].address.street1", "street and number"),
            value("street2", "properties[0].address.street2", "second line of the street"),
            value("city", "properties[0].address.city", "city"),
            value("province", "properties[0].address.province", "province or state"),
            value("postal-code", "properties[0].address.postalCode", "postal code"),
            value("country", "properties[0].address.country", "country"),
        ])
        .needs(&["properties[0].address.street1", "properties[0].address.city", "properties[0].name"]),
    writes("properties", "update", "Changes a property", "write_clients")
        .make("Update a Property")
        .document(include_str!("../../../../graphql/actions/properties_update.graphql"))
        .about(Kind::Property, "id")
        .input("input")
        .flags(&[
            value("name", "name", "a name"),
            value("street", "address.street1", "street and number"),
            value("street2", "address.street2", "second line of the street"),
            value("city", "address.city", "city"),
            value("province", "address.province", "province or state"),
            value("postal-code", "address.postalCode", "postal code"),
            value("country", "address.country", "country"),
        ])
        .whole("address"),
];
