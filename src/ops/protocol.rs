//! The verbs on the control socket, and the function behind each.
//!
//! A request is one JSON object: `verb` is its name, the other fields are its arguments. Each verb is a type,
//! so the caller knows the type of the reply. A new verb is one entry in the table below.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::accounts::{AccountChange, AccountShown, Handed};
use super::actions::{ActionCall, ActionReply, Caller, RawCall, RawReply};
use super::console::ConsoleOpened;
use super::doctor::Check;
use super::events::{EventsOf, EventsReport};
use super::explain::{Audited, Explained};
use super::links::{LinkShown, NewLinkReply};
use super::once::{OnceReport, once};
use super::people::Forgetting;
use super::probe::{Finding, Probing};
use super::queue::QueueRow;
use super::reviews::{ApiKeyShown, NewApiKey};
use super::status::StatusReport;
use super::{
    Done, OpError, Told, accounts, actions, backup, console, doctor, events, explain, links, named, people,
    probe, queue, reviews, shadow, status,
};
use crate::context::Context;
use crate::domain::import::AskedBefore;
use crate::domain::model::{
    Account, ActionRecord, Kept, LinkBrand, LinkId, MessageId, OutboxEntry, Suppression, Trigger,
};
use crate::domain::shadow::ShadowReport;
use crate::store::Copied;
use crate::workers::pool::Effect;

/// An [`OpError`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The kind of error.
    pub kind: RefusalKind,
    /// The error's message.
    pub message: String,
}

/// The kind of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The request is wrong.
    Refused,
    /// The named thing does not exist.
    NotFound,
    /// The program, its store or something outside failed.
    Failed,
    /// Somebody must act first.
    NeedsHuman,
}

impl From<OpError> for Refusal {
    fn from(error: OpError) -> Self {
        let kind = match &error {
            OpError::Refused(_) | OpError::Conflict(_) => RefusalKind::Refused,
            OpError::NotFound(_) => RefusalKind::NotFound,
            OpError::Failed(_) | OpError::Rejected(_) | OpError::Later { .. } => RefusalKind::Failed,
            OpError::NeedsHuman(_) => RefusalKind::NeedsHuman,
            OpError::Store(error) => {
                tracing::error!(%error, "an operator's request failed");
                RefusalKind::Failed
            }
        };
        Self { kind, message: error.to_string() }
    }
}

/// The environment in which a verb runs.
#[derive(Debug)]
pub struct Scene<'c> {
    /// The program's parts.
    pub context: &'c Context,
    /// Whether a daemon runs it.
    pub is_daemon: bool,
    /// Receives messages before the reply. Parts of an export wait for the receiver, progress does not.
    pub tell: mpsc::Sender<Told>,
}

/// A command of the operator.
pub trait Verb: Serialize + DeserializeOwned + Clone + Send + Sync {
    /// The name on the wire.
    const NAME: &'static str;

    /// The type of the reply.
    type Reply: Serialize + DeserializeOwned + Send;

    /// Runs the verb.
    fn run(self, scene: Scene<'_>) -> impl Future<Output = Result<Self::Reply, OpError>> + Send;
}

/// Encodes a verb as a line of JSON.
pub fn request<V: Verb>(verb: &V) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Named<'v, V> {
        verb: &'static str,
        #[serde(flatten)]
        fields: &'v V,
    }

    serde_json::to_string(&Named { verb: V::NAME, fields: verb })
}

async fn carried_out<V: Verb>(request: &str, scene: Scene<'_>) -> Result<Value, Refusal> {
    let Ok(verb) = serde_json::from_str::<V>(request) else { return Err(unknown()) };
    let reply = verb.run(scene).await?;
    serde_json::to_value(reply)
        .map_err(|error| Refusal { kind: RefusalKind::Failed, message: error.to_string() })
}

fn unknown() -> Refusal {
    let message = "the daemon does not know this request: it is probably another version; restart the daemon";
    Refusal { kind: RefusalKind::Refused, message: message.to_owned() }
}

