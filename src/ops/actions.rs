//! Actions in Jobber by hand: what Make's module does, and the raw call.
//!
//! Reading needs nothing. Writing needs a permission in `actions.write` and the scope. What cannot be undone or messages
//! people needs a yes. How a write is kept from being done twice is in `workers/actions.rs`.

mod fill;
mod raw;
mod reading;
mod target;
mod writing;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use raw::{RawCall, RawReply, raw};

use super::{OpError, named, pick_account};
use crate::accounts::session::{SessionError, Trouble};
use crate::clock::minus;
use crate::context::Context;
use crate::digest;
use crate::domain::actions::{self, Action, Permission, Shape, Takes, nearest};
use crate::domain::model::{Account, AccountId, ActionOutcome, ActionRecord, Objection};
use crate::jobber::operations::Request;
use crate::jobber::schema::{DEAREST, Document};
use crate::jobber::scopes;
use target::Found;
use writing::{allowed, from_write, key_of};

/// Who asks for an action.
#[derive(Debug, Clone)]
pub enum Caller {
    Operator,
    /// A key of the HTTP API: its name, its account if it has only one, and what it may do.
    Key {
        name: String,
        account: Option<AccountId>,
        may: Vec<Permission>,
    },
    /// A rule of the settings, with its name.
    Rule {
        name: String,
    },
}

impl Caller {
    fn name(&self) -> String {
        match self {
            Self::Operator => "operator".to_owned(),
            Self::Rule { name } => name.clone(),
            Self::Key { name, .. } => format!("key {name}"),
        }
    }

    pub(super) fn forbidden(&self, name: &str) -> OpError {
        forbidden(self, name)
    }

    /// Whether it may see this account at all.
    pub(super) fn is_for(&self, account: &AccountId) -> bool {
        match self {
            Self::Operator | Self::Rule { .. } => true,
            Self::Key { account: only, .. } => only.as_ref().is_none_or(|only| only == account),
        }
    }

    pub(super) fn may(&self, name: &str) -> bool {
        match self {
            Self::Operator | Self::Rule { .. } => true,
            Self::Key { may, .. } => may.iter().any(|permission| permission.allows(name)),
        }
    }
}

/// What somebody wants done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ActionCall {
    /// Id or name. If absent, the only account.
    pub account: Option<String>,
    pub noun: String,
    pub verb: String,
    /// The record that it is about.
    pub target: Option<String>,
    /// What a search looks for.
    pub text: Option<String>,
    pub flags: Vec<(String, String)>,
    /// Paths of the input, and their values as text.
    pub data: Vec<(String, String)>,
    pub input: Option<Map<String, Value>>,
    /// Paths that are emptied.
    pub clear: Vec<String>,
    /// A key of Jobber's, and `:desc` or `:asc`.
    pub sort: Option<String>,
    /// Rows of a list. 0 is all of them.
    pub limit: Option<usize>,
    /// A name for the write, under which it is done once.
    pub key: Option<String>,
    pub is_confirmed: bool,
    /// The record that the write is about, if it has no target.
    #[serde(skip)]
    pub about: Option<String>,
    /// Only says what would be sent.
    pub only_print: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionStatus {
    Done,
    /// Jobber said no. Nothing was done.
    Refused,
    Partly,
    /// What became of it is not known.
    Unknown,
    /// It was only printed.
    NotSent,
    /// Jobber has no operation for it.
    Impossible,
    /// Somebody must say yes first.
    NeedsYes,
}

/// What came of an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionReply {
    pub action: String,
    pub account: AccountId,
    pub status: ActionStatus,
    /// What there is to say about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// The key of a write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// A record, with Jobber's names.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub record: Value,
    /// The rows of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<Value>>,
    /// Whether there are more rows.
    #[serde(default)]
    pub has_more: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Objection>,
    /// What would be sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Value>,
}

/// The writes of one account or of all, newest first.
pub async fn history(
    context: &Context,
    account: Option<String>,
    back: SignedDuration,
) -> Result<Vec<ActionRecord>, OpError> {
    let account = named(context, account).await?.map(|account| account.id);
    let since = minus(context.clock.now(), back);
    let mut records = context.store.actions(account.as_ref(), since).await?;
    for record in &mut records {
        if record.outcome == ActionOutcome::Begun && !context.writer.is_under_way(record) {
            let detail = "the program ended before there was an answer".to_owned();
            record.outcome = ActionOutcome::Unknown { ended_at: record.at, detail };
        }
    }
    Ok(records)
}

