//! Asks a live account what nobody knows about Jobber yet, so that the first real user settles it.
//!
//! It reads only. It writes only on records that the operator names, and puts them back. What it prints holds no names,
//! numbers or ids, so that it can be pasted into a report.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{OpError, find_account};
use crate::accounts::session::SessionError;
use crate::clock::{minus, plus};
use crate::context::Context;
use crate::domain::model::AccountId;
use crate::jobber::{API_VERSION, Exchange};

const JOBS: &str = include_str!("../../graphql/probe_jobs.graphql");
const JOB: &str = include_str!("../../graphql/probe_job.graphql");
const CLIENT: &str = include_str!("../../graphql/probe_client.graphql");
const REOPEN: &str = include_str!("../../graphql/job_reopen.graphql");
const CLOSE: &str = include_str!("../../graphql/job_close.graphql");
const EDIT: &str = include_str!("../../graphql/client_edit.graphql");

/// Jobs that are looked at.
const ROWS: usize = 50;

/// How far back finished jobs are looked for.
const YEARS: SignedDuration = SignedDuration::from_hours(3 * 365 * 24);

/// A question about Jobber, and what this account answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    pub question: String,
    pub seen: String,
}

/// What may be asked, and of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probing {
    /// Without it, only the questions are listed.
    pub is_meant: bool,
    /// Another version of the API to ask for.
    pub version: Option<String>,
    /// A closed job that may be reopened and closed again.
    pub job: Option<String>,
    /// A client whose company name may be cleared and put back.
    pub client: Option<String>,
}

const QUESTIONS: [&str; 6] = [
    "which version of the API is served, and what it says about its end",
    "whether `after`, `before` and `eq` in a filter include the instant of the row itself",
    "whether instants have fractions, and how many rows share a second",
    "how many titles are blank, and whether the two review switches are on",
    "how phone numbers and their permission for texts look",
    "whether a list repeats rows from page to page",
];

const WRITES: [(&str, &str); 2] = [
    ("--job", "what reopening and closing does to completedAt and updatedAt"),
    ("--client", "whether an explicit null in an edit clears the field"),
];

const NEVER: [&str; 2] = [
    "what a 429 looks like (it would use up the account's requests)",
    "what is read after appDisconnect (it would end the connection)",
];

/// Asks the questions, or lists them.
pub async fn probe(context: &Context, account: &str, probing: Probing) -> Result<Vec<Finding>, OpError> {
    let account = find_account(context, account).await?;
    if !probing.is_meant {
        return Ok(planned(&probing));
    }
    let version = probing.version.clone().unwrap_or_else(|| API_VERSION.to_owned());
    let desk = Desk { context, account: account.id, version };
    let mut found = desk.read().await?;
    if let Some(job) = &probing.job {
        found.push(desk.reopen(job).await?);
    }
    if let Some(client) = &probing.client {
        found.push(desk.clear(client).await?);
    }
    Ok(found)
}

fn planned(probing: &Probing) -> Vec<Finding> {
    let finding =
        |question: &str, seen: &str| Finding { question: question.to_owned(), seen: seen.to_owned() };
    let mut list: Vec<_> = QUESTIONS.iter().map(|question| finding(question, "add --yes to ask")).collect();
    for (flag, question) in WRITES {
        let is_named = if flag == "--job" { probing.job.is_some() } else { probing.client.is_some() };
        let how = if is_named { "add --yes to ask; it writes and puts back" } else { "name a record for it" };
        list.push(finding(&format!("{question} ({flag})"), how));
    }
    list.extend(NEVER.iter().map(|question| finding(question, "never asked by this program")));
    list
}

struct Desk<'c> {
    context: &'c Context,
    account: AccountId,
    version: String,
}

