//! Visits.

use super::{
    Action, Form, Kind, Part, Shape, Sorting, Takes, dangerous, flag, instant, line, reads, switch, value,
    writes,
};

pub(super) const ACTIONS: &[Action] = &[
    reads("visits", "list", "Lists visits", "read_scheduled_items")
        .document(include_str!("../../../../graphql/actions/visits_list.graphql"))
        .shape(Shape::List {
            takes_text: false,
            sort: Some(Sorting { is_list: true, key: "START_AT", direction: "DESCENDING" }),
            columns: &[
                ("TITLE", "title"),
                ("JOB", "job.jobNumber"),
                ("CLIENT", "client.name"),
                ("STATUS", "visitStatus"),
                ("START", "startAt"),
                ("COMPLETED", "completedAt"),
                ("ID", "id"),
            ],
        })
        .flags(&[
            value("status", "filter.status", "only those of this status"),
            instant("from", "filter.startAt.after", "only those that begin after this time"),
            instant("to", "filter.startAt.before", "only those that begin before this time"),
            instant("completed-after", "filter.completedAt.after", "only those completed after this time"),
            instant("completed-before", "filter.completedAt.before", "only those completed before this time"),
            flag("assigned-to", "filter.assignedTo", "only those of this user", Takes::Record(Kind::User)),
        ]),
    reads("visits", "show", "Shows a visit", "read_scheduled_items")
        .document(include_str!("../../../../graphql/actions/visits_show.graphql"))
        .about(Kind::Visit, "id")
        .shape(Shape::Show),
    writes("visits", "create", "Adds a visit to a job", "write_scheduled_items")
        .make("Create a Visit")
        .document(include_str!("../../../../graphql/actions/visits_create.graphql"))
        .about(Kind::Job, "id")
        .input("input")
        .flags(&[
            value("title", "visits[0].title", "the title"),
            value("instructions", "visits[0].instructions", "instructions for the crew"),
            flag(
                "at",
                "visits[0].schedule.startAt",
                "when it begins, in the time of the account: 2026-03-12 09:00",
                Takes::Start { end: "visits[0].schedule.endAt", form: Form::Local },
            ),
            flag("for", "visits[0].schedule.endAt", "how long it takes: 2h", Takes::Length),
            flag("until", "visits[0].schedule.endAt", "when it ends", Takes::End),
            flag("assign", "visits[0].schedule.teamMemberIdsToAssign", "a user", Takes::Records(Kind::User)),
            switch("notify-team", "visits[0].schedule.notifyTeam", "whether the crew gets a message"),
        ])
        .defaults(&[("visits[].schedule?.notifyTeam", "false")]),
    writes(
        "visits",
        "update",
        "Changes a visit: up to four requests, in this order: text, schedule, crew",
        "write_scheduled_items",
    )
    .make("Update a Visit")
    .about(Kind::Visit, "id")
    .shape(Shape::InParts(&[
        Part {
            name: "text",
            document: include_str!("../../../../graphql/actions/visits_update.graphql"),
            variable: Some("attributes"),
            flags: &["title", "instructions"],
        },
        Part {
            name: "schedule",
            document: include_str!("../../../../graphql/actions/visits_update_schedule.graphql"),
            variable: Some("input"),
            flags: &["at", "for", "until"],
        },
        Part {
            name: "unschedule",
            document: include_str!("../../../../graphql/actions/visits_update_unschedule.graphql"),
            variable: None,
            flags: &["unschedule"],
        },
        Part {
            name: "crew",
            document: include_str!("../../../../graphql/actions/visits_update_crew.graphql"),
            variable: Some("input"),
            flags: &["assign", "nobody"],
        },
    ]))
    .flags(&[
        value("title", "title", "the title"),
        value("instructions", "instructions", "instructions for the crew"),
        flag(
            "at",
            "startAt",
            "when it begins, in the time of the account: 2026-03-12 09:00",
            Takes::Start { end: "endAt", form: Form::Local },
        ),
        flag("for", "endAt", "how long it takes: 2h", Takes::Length),
        flag("until", "endAt", "when it ends", Takes::End),
        switch("unschedule", "unschedule", "takes it off the schedule"),
        flag(
            "assign",
            "assignedUserIds",
            "a user; they replace the present crew",
            Takes::Records(Kind::User),
        ),
        flag("nobody", "assignedUserIds", "assigns nobody", Takes::Nobody),
    ]),
    dangerous("visits", "delete", "Deletes a visit", "write_scheduled_items")
        .make("Delete a Visit")
        .document(include_str!("../../../../graphql/actions/visits_delete.graphql"))
        .about(Kind::Visit, "id"),
    writes("visits", "complete", "Completes a visit", "write_scheduled_items")
        .make("Complete a Visit")
        .document(include_str!("../../../../graphql/actions/visits_complete.graphql"))
        .about(Kind::Visit, "id")
        .input("input")
        .flags(&[instant("at", "completedAt", "when it was completed (default: now)")]),
    writes("visits", "uncomplete", "Marks a visit as not completed", "write_scheduled_items")
        .make("Mark as Incomplete")
        .document(include_str!("../../../../graphql/actions/visits_uncomplete.graphql"))
        .about(Kind::Visit, "id"),
    writes("visits", "add-line", "Adds line items to a visit", "write_scheduled_items")
        .make("Create a Visit Line Item")
        .document(include_str!("../../../../graphql/actions/visits_add_line.graphql"))
        .about(Kind::Visit, "id")
        .input("input")
        .flags(&[line("line", "lineItems", "a line item: name;quantity;unit price")])
        .defaults(&[("lineItems[].saveToProductsAndServices", "false")])
        .needs(&["lineItems"]),
];