/// Does an action.
pub async fn act(context: &Context, caller: Caller, call: ActionCall) -> Result<ActionReply, OpError> {
    let action = find_action(&call.noun, &call.verb)?;
    let account = account_of(context, &caller, call.account.as_deref()).await?;
    if !caller.may(&action.name()) {
        return Err(forbidden(&caller, &action.name()));
    }
    for (name, _) in &call.flags {
        if action.flag(name).is_none() {
            let names = action.flags.iter().map(|flag| flag.name.to_owned());
            let nearest =
                nearest(name, names).map_or_else(String::new, |name| format!("; did you mean --{name}?"));
            return Err(OpError::Refused(format!("{} has no --{name}{nearest}", action.name())));
        }
    }
    let mut desk = Desk { context, caller, account, action, call, target: None };
    desk.normalise()?;
    if action.writes()
        && !desk.call.only_print
        && let Some(key) = &desk.call.key
    {
        // First of all: records may be called otherwise since.
        let known = context.writer.known(&desk.account.id, key, &action.name(), &desk.asked()).await;
        if let Some(record) = known.map_err(from_write)? {
            return Ok(desk.written(record));
        }
    }
    if !desk.call.only_print && !matches!(action.shape, Shape::Impossible(_)) {
        if action.writes() {
            allowed(context, &desk.caller, &action.name())?;
        }
        desk.has_scope().await?;
    }
    if let (Some((kind, _)), Some(text)) = (action.target, &desk.call.target) {
        desk.target = Some(desk.find(kind, text).await?);
    } else if let (Some((kind, _)), None, false) =
        (action.target, &desk.call.target, matches!(action.shape, Shape::Impossible(_)))
    {
        return Err(OpError::Refused(format!("{} needs a {}", action.name(), kind.as_str())));
    }
    match action.shape {
        Shape::Impossible(words) => desk.impossible(words).await,
        Shape::List { sort, .. } => desk.list(sort).await,
        Shape::Show => desk.show().await,
        Shape::Once => desk.once().await,
        Shape::InParts(parts) => desk.in_parts(parts).await,
    }
}

fn find_action(noun: &str, verb: &str) -> Result<&'static Action, OpError> {
    actions::find(noun, verb).ok_or_else(|| {
        let names = actions::all().map(Action::name);
        let nearest = nearest(&format!("{noun}.{verb}"), names)
            .map_or_else(String::new, |name| format!("; did you mean {name}?"));
        OpError::NotFound(format!("there is no action {noun}.{verb}{nearest}"))
    })
}

async fn account_of(context: &Context, caller: &Caller, name: Option<&str>) -> Result<Account, OpError> {
    let mut accounts = context.store.accounts().await?;
    // What a key is not for does not exist for it.
    accounts.retain(|account| caller.is_for(&account.id));
    if let Some(name) = name {
        return pick_account(accounts, name);
    }
    match accounts.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(OpError::NotFound("there is no account yet: make a link with `link create`".to_owned())),
        several => {
            let names: Vec<&str> = several.iter().take(10).map(|account| account.name.as_str()).collect();
            Err(OpError::Refused(format!(
                "there are {} accounts: choose one with --account ({}{})",
                several.len(),
                names.join(", "),
                if several.len() > 10 { ", …" } else { "" }
            )))
        }
    }
}

fn document(text: &str) -> Result<Document, OpError> {
    Document::parse(text, None).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> OpError {
    OpError::Failed(error.to_string())
}

pub(super) fn from_session(error: SessionError) -> OpError {
    match error {
        SessionError::Store(error) => error.into(),
        error @ (SessionError::NeedsAuthorization(_)
        | SessionError::Failed { trouble: Trouble::Operator, .. }) => OpError::NeedsHuman(error.to_string()),
        SessionError::Failed { detail, trouble: Trouble::Outage { retry_after, .. } } => {
            OpError::Later { detail, retry_after }
        }
        SessionError::Failed { detail, trouble: Trouble::Answer | Trouble::Refused(_) } => {
            OpError::Rejected(detail)
        }
    }
}

fn forbidden(caller: &Caller, name: &str) -> OpError {
    OpError::NeedsHuman(match caller {
        Caller::Operator | Caller::Rule { .. } => format!(
            "{name} is not allowed: add it to the settings (`[actions] write = [\"{name}\"]`) and reload the daemon"
        ),
        Caller::Key { name: key, .. } => {
            format!("the key `{key}` does not allow {name}: create one with --may {name}")
        }
    })
}

struct Desk<'c> {
    context: &'c Context,
    caller: Caller,
    account: Account,
    action: &'static Action,
    call: ActionCall,
    target: Option<Found>,
}