macro_rules! verbs {
    ($(
        $(#[$doc:meta])*
        $name:literal: $Verb:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* } -> $Reply:ty
            = |$scene:ident| $run:expr;
    )+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
            pub struct $Verb {
                $($(#[$field_doc])* pub $field: $type,)*
            }

            impl Verb for $Verb {
                const NAME: &'static str = $name;

                type Reply = $Reply;

                async fn run(self, $scene: Scene<'_>) -> Result<Self::Reply, OpError> {
                    let Self { $($field,)* } = self;
                    $run
                }
            }
        )+

        /// Runs the verb in a line of JSON.
        pub async fn answer(request: &str, scene: Scene<'_>) -> Result<Value, Refusal> {
            let Some(name) = name_of(request) else { return Err(unknown()) };
            match name.as_str() {
                $($name => carried_out::<$Verb>(request, scene).await,)+
                _ => Err(unknown()),
            }
        }

        /// Whether a line of JSON is a verb with all its fields. If so, it must encode and decode to the
        /// same.
        #[cfg(feature = "fuzzing")]
        pub(crate) fn fuzzed(request: &str) -> bool {
            match name_of(request).as_deref() {
                $(Some($name) => serde_json::from_str::<$Verb>(request).is_ok_and(|verb| {
                    let again = self::request(&verb).unwrap_or_default();
                    assert!(serde_json::from_str::<$Verb>(&again).is_ok_and(|read| read == verb), "does not read back");
                    true
                }),)+
                _ => false,
            }
        }
    };
}

fn name_of(request: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Name {
        verb: String,
    }

    serde_json::from_str::<Name>(request).ok().map(|name| name.verb)
}

verbs! {
    /// Runs one sweep.
    "once": Once {
        /// Id or name. If absent, all accounts.
        account: Option<String>,
        /// Whether nothing is stored or sent.
        dry_run: bool,
    } -> OnceReport = |scene| {
        let only = named(scene.context, account).await?.map(|account| account.id);
        let effect = if dry_run { Effect::DryRun } else { Effect::Apply };
        let tell = scene.tell;
        let progress = move |done, of| {
            // A slow reader misses some progress.
            let _heard = tell.try_send(Told::Progress { done, of });
        };
        Ok(once(scene.context, only.as_ref(), effect, &progress).await?)
    };

    /// Creates a link.
    "link_create": LinkCreate {
        /// The operator's name for the account.
        name: String,
        /// The trigger that the page proposes. If absent, the configured one.
        trigger: Option<Trigger>,
        /// Id or name of the account to reconnect.
        account: Option<String>,
        /// How long it is valid, in seconds.
        expires_seconds: i64,
        /// Who its pages speak for, where it is not whoever runs this.
        brand: LinkBrand,
    } -> NewLinkReply = |scene| {
        let lives = SignedDuration::from_secs(expires_seconds);
        links::create(scene.context, name, trigger, account, lives, brand).await
    };

    /// Forgets links that cannot be used any more.
    "link_prune": LinkPrune {} -> Done = |scene| links::prune(scene.context).await;

    /// Lists all links.
    "link_list": LinkList {} -> Vec<LinkShown> = |scene| links::list(scene.context).await;

    /// Revokes a link.
    "link_revoke": LinkRevoke {
        /// The link's short name.
        id: LinkId,
    } -> Done = |scene| links::revoke(scene.context, &id).await;

    /// Lists all accounts.
    "account_list": AccountList {} -> Vec<Account> = |scene| accounts::list(scene.context).await;

    /// Shows one account with its settings.
    "account_show": AccountShow {
        /// Id or name.
        account: String,
    } -> AccountShown = |scene| accounts::show(scene.context, &account).await;

    /// Gives an account settings of its own.
    "account_set": AccountSet {
        /// Id or name.
        account: String,
        /// Values by key, as below `review`.
        set: BTreeMap<String, Value>,
        /// Keys that go back to `[review]`.
        unset: Vec<String>,
        /// A template of the body.
        body: Option<String>,
        /// The secret that signs for the account's own receiver.
        secret: Option<Handed>,
    } -> AccountShown = |scene| {
        accounts::set(scene.context, &account, AccountChange { set, unset, body, secret }).await
    };

    /// Pauses an account.
    "account_pause": AccountPause {
        /// Id or name.
        account: String,
    } -> Done = |scene| accounts::pause(scene.context, &account).await;

    /// Resumes a paused account.
    "account_resume": AccountResume {
        /// Id or name.
        account: String,
    } -> Done = |scene| accounts::resume(scene.context, &account).await;

    /// Disconnects an account, here and at Jobber.
    "account_disconnect": AccountDisconnect {
        /// Id or name.
        account: String,
        /// Whether to do it or only to count.
        write: bool,
    } -> Done = |scene| accounts::disconnect(scene.context, &account, write).await;

    /// Deletes a disconnected account.
    "account_remove": AccountRemove {
        /// Id or name.
        account: String,
        /// Whether to delete it or only to count.
        write: bool,
    } -> Done = |scene| accounts::remove(scene.context, &account, write).await;

    /// Checks everything.
    "doctor": Doctor {} -> Vec<Check> = |scene| doctor::doctor(scene.context, scene.is_daemon).await;

    /// Switches Jobber's webhooks on or off.
    "events_turn": EventsTurn {
        /// Id or name. If absent, all accounts.
        account: Option<String>,
        /// Whether to switch them on.
        on: bool,
    } -> Vec<EventsOf> = |scene| {
        if on {
            events::enable(scene.context, account, scene.is_daemon).await
        } else {
            events::disable(scene.context, account, scene.is_daemon).await
        }
    };

    /// Shows the webhooks and whether events arrive.
    "events_status": EventsStatus {} -> EventsReport = |scene| events::status(scene.context).await;

    /// Sends a marked sample to a receiver.
    "test_event": TestEvent {
        /// Id or name of the account with the receiver. If absent, the configured one.
        account: Option<String>,
    } -> Vec<Check> = |scene| doctor::test_event(scene.context, account).await;

    /// Sends a sample alert to each channel.
    "alerts_test": AlertsTest {} -> Vec<Check> = |scene| doctor::test_alerts(scene.context).await;

    /// Makes dead letters due again.
    "replay": Replay {
        /// Id or name. If absent, all accounts.
        account: Option<String>,
        /// Only those given up within this many seconds.
        since_seconds: i64,
        /// Whether to do it or only to count.
        write: bool,
    } -> Done = |scene| {
        queue::replay(scene.context, account, SignedDuration::from_secs(since_seconds), write).await
    };

    /// Exports the store.
    "export": Export {} -> Copied = |scene| backup::export(scene.context, &scene.tell).await;

    /// Opens the console for one browser.
    "console_open": ConsoleOpen {} -> ConsoleOpened = |scene| {
        console::open(scene.context, scene.is_daemon)
    };

    /// Shows the state of all accounts.
    "status": Status {} -> StatusReport = |scene| status::status(scene.context, scene.is_daemon).await;

    /// Explains why a customer was or was not asked.
    "explain": Explain {
        /// A client, job, invoice, phone, e-mail or ask.
        what: String,
        /// Whether to read the work fresh and write the ask as it would read now.
        render: bool,
    } -> Vec<Explained> = |scene| explain::explain(scene.context, &what, render).await;

    /// Lists all decisions, for example for a customer's complaint: account by account, each decision a part as JSON.
    "audit": Audit {
        /// Id or name. If absent, all accounts.
        account: Option<String>,
        /// How far back, in seconds.
        since_seconds: i64,
    } -> Audited = |scene| {
        let within = SignedDuration::from_secs(since_seconds);
        explain::audit(scene.context, account, within, &scene.tell).await
    };

    /// Asks a live account what is not known about Jobber.
    "probe": Probe {
        /// Id or name of the account.
        account: String,
        /// Whether to ask. Otherwise the questions are listed.
        ask: bool,
        /// Another version of the API to ask for.
        api_version: Option<String>,
        /// A closed job that may be reopened and closed again.
        job: Option<String>,
        /// A client whose company name may be cleared and put back.
        client: Option<String>,
    } -> Vec<Finding> = |scene| {
        let probing = Probing { is_meant: ask, version: api_version, job, client };
        probe::probe(scene.context, &account, probing).await
    };

    /// Does an action in Jobber.
    "jobber_act": JobberAct {
        /// What is wanted.
        call: ActionCall,
    } -> ActionReply = |scene| actions::act(scene.context, Caller::Operator, call).await;

    /// Sends any document to Jobber.
    "jobber_api": JobberApi {
        /// What is wanted.
        call: RawCall,
    } -> RawReply = |scene| actions::raw(scene.context, Caller::Operator, call).await;

    /// Lists the writes in Jobber.
    "audit_actions": AuditActions {
        /// Id or name. If absent, all accounts.
        account: Option<String>,
        /// How far back, in seconds.
        since_seconds: i64,
    } -> Vec<ActionRecord> = |scene| {
        actions::history(scene.context, account, SignedDuration::from_secs(since_seconds)).await
    };

    /// Creates a key of the HTTP API.
    "key_create": KeyCreate {
        /// Its name.
        name: String,
        /// Id or name of its only account, or `all`.
        account: String,
        /// What it may do.
        may: Vec<String>,
    } -> NewApiKey = |scene| reviews::create_key(scene.context, name, &account, may).await;

    /// Lists the keys of the HTTP API.
    "key_list": KeyList {} -> Vec<ApiKeyShown> = |scene| reviews::list_keys(scene.context).await;

    /// Revokes a key of the HTTP API.
    "key_revoke": KeyRevoke {
        /// Its name.
        name: String,
    } -> Done = |scene| reviews::revoke_key(scene.context, &name).await;

    /// Suppresses a person.
    "suppress_add": SuppressAdd {
        /// A phone, an e-mail, or the id of a client.
        what: String,
        /// Id or name of the only account that may not ask. If absent, no account may.
        account: Option<String>,
        /// The operator's reason.
        note: Option<String>,
    } -> Done = |scene| people::suppress(scene.context, what, account, note).await;

    /// Ends a suppression.
    "suppress_remove": SuppressRemove {
        /// As it was added.
        what: String,
        /// As it was added.
        account: Option<String>,
    } -> Done = |scene| people::unsuppress(scene.context, &what, account).await;

    /// Lists all suppressions.
    "suppress_list": SuppressList {} -> Vec<Suppression> = |scene| people::suppressions(scene.context).await;

    /// Erases who a person is.
    "forget": Forget {
        /// A phone, an e-mail, or the id of a client.
        what: String,
        /// Id or name of the only account that forgets. If absent, all do.
        account: Option<String>,
        /// Whether to erase it or only to count.
        write: bool,
    } -> Forgetting = |scene| people::forget(scene.context, &what, account, write).await;

    /// Gives everything that is kept about a person.
    "export_person": ExportPerson {
        /// A phone, an e-mail, or the id of a client.
        what: String,
        /// Id or name of the only account that is looked at. If absent, all are.
        account: Option<String>,
    } -> Kept = |scene| people::export(scene.context, &what, account).await;

    /// Stores people that another tool has asked.
    "import": Import {
        /// The people.
        asked: Vec<AskedBefore>,
        /// Id or name of the account for rows without one.
        account: Option<String>,
        /// Whether to store them or only to check them.
        write: bool,
    } -> Done = |scene| people::import(scene.context, asked, account, write).await;

    /// Compares shadow decisions with what an old automation sent.
    "shadow_report": ShadowCompare {
        /// What the old automation sent.
        theirs: Vec<AskedBefore>,
        /// Id or name of the account for rows without one.
        account: Option<String>,
    } -> ShadowReport = |scene| shadow::report(scene.context, theirs, account).await;

    /// Lists candidates, queued asks and dead letters.
    "queue_list": QueueList {} -> Vec<QueueRow> = |scene| queue::list(scene.context).await;

    /// Allows an ask about work that was skipped for its age.
    "queue_release": QueueRelease {
        /// A client, job, invoice, phone or e-mail that matches exactly one such work.
        what: String,
    } -> Done = |scene| queue::release(scene.context, &what).await;

    /// Lets the works that are held with the burst of an account go on.
    "queue_release_burst": QueueReleaseBurst {
        /// Id or name of the account.
        account: String,
    } -> Done = |scene| queue::release_burst(scene.context, account).await;

    /// Skips the works that are held with the burst of an account.
    "queue_drop_burst": QueueDropBurst {
        /// Id or name of the account.
        account: String,
    } -> Done = |scene| queue::drop_burst(scene.context, account).await;

    /// Shows one ask with its body.
    "queue_show": QueueShow {
        /// Its id, or its customer or work as for `explain`.
        id: MessageId,
    } -> OutboxEntry = |scene| queue::show(scene.context, &id).await;

    /// Tries an ask again now.
    "queue_retry": QueueRetry {
        /// The ask.
        id: MessageId,
    } -> Done = |scene| queue::retry(scene.context, &id).await;

    /// Drops an ask.
    "queue_drop": QueueDrop {
        /// The ask.
        id: MessageId,
    } -> Done = |scene| queue::drop_ask(scene.context, &id).await;
}