impl Desk<'_> {
    async fn ask(&self, document: &str, variables: Value) -> Result<Exchange, OpError> {
        let body = json!({"query": document, "variables": variables});
        match self.context.session.exchange(&self.account, &self.version, &body).await {
            Ok(exchange) => Ok(exchange),
            Err(SessionError::Store(error)) => Err(error.into()),
            Err(error) => Err(OpError::Failed(format!("{error}; nothing more was asked"))),
        }
    }

    async fn jobs(&self, filter: Value, first: usize, after: Option<&str>) -> Result<Exchange, OpError> {
        self.ask(JOBS, json!({"filter": filter, "first": first, "after": after})).await
    }

    async fn read(&self) -> Result<Vec<Finding>, OpError> {
        let since = minus(self.context.clock.now(), YEARS);
        let all = json!({"completedAt": {"after": since}});
        let first = self.jobs(all.clone(), ROWS, None).await?;
        let mut found = vec![self.served(&first)];
        let rows = rows(&first);
        if rows.is_empty() {
            let seen = match first.errors() {
                Some(errors) => format!("nothing could be read: {errors}"),
                None => "this account has no finished jobs".to_owned(),
            };
            found.push(Finding { question: QUESTIONS[1].to_owned(), seen });
            return Ok(found);
        }
        found.push(self.bounds(&rows).await?);
        found.push(instants(&rows));
        found.push(switches(&rows));
        found.push(phones(&rows));
        found.push(self.repeats(all).await?);
        Ok(found)
    }

    fn served(&self, answer: &Exchange) -> Finding {
        let versioning = answer.body.pointer("/extensions/versioning").cloned().unwrap_or_default();
        let errors = answer.errors().map_or_else(String::new, |errors| format!("; errors: {errors}"));
        Finding {
            question: QUESTIONS[0].to_owned(),
            seen: format!("asked for {}: HTTP {}, {versioning}{errors}", self.version, answer.status),
        }
    }

    /// Whether a filter finds the row whose instant is its bound.
    async fn bounds(&self, rows: &[Row]) -> Result<Finding, OpError> {
        let Some((id, at)) = rows.iter().find_map(|row| Some((&row.id, row.completed_at?))) else {
            return Ok(Finding { question: QUESTIONS[1].to_owned(), seen: "no instant to try".to_owned() });
        };
        let second = SignedDuration::from_secs(1);
        let mut seen = Vec::new();
        for (name, bound) in [
            ("after its own instant", json!({"after": at})),
            ("after a second before", json!({"after": minus(at, second)})),
            ("after a second later", json!({"after": plus(at, second)})),
            ("before its own instant", json!({"before": at, "after": minus(at, second * 2)})),
            ("eq", json!({"eq": at})),
        ] {
            let answer = self.jobs(json!({ "completedAt": bound }), ROWS, None).await?;
            let is_there = self::rows(&answer).iter().any(|row| row.id == *id);
            let what = match answer.errors() {
                Some(errors) => errors,
                None if is_there => "found".to_owned(),
                None => "not found".to_owned(),
            };
            seen.push(format!("{name}: {what}"));
        }
        Ok(Finding { question: QUESTIONS[1].to_owned(), seen: seen.join("; ") })
    }

    async fn repeats(&self, filter: Value) -> Result<Finding, OpError> {
        let (mut ids, mut repeated, mut total) = (BTreeSet::new(), 0, Value::Null);
        let mut cursor: Option<String> = None;
        for _ in 0..3 {
            let answer = self.jobs(filter.clone(), ROWS, cursor.as_deref()).await?;
            total = answer.body.pointer("/data/jobs/totalCount").cloned().unwrap_or_default();
            repeated += rows(&answer).into_iter().filter(|row| !ids.insert(row.id.clone())).count();
            let info = answer.body.pointer("/data/jobs/pageInfo").cloned().unwrap_or_default();
            cursor = info["endCursor"].as_str().map(str::to_owned);
            if info["hasNextPage"] != true || cursor.is_none() {
                break;
            }
        }
        let seen = format!("{} rows read of {total}, {repeated} came twice", ids.len() + repeated);
        Ok(Finding { question: QUESTIONS[5].to_owned(), seen })
    }

    async fn reopen(&self, job: &str) -> Result<Finding, OpError> {
        let state = async || {
            let answer = self.ask(JOB, json!({ "id": job })).await?;
            Ok::<_, OpError>(answer.body.pointer("/data/job").cloned().unwrap_or_default())
        };
        let words = |job: &Value| {
            format!("{} completedAt {} updatedAt {}", job["jobStatus"], job["completedAt"], job["updatedAt"])
        };
        let before = state().await?;
        if before["completedAt"].is_null() {
            return Err(OpError::Refused(
                "--job: this job is not there or not closed, and closing an open one could change its visits: name a closed one".to_owned(),
            ));
        }
        let reopened = self.ask(REOPEN, json!({ "id": job })).await;
        let open = state().await;
        // Whatever came of it, the job is closed again.
        let input = json!({"modifyIncompleteVisitsBy": "COMPLETE_PAST_DESTROY_FUTURE"});
        let closed = self.ask(CLOSE, json!({"id": job, "input": input})).await;
        let after = state().await;
        let is_closed = after.as_ref().is_ok_and(|after| !after["completedAt"].is_null());
        if !is_closed {
            return Err(OpError::Failed(
                "--job: the job could not be closed again: close it in Jobber".to_owned(),
            ));
        }
        let (reopened, open, closed, after) = (reopened?, open?, closed?, after?);
        let mut seen = format!(
            "closed: {}; reopened: {}; closed again: {}",
            words(&before),
            words(&open),
            words(&after)
        );
        for (name, answer) in [("reopening", reopened), ("closing", closed)] {
            if let Some(errors) = answer.errors() {
                // A String accepts every write.
                let _written = write!(seen, "; {name} was refused: {errors}");
            }
        }
        Ok(Finding { question: WRITES[0].1.to_owned(), seen })
    }

    async fn clear(&self, client: &str) -> Result<Finding, OpError> {
        let name = async || {
            let answer = self.ask(CLIENT, json!({ "id": client })).await?;
            Ok::<_, OpError>(answer.body.pointer("/data/client/companyName").cloned())
        };
        let Some(Value::String(before)) = name().await?.filter(|name| name != "") else {
            return Err(OpError::Refused(
                "--client: this client is not there or has no company name that could be cleared: name another one"
                    .to_owned(),
            ));
        };
        let edit = |value: Value| self.ask(EDIT, json!({"id": client, "input": {"companyName": value}}));
        let cleared = edit(Value::Null).await;
        let between = name().await;
        // Whatever came of it, the name is put back.
        let restored = edit(before.clone().into()).await;
        let after = name().await;
        if after.as_ref().ok().and_then(Option::as_ref) != Some(&Value::String(before.clone())) {
            return Err(OpError::Failed(format!(
                "--client: the company name could not be put back, restore it in Jobber: {before}"
            )));
        }
        let (cleared, restored) = (cleared?, restored?);
        let Some(between) = between? else {
            return Err(OpError::Failed(
                "--client: the field could not be read in between; it was put back".to_owned(),
            ));
        };
        let mut seen = match &between {
            Value::Null => "the field is null afterwards".to_owned(),
            Value::String(text) if text.is_empty() => "the field is empty afterwards".to_owned(),
            Value::String(text) if *text == before => "the field is unchanged".to_owned(),
            _ => "the field has another value afterwards".to_owned(),
        };
        for (what, answer) in [("the null", cleared), ("putting back", restored)] {
            if let Some(errors) = answer.errors() {
                let _written = write!(seen, "; {what} was refused: {errors}");
            }
        }
        Ok(Finding { question: WRITES[1].1.to_owned(), seen: format!("{seen}; it was put back") })
    }
}