impl Desk<'_> {
    /// What was asked for, as a hash: a key stands for it.
    fn asked(&self) -> String {
        let ActionCall { target, flags, data, input, clear, .. } = &self.call;
        let parts = [
            serde_json::to_string(target),
            serde_json::to_string(flags),
            serde_json::to_string(data),
            serde_json::to_string(input),
            serde_json::to_string(clear),
        ];
        let parts: Vec<String> = parts.into_iter().map(Result::unwrap_or_default).collect();
        digest::of(&parts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Reads switches as what they say: one that is off was not given.
    fn normalise(&mut self) -> Result<(), OpError> {
        let parse = |name: &str, text: &str| match text {
            "true" | "yes" => Ok(true),
            "false" | "no" => Ok(false),
            _ => Err(OpError::Refused(format!("--{name} takes true or false, not `{text}`"))),
        };
        let action = self.action;
        // The request of such a part has everything: its flag only says whether it is sent.
        let is_bare = |name: &str| match action.shape {
            Shape::InParts(parts) => {
                parts.iter().any(|part| part.variable.is_none() && part.flags.contains(&name))
            }
            _ => false,
        };
        let mut flags = Vec::new();
        for (name, text) in std::mem::take(&mut self.call.flags) {
            let takes = action.flag(&name).map(|flag| flag.takes);
            let is_off = match takes {
                Some(Takes::Switch) => !parse(&name, &text)? && is_bare(&name),
                Some(Takes::Nobody) => !parse(&name, &text)?,
                _ => false,
            };
            if !is_off {
                flags.push((name, text));
            }
        }
        let has_flag = |name: &str| flags.iter().any(|(flag, _)| flag == name);
        if has_flag("assign") && has_flag("nobody") {
            return Err(OpError::Refused("give --assign or --nobody, not both".to_owned()));
        }
        self.call.flags = flags;
        for (path, text) in std::mem::take(&mut self.call.data) {
            if !is_bare(&path) || parse(&path, &text)? {
                self.call.data.push((path, text));
            }
        }
        let wrong = |name: &str| OpError::Refused(format!("`{name}` takes true or false"));
        if let Some(input) = &mut self.call.input {
            let bare: Vec<String> = input.keys().filter(|name| is_bare(name)).cloned().collect();
            for name in bare {
                if !input[&name].as_bool().ok_or_else(|| wrong(&name))? {
                    input.remove(&name);
                }
            }
        }
        Ok(())
    }

    /// Whether the token has the scope of the action, as far as it says.
    async fn has_scope(&self) -> Result<(), OpError> {
        let granted = self.context.session.granted(&self.account.id).await.map_err(from_session)?;
        let scope = self.action.scope;
        match granted {
            Some(granted) if !granted.contains(scope) => Err(OpError::NeedsHuman(format!(
                "the app lacks the scope {}: add it in Jobber's developer centre, then send the contractor a new link",
                scopes::label(scope)
            ))),
            _ => Ok(()),
        }
    }

    fn reply(&self, status: ActionStatus) -> ActionReply {
        ActionReply {
            action: self.action.name(),
            account: self.account.id.clone(),
            status,
            words: None,
            key: None,
            record: Value::Null,
            rows: None,
            has_more: false,
            errors: Vec::new(),
            requests: Vec::new(),
        }
    }

    /// The id of the target and what comes with it, by their paths in the variables.
    async fn around(&self) -> Result<Vec<(String, Value)>, OpError> {
        let mut around = Vec::new();
        if let (Some((_, path)), Some(target)) = (self.action.target, &self.target)
            && !path.is_empty()
        {
            around.push((path.to_owned(), target.id.clone().into()));
        }
        if let (Some(path), Some(variable), Some(client)) =
            (self.action.property, self.action.variable, &self.target)
        {
            let is_given = self.call.flags.iter().any(|(name, _)| name == "property")
                || self.call.input.as_ref().is_some_and(|input| input.contains_key(path))
                || self.call.data.iter().any(|(given, _)| given == path);
            if !is_given && self.call.only_print {
                return Err(OpError::Refused("with --print-query name the --property too".to_owned()));
            }
            if !is_given {
                around.push((format!("{variable}.{path}"), self.only_property(client).await?.into()));
            }
        }
        Ok(around)
    }

    fn printed(&self, requests: &[(&'static str, Request)]) -> ActionReply {
        let mut reply = self.reply(ActionStatus::NotSent);
        reply.requests = requests.iter().map(|(_, request)| printed(request)).collect();
        reply
    }
}

/// What would be sent, and what it costs.
fn printed(request: &Request) -> Value {
    let mut body = request.body();
    body["cost"] = request.cost().into();
    body
}

/// A request that would never run is refused here.
fn affordable(request: &Request) -> Result<(), OpError> {
    let cost = request.cost();
    if cost > DEAREST {
        return Err(OpError::Refused(format!(
            "it costs {cost} points, and Jobber runs nothing above {DEAREST}: ask for fewer rows (`first`)"
        )));
    }
    Ok(())
}
