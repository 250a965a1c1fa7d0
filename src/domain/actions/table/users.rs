//! Users.

use super::{Action, Shape, Sorting, reads, value};

pub(super) const ACTIONS: &[Action] = &[
    reads("users", "search", "Lists users that match", "read_users")
        .make("Search Users")
        .document(include_str!("../../../../graphql/actions/users_search.graphql"))
        .shape(Shape::List {
            takes_text: true,
            sort: Some(Sorting { is_list: true, key: "NAME", direction: "ASCENDING" }),
            columns: &[
                ("NAME", "name.full"),
                ("EMAIL", "email.raw"),
                ("STATUS", "status"),
                ("ADMIN", "isAccountAdmin"),
                ("ID", "id"),
            ],
        })
        .flags(&[value("status", "filter.status", "ACTIVATED or DEACTIVATED")]),
    reads("users", "create", "Jobber cannot create users: says where to do it", "read_users")
        .make("Create a User")
        .shape(Shape::Impossible(
            "Jobber has no operation that creates a user: invite them in Jobber under Settings, Manage Team",
        )),
];
