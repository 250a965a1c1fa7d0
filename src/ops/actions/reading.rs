//! Actions that read: lists and single records.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::fill::Portion;
use super::{ActionReply, ActionStatus, Desk, OpError, document};
use crate::domain::actions::{Kind, Sorting};
use crate::jobber::operations::Request;

/// Rows of a list when nobody says otherwise.
const ROWS: usize = 25;

/// Rows of a page of Jobber's, at most.
const PAGE: usize = 100;

/// Pages that are read for one list, at most.
const PAGES: usize = 1000;

impl Desk<'_> {
    pub(super) async fn impossible(&self, words: &str) -> Result<ActionReply, OpError> {
        let mut reply = self.reply(ActionStatus::Impossible);
        reply.words = Some(words.to_owned());
        if let Some(target) = self.target.as_ref().filter(|_| !self.action.document.is_empty()) {
            let document = document(self.action.document)?;
            let variables = Map::from_iter([("id".to_owned(), json!(target.id))]);
            let data = self.query(Request { document, variables, kind: self.action.noun }).await?;
            reply.record = self.only_record(data)?;
            if let Some(page) = reply.record["jobberWebUri"].as_str() {
                reply.words = Some(format!("{words}: {page}"));
            }
        }
        Ok(reply)
    }

    pub(super) fn only_record(&self, data: Value) -> Result<Value, OpError> {
        let record = match data {
            Value::Object(data) => data.into_iter().next().map(|(_, record)| record),
            _ => None,
        };
        record.filter(|record| !record.is_null()).ok_or_else(|| {
            let (kind, _) = self.action.target.unwrap_or((Kind::Job, ""));
            let text = self.call.target.as_deref().unwrap_or_default();
            OpError::NotFound(format!("there is no {} `{text}` in {}", kind.as_str(), self.account.name))
        })
    }

    pub(super) async fn show(&self) -> Result<ActionReply, OpError> {
        let document = document(self.action.document)?;
        let variables = Map::from_iter(self.around().await?);
        let request = Request { document, variables, kind: self.action.noun };
        if self.call.only_print {
            return Ok(self.printed(&[("", request)]));
        }
        let mut reply = self.reply(ActionStatus::Done);
        reply.record = self.only_record(self.query(request).await?)?;
        Ok(reply)
    }

    fn sort(&self, usual: Sorting) -> Result<Value, OpError> {
        let (key, direction) = match self.call.sort.as_deref() {
            None => (usual.key.to_owned(), usual.direction),
            Some(text) => {
                let (key, direction) = text.split_once(':').unwrap_or((text, "asc"));
                let direction = match direction {
                    "asc" => "ASCENDING",
                    "desc" => "DESCENDING",
                    other => {
                        return Err(OpError::Refused(format!("--sort: write asc or desc, not `{other}`")));
                    }
                };
                (key.to_uppercase().replace('-', "_"), direction)
            }
        };
        let one = json!({"key": key, "direction": direction});
        Ok(if usual.is_list { json!([one]) } else { one })
    }

    pub(super) async fn list(&self, usual: Option<Sorting>) -> Result<ActionReply, OpError> {
        let document = document(self.action.document)?;
        let root = document.roots().into_iter().next().unwrap_or_default();
        let mut more = self.around().await?;
        more.extend(self.call.text.as_ref().map(|text| ("searchTerm".to_owned(), json!(text))));
        match usual {
            Some(usual) => more.push(("sort".to_owned(), self.sort(usual)?)),
            None if self.call.sort.is_some() => {
                return Err(OpError::Refused(format!(
                    "Jobber does not sort {}: leave --sort out",
                    self.action.noun
                )));
            }
            None => {}
        }
        if self.action.noun == "users" && self.call.input.is_none() {
            // A filter without a status is refused (`actions.md`, Search Users).
            let has_filter = !self.call.flags.is_empty() || !self.call.data.is_empty();
            let has_status = self.call.flags.iter().any(|(name, _)| name == "status");
            if has_filter && !has_status && !self.call.data.iter().any(|(path, _)| path == "filter.status") {
                more.push(("filter.status".to_owned(), json!("ACTIVATED")));
            }
        }
        let wanted = match self.call.limit {
            None => ROWS,
            Some(0) => usize::MAX,
            Some(limit) => limit,
        };
        more.push(("first".to_owned(), json!(wanted.min(PAGE))));
        let mut variables = self.fill(&document, Portion { variable: None, flags: None }, &more).await?;
        let request = |variables: &Map<String, Value>| Request {
            document: document.clone(),
            variables: variables.clone(),
            kind: self.action.noun,
        };
        if self.call.only_print {
            return Ok(self.printed(&[("", request(&variables))]));
        }
        let (mut rows, mut seen) = (Vec::new(), BTreeSet::new());
        let mut has_more = false;
        for _ in 0..PAGES {
            let data = self.query(request(&variables)).await?;
            let page = &data[&root];
            let nodes = page["nodes"].as_array().cloned().unwrap_or_default();
            // Rows that move while pages are read come twice (`api-behaviour.md` §3, Paging).
            rows.extend(nodes.into_iter().filter(|row| seen.insert(row["id"].to_string())));
            has_more = page["pageInfo"]["hasNextPage"] == true || rows.len() > wanted;
            let cursor = page["pageInfo"]["endCursor"].clone();
            if rows.len() >= wanted || page["pageInfo"]["hasNextPage"] != true || cursor.is_null() {
                break;
            }
            variables.insert("after".to_owned(), cursor);
        }
        rows.truncate(wanted);
        let mut reply = self.reply(ActionStatus::Done);
        (reply.rows, reply.has_more) = (Some(rows), has_more);
        Ok(reply)
    }
}
