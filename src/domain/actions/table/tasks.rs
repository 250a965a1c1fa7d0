//! Tasks.

use super::{Action, Form, Kind, Shape, Takes, dangerous, flag, reads, switch, value, writes};

pub(super) const ACTIONS: &[Action] = &[
    reads("tasks", "show", "Shows a task", "read_scheduled_items")
        .make("Get a Task")
        .document(include_str!("../../../../graphql/actions/tasks_show.graphql"))
        .about(Kind::Task, "id")
        .shape(Shape::Show),
    writes("tasks", "create", "Creates a task", "write_scheduled_items")
        .make("Create a Task")
        .document(include_str!("../../../../graphql/actions/tasks_create.graphql"))
        .input("input")
        .flags(&[
            value("title", "title", "the title"),
            value("instructions", "instructions", "what is to be done"),
            flag(
                "at",
                "startAt",
                "when it begins, in the time of the account: 2026-03-12 09:00",
                Takes::Start { end: "endAt", form: Form::Instant },
            ),
            flag("for", "endAt", "how long it takes: 2h", Takes::Length),
            flag("until", "endAt", "when it ends", Takes::End),
            switch("all-day", "allDay", "whether it takes the whole day"),
            flag("assign", "assignedTo", "a user", Takes::Records(Kind::User)),
            switch("email-assignments", "emailAssignments", "whether the crew gets an e-mail"),
            flag("client", "$clientId", "the client it belongs to", Takes::Record(Kind::Client)),
            flag("property", "$propertyId", "the property it belongs to", Takes::Record(Kind::Property)),
        ]),
    writes("tasks", "update", "Changes a task", "write_scheduled_items")
        .make("Update a Task")
        .document(include_str!("../../../../graphql/actions/tasks_update.graphql"))
        .about(Kind::Task, "id")
        .input("input")
        .flags(&[
            value("title", "title", "the title"),
            value("instructions", "instructions", "what is to be done"),
            flag(
                "at",
                "startAt",
                "when it begins, in the time of the account: 2026-03-12 09:00",
                Takes::Start { end: "endAt", form: Form::Instant },
            ),
            flag("for", "endAt", "how long it takes: 2h", Takes::Length),
            flag("until", "endAt", "when it ends", Takes::End),
            switch("all-day", "allDay", "whether it takes the whole day"),
            flag("assign", "assignedTo", "a user", Takes::Records(Kind::User)),
            switch("email-assignments", "emailAssignments", "whether the crew gets an e-mail"),
            flag("client", "clientId", "the client it belongs to", Takes::Record(Kind::Client)),
            flag("property", "propertyId", "the property it belongs to", Takes::Record(Kind::Property)),
        ]),
    dangerous("tasks", "delete", "Deletes a task", "write_scheduled_items")
        .make("Delete a Task")
        .document(include_str!("../../../../graphql/actions/tasks_delete.graphql"))
        .about(Kind::Task, "id")
        .flags(&[switch("future", "deleteFutureRecurring", "also those that follow in the series")]),
    writes("tasks", "complete", "Completes a task", "write_scheduled_items")
        .document(include_str!("../../../../graphql/actions/tasks_complete.graphql"))
        .about(Kind::Task, "id"),
    reads("tasks", "archive", "Jobber cannot archive tasks: says what to do instead", "read_scheduled_items")
        .make("Archive a Task")
        .about(Kind::Task, "id")
        .shape(Shape::Impossible("Jobber has no operation that archives a task: complete or delete it")),
];
