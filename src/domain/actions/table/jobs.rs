//! Jobs.

use super::{
    Action, Kind, Shape, Sorting, Takes, dangerous, date, flag, instant, line, reads, switch, value, writes,
};

pub(super) const ACTIONS: &[Action] = &[
    reads("jobs", "search", "Lists jobs that match", "read_jobs")
        .make("Search Jobs")
        .document(include_str!("../../../../graphql/actions/jobs_search.graphql"))
        .shape(Shape::List {
            takes_text: true,
            sort: Some(Sorting { is_list: true, key: "UPDATED_AT", direction: "DESCENDING" }),
            columns: &[
                ("NUMBER", "jobNumber"),
                ("TITLE", "title"),
                ("CLIENT", "client.name"),
                ("STATUS", "jobStatus"),
                ("TOTAL", "total"),
                ("COMPLETED", "completedAt"),
                ("ID", "id"),
            ],
        })
        .flags(&[
            value("status", "filter.status", "only those of this status"),
            value("type", "filter.jobType", "ONE_OFF or RECURRING"),
            instant("completed-after", "filter.completedAt.after", "only those completed after this time"),
            instant("completed-before", "filter.completedAt.before", "only those completed before this time"),
            instant("created-after", "filter.createdAt.after", "only those created after this time"),
            instant("created-before", "filter.createdAt.before", "only those created before this time"),
            flag(
                "assigned-to",
                "filter.visitsAssignedToUserId",
                "only those with visits of this user",
                Takes::Record(Kind::User),
            ),
        ]),
    reads("jobs", "show", "Shows a job with its visits, line items and notes", "read_jobs")
        .make("Get Job Details")
        .document(include_str!("../../../../graphql/actions/jobs_show.graphql"))
        .about(Kind::Job, "id")
        .shape(Shape::Show),
    writes("jobs", "create", "Creates a job for a client", "write_jobs")
        .make("Create a Job")
        .document(include_str!("../../../../graphql/actions/jobs_create.graphql"))
        .about(Kind::Client, "")
        .input("input")
        .flags(&[
            flag(
                "property",
                "propertyId",
                "the property, if the client has several",
                Takes::Record(Kind::Property),
            ),
            value("title", "title", "the title"),
            value("number", "jobNumber", "a number instead of the next one"),
            value("instructions", "instructions", "instructions for the crew"),
            date("start", "timeframe.startAt", "the first day: 2026-03-12"),
            flag(
                "invoicing",
                "invoicing.invoicingType",
                "how it is billed (default: fixed-price)",
                Takes::Choice(&[("fixed-price", "FIXED_PRICE"), ("per-visit", "VISIT_BASED")]),
            ),
            flag(
                "invoice-when",
                "invoicing.invoicingSchedule",
                "when it is billed (default: on-completion)",
                Takes::Choice(&[
                    ("on-completion", "ON_COMPLETION"),
                    ("periodic", "PERIODIC"),
                    ("per-visit", "PER_VISIT"),
                    ("never", "NEVER"),
                ]),
            ),
            switch("create-visits", "scheduling.createVisits", "whether visits are made"),
            flag("assign", "scheduling.assignedTo", "a user for its visits", Takes::Records(Kind::User)),
            switch("notify-team", "scheduling.notifyTeam", "whether the crew gets a message"),
            line("line", "lineItems", "a line item: name;quantity;unit price"),
            switch(
                "allow-review-request",
                "allowReviewRequest",
                "whether Jobber may send its own review request",
            ),
        ])
        .defaults(&[
            ("invoicing.invoicingType", "FIXED_PRICE"),
            ("invoicing.invoicingSchedule", "ON_COMPLETION"),
            ("scheduling?.createVisits", "true"),
            ("scheduling?.notifyTeam", "false"),
            ("lineItems[].saveToProductsAndServices", "false"),
        ])
        .property("propertyId"),
    writes("jobs", "update", "Changes a job", "write_jobs")
        .make("Update a Job")
        .document(include_str!("../../../../graphql/actions/jobs_update.graphql"))
        .about(Kind::Job, "id")
        .input("input")
        .flags(&[
            value("title", "title", "the title"),
            value("number", "jobNumber", "the number"),
            value(
                "instructions",
                "instructions",
                "instructions; they replace those of every visit that is not completed",
            ),
            date("start", "timeframe.startAt", "the first day"),
            switch(
                "allow-review-request",
                "allowReviewRequest",
                "whether Jobber may send its own review request",
            ),
        ])
        .defaults(&[("scheduling?.createVisits", "true"), ("scheduling?.notifyTeam", "false")]),
    dangerous("jobs", "close", "Closes a job; says what becomes of its visits", "write_jobs")
        .make("Close a Job")
        .document(include_str!("../../../../graphql/actions/jobs_close.graphql"))
        .about(Kind::Job, "id")
        .input("input")
        .flags(&[flag(
            "incomplete-visits",
            "modifyIncompleteVisitsBy",
            "what becomes of visits that are not completed",
            Takes::Choice(&[("complete-past", "COMPLETE_PAST_DESTROY_FUTURE"), ("destroy", "DESTROY_ALL")]),
        )]),
    writes("jobs", "reopen", "Reopens a job; deleted visits do not come back", "write_jobs")
        .make("Reopen a Job")
        .document(include_str!("../../../../graphql/actions/jobs_reopen.graphql"))
        .about(Kind::Job, "id"),
    writes("jobs", "note", "Adds a note to a job", "write_jobs")
        .document(include_str!("../../../../graphql/actions/jobs_note.graphql"))
        .about(Kind::Job, "id")
        .input("input")
        .flags(&[
            value("message", "message", "the text"),
            switch("pinned", "pinned", "whether it stays on top"),
        ])
        .needs(&["message"]),
    writes("jobs", "add-line", "Adds line items to a job", "write_jobs")
        .document(include_str!("../../../../graphql/actions/jobs_add_line.graphql"))
        .about(Kind::Job, "id")
        .input("input")
        .flags(&[line("line", "lineItems", "a line item: name;quantity;unit price")])
        .defaults(&[("lineItems[].saveToProductsAndServices", "false")])
        .needs(&["lineItems"]),
];
