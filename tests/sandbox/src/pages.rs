//! The sandbox's pages: consent, and a list of jobs with buttons.

use maud::{DOCTYPE, Markup, html};
use serde_json::Value;

use super::app::AuthorizeQuery;
use super::world::{Kind, Row, World, reference};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem;\
    color:#1b2a33}h1{font-size:1.4rem}table{border-collapse:collapse;width:100%}td,th{text-align:left;\
    padding:.3rem .5rem;border-bottom:1px solid #ddd}button{font:inherit;padding:.5rem 1rem;margin-right:.5rem}\
    select{font:inherit;padding:.4rem}form{display:inline}.note{color:#667}";

fn page(title: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    }
    .into_string()
}

pub(super) fn refused() -> String {
    let body = html! {
        h1 { "This app is not known here" }
        p { "The request needs response_type=code, the sandbox's client_id and a redirect_uri." }
    };
    page("Sandbox", &body)
}

/// The consent page, with the choice of an account.
pub(super) fn consent(world: &World, query: &AuthorizeQuery) -> String {
    let body = html! {
        h1 { "Sandbox: an app asks for access" }
        p { "It wants to read clients, jobs, visits, invoices and users of:" }
        form method="post" action="/api/oauth/decide" {
            input type="hidden" name="redirect_uri" value=[query.redirect_uri.as_deref()];
            @if let Some(state) = &query.state {
                input type="hidden" name="state" value=(state);
            }
            p {
                select name="account" id="account" {
                    @for (number, account) in &world.accounts {
                        option value=(number) { (text(&account.data.account, "name")) }
                    }
                }
            }
            button type="submit" name="decision" value="allow" id="allow" { "Allow access" }
            button type="submit" name="decision" value="deny" id="deny" { "Deny" }
        }
        p.note { "This is a local stand-in for Jobber. Nothing leaves this machine." }
    };
    page("Sandbox: allow access?", &body)
}

/// All accounts and their jobs, newest first.
pub(super) fn home(world: &World) -> String {
    let body = html! {
        h1 { "Sandbox: a local Jobber" }
        p.note { "Close a job and see what the daemon does about it." }
        @for (number, account) in world.accounts.iter().take(20) {
            h2 { (text(&account.data.account, "name")) }
            table {
                tr { th { "Job" } th { "Title" } th { "Client" } th { "Status" } th {} }
                @for (_, job) in account.data.table(Kind::Job).collect::<Vec<_>>().into_iter().rev().take(20) {
                    @let client = reference(job, "_client").and_then(|client| account.data.get(Kind::Client, client));
                    @let closed = job.get("completedAt").is_some_and(|at| !at.is_null());
                    tr {
                        td { "#" (job.get("jobNumber").and_then(Value::as_u64).unwrap_or_default()) }
                        td { (text(job, "title")) }
                        td { (client.map(|client| text(client, "name")).unwrap_or_default()) }
                        td { (text(job, "jobStatus")) }
                        td {
                            form method="post" action="/click" {
                                input type="hidden" name="account" value=(number);
                                input type="hidden" name="id" value=(text(job, "id"));
                                @let (mutation, label) =
                                    if closed { ("jobReopen", "Reopen") } else { ("jobClose", "Close") };
                                button type="submit" name="mutation" value=(mutation) { (label) }
                            }
                        }
                    }
                }
            }
        }
    };
    page("Sandbox: a local Jobber", &body)
}

fn text<'r>(row: &'r Row, field: &str) -> &'r str {
    row.get(field).and_then(Value::as_str).unwrap_or_default()
}
