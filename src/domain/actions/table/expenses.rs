//! Expenses.

use super::{Action, Kind, Takes, dangerous, flag, instant, value, writes};

pub(super) const ACTIONS: &[Action] = &[
    writes("expenses", "create", "Creates an expense", "write_expenses")
        .make("Create an Expense")
        .document(include_str!("../../../../graphql/actions/expenses_create.graphql"))
        .input("input")
        .flags(&[
            value("title", "title", "the title"),
            instant("date", "date", "the day"),
            value("total", "total", "the amount"),
            value("description", "description", "what it was for"),
            flag("job", "linkedJobId", "the job it belongs to", Takes::Record(Kind::Job)),
            flag("reimburse", "reimbursableToId", "the user who paid", Takes::Record(Kind::User)),
            value("receipt", "receiptUrl", "a public address of the receipt"),
        ]),
    writes("expenses", "update", "Changes an expense", "write_expenses")
        .make("Update an Expense")
        .document(include_str!("../../../../graphql/actions/expenses_update.graphql"))
        .about(Kind::Expense, "id")
        .input("input")
        .flags(&[
            value("title", "title", "the title"),
            instant("date", "date", "the day"),
            value("total", "total", "the amount"),
            value("description", "description", "what it was for"),
            flag("job", "linkedJobId", "the job it belongs to", Takes::Record(Kind::Job)),
            flag("reimburse", "reimbursableToId", "the user who paid", Takes::Record(Kind::User)),
            value("receipt", "receiptUrl", "a public address of the receipt"),
        ]),
    dangerous("expenses", "delete", "Deletes an expense", "write_expenses")
        .make("Delete an Expense")
        .document(include_str!("../../../../graphql/actions/expenses_delete.graphql"))
        .about(Kind::Expense, "id"),
];