struct Row {
    id: String,
    completed_at: Option<Timestamp>,
    node: Value,
}

fn rows(answer: &Exchange) -> Vec<Row> {
    let nodes =
        answer.body.pointer("/data/jobs/nodes").and_then(Value::as_array).cloned().unwrap_or_default();
    let row = |node: Value| {
        let text = |name: &str| node[name].as_str().unwrap_or_default().to_owned();
        Row { id: text("id"), completed_at: text("completedAt").parse().ok(), node }
    };
    nodes.into_iter().map(row).collect()
}

fn instants(rows: &[Row]) -> Finding {
    let texts: Vec<&str> = rows
        .iter()
        .flat_map(|row| [row.node["updatedAt"].as_str(), row.node["completedAt"].as_str()])
        .flatten()
        .collect();
    let with_fraction = texts.iter().filter(|text| text.contains('.')).count();
    let with_offset = texts.iter().filter(|text| !text.ends_with('Z')).count();
    let mut seconds: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *seconds.entry(row.node["updatedAt"].as_str().unwrap_or_default()).or_default() += 1;
    }
    let most = seconds.values().max().copied().unwrap_or_default();
    let seen = format!(
        "{} instants: {with_fraction} with a fraction, {with_offset} with an offset; at most {most} of {} rows share an updatedAt",
        texts.len(),
        rows.len()
    );
    Finding { question: QUESTIONS[2].to_owned(), seen }
}

fn switches(rows: &[Row]) -> Finding {
    let blank =
        rows.iter().filter(|row| row.node["title"].as_str().unwrap_or_default().trim().is_empty()).count();
    let allowed = rows.iter().filter(|row| row.node["allowReviewRequest"] == true).count();
    let receive = rows.iter().filter(|row| row.node["client"]["receivesReviewRequests"] == true).count();
    let seen = format!(
        "{} jobs: {blank} without a title, allowReviewRequest on for {allowed}, receivesReviewRequests on for {receive}",
        rows.len()
    );
    Finding { question: QUESTIONS[3].to_owned(), seen }
}

fn phones(rows: &[Row]) -> Finding {
    let phones: Vec<&Value> =
        rows.iter().filter_map(|row| row.node["client"]["phones"].as_array()).flatten().collect();
    let normalised = phones.iter().filter(|phone| phone["normalizedPhoneNumber"].is_string()).count();
    let allowed = phones.iter().filter(|phone| phone["smsAllowed"] == true).count();
    let seen = format!("{} numbers: {normalised} normalised, {allowed} marked as taking texts", phones.len());
    Finding { question: QUESTIONS[4].to_owned(), seen }
}
