//! The verbs on the wire: what crosses the control socket, and which function carries it out.
//!
//! A request is one JSON object: `verb` names it, the other fields are its own. Each verb is a type, so whoever asks knows
//! the type of the reply. A new verb is one entry of the table below.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::mpsc;

use super::accounts::{AccountChange, AccountShown, Handed};
use super::doctor::Check;
use super::events::EventsOf;
use super::explain::Explained;
use super::links::NewLinkReply;
use super::once::{OnceReport, once};
use super::queue::QueueRow;
use super::status::StatusReport;
use super::{
    Done, OpError, Told, accounts, backup, doctor, events, explain, links, named, people, queue, shadow,
    status,
};
use crate::context::Context;
use crate::domain::import::AskedBefore;
use crate::domain::model::{Account, Link, LinkId, MessageId, OutboxEntry, Suppression, Trigger};
use crate::domain::shadow::ShadowReport;
use crate::store::Copied;
use crate::workers::pool::Effect;

/// An [`OpError`] on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of error it was.
    pub kind: RefusalKind,
    /// Its sentence.
    pub message: String,
}

/// What kind of error it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The request was at fault.
    Refused,
    /// What it names is not there.
    NotFound,
    /// The program, its store or something outside was at fault.
    Failed,
}

impl From<OpError> for Refusal {
    fn from(error: OpError) -> Self {
        let kind = match &error {
            OpError::Refused(_) => RefusalKind::Refused,
            OpError::NotFound(_) => RefusalKind::NotFound,
            OpError::Failed(_) => RefusalKind::Failed,
            OpError::Store(error) => {
                tracing::error!(%error, "an operator's request failed");
                RefusalKind::Failed
            }
        };
        Self { kind, message: error.to_string() }
    }
}

/// Where a verb is carried out.
#[derive(Debug)]
pub struct Scene<'c> {
    /// The parts.
    pub context: &'c Context,
    /// Whether a daemon does it.
    pub is_daemon: bool,
    /// Hears what is told before the reply. Parts of an export wait for it; progress does not.
    pub tell: mpsc::Sender<Told>,
}

/// Something that an operator can ask for.
pub trait Verb: Serialize + DeserializeOwned + Clone + Send + Sync {
    /// Its name on the wire.
    const NAME: &'static str;

    /// What comes back.
    type Reply: Serialize + DeserializeOwned + Send;

    /// Carries it out.
    fn run(self, scene: Scene<'_>) -> impl Future<Output = Result<Self::Reply, OpError>> + Send;
}

/// A verb as a line of JSON.
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

        /// Carries out whatever verb a line of JSON names.
        pub async fn answer(request: &str, scene: Scene<'_>) -> Result<Value, Refusal> {
            let Some(name) = name_of(request) else { return Err(unknown()) };
            match name.as_str() {
                $($name => carried_out::<$Verb>(request, scene).await,)+
                _ => Err(unknown()),
            }
        }

        /// Whether a line of JSON is a verb with all its fields; what is, reads back.
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
    /// One sweep.
    "once": Once {
        /// Id or name; all when absent.
        account: Option<String>,
        /// Without a trace.
        dry_run: bool,
    } -> OnceReport = |scene| {
        let only = named(scene.context, account).await?.map(|account| account.id);
        let effect = if dry_run { Effect::DryRun } else { Effect::Apply };
        let tell = scene.tell;
        let progress = move |done, of| {
            // Whoever is slow to read misses a number.
            let _heard = tell.try_send(Told::Progress { done, of });
        };
        Ok(once(scene.context, only.as_ref(), effect, &progress).await?)
    };

    /// A new link.
    "link_create": LinkCreate {
        /// Whom it is for.
        name: String,
        /// The trigger the page proposes; the configured one when absent.
        trigger: Option<Trigger>,
        /// Id or name of the account it is to mend.
        account: Option<String>,
        /// How long it can be used.
        expires_seconds: i64,
    } -> NewLinkReply = |scene| {
        links::create(scene.context, name, trigger, account, SignedDuration::from_secs(expires_seconds)).await
    };

    /// Every link.
    "link_list": LinkList {} -> Vec<Link> = |scene| links::list(scene.context).await;

    /// Takes a link back.
    "link_revoke": LinkRevoke {
        /// Its short name.
        id: LinkId,
    } -> Done = |scene| links::revoke(scene.context, &id).await;

    /// Every account.
    "account_list": AccountList {} -> Vec<Account> = |scene| accounts::list(scene.context).await;

    /// One account, and what it does otherwise than the others.
    "account_show": AccountShow {
        /// Id or name.
        account: String,
    } -> AccountShown = |scene| accounts::show(scene.context, &account).await;

    /// Gives an account settings of its own.
    "account_set": AccountSet {
        /// Id or name.
        account: String,
        /// By key, as below `review`.
        set: BTreeMap<String, Value>,
        /// Keys that go back to what `[review]` says.
        unset: Vec<String>,
        /// A template of the body.
        body: Option<String>,
        /// The secret that signs for its receiver.
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

    /// Ends a connection, here and in Jobber.
    "account_disconnect": AccountDisconnect {
        /// Id or name.
        account: String,
    } -> Done = |scene| accounts::disconnect(scene.context, &account).await;

    /// Forgets an account whose connection is over.
    "account_remove": AccountRemove {
        /// Id or name.
        account: String,
        /// Whether to do it, or only to count.
        write: bool,
    } -> Done = |scene| accounts::remove(scene.context, &account, write).await;

    /// Is everything in order?
    "doctor": Doctor {} -> Vec<Check> = |scene| doctor::doctor(scene.context).await;

    /// Has Jobber send events, or no more.
    "events_turn": EventsTurn {
        /// Id or name of the only account.
        account: Option<String>,
        /// Whether to send them.
        on: bool,
    } -> Vec<EventsOf> = |scene| {
        if on {
            events::enable(scene.context, account).await
        } else {
            events::disable(scene.context, account).await
        }
    };

    /// Which events Jobber sends, and whether they come.
    "events_status": EventsStatus {} -> Vec<EventsOf> = |scene| events::status(scene.context).await;

    /// A marked sample to a receiver.
    "test_event": TestEvent {
        /// Id or name of the account whose receiver it is; the configured one when absent.
        account: Option<String>,
    } -> Vec<Check> = |scene| doctor::test_event(scene.context, account).await;

    /// Makes dead letters due again.
    "replay": Replay {
        /// Id or name of the only account.
        account: Option<String>,
        /// Those given up within this time.
        since_seconds: i64,
        /// Whether to do it, or only to count.
        write: bool,
    } -> Done = |scene| {
        queue::replay(scene.context, account, SignedDuration::from_secs(since_seconds), write).await
    };

    /// A copy of the store.
    "export": Export {} -> Copied = |scene| backup::export(scene.context, &scene.tell).await;

    /// How everything stands.
    "status": Status {} -> StatusReport = |scene| status::status(scene.context, scene.is_daemon).await;

    /// Why somebody was or was not asked.
    "explain": Explain {
        /// A client, job, invoice, phone, e-mail or ask.
        what: String,
        /// Whether to read the work fresh and write the ask as it would read now.
        render: bool,
    } -> Vec<Explained> = |scene| explain::explain(scene.context, &what, render).await;

    /// Every decision, for a customer's complaint.
    "audit": Audit {
        /// Id or name of the only account.
        account: Option<String>,
        /// How far back.
        since_seconds: i64,
    } -> Vec<Explained> = |scene| {
        explain::audit(scene.context, account, SignedDuration::from_secs(since_seconds)).await
    };

    /// Puts somebody on the list of those who are never asked.
    "suppress_add": SuppressAdd {
        /// A phone, an e-mail, or the id of a client.
        what: String,
        /// Id or name of the only account that is not to ask; none is when absent.
        account: Option<String>,
        /// Why.
        note: Option<String>,
    } -> Done = |scene| people::suppress(scene.context, what, account, note).await;

    /// Takes somebody off that list.
    "suppress_remove": SuppressRemove {
        /// As it was put on.
        what: String,
        /// As it was put on.
        account: Option<String>,
    } -> Done = |scene| people::unsuppress(scene.context, &what, account).await;

    /// That list.
    "suppress_list": SuppressList {} -> Vec<Suppression> = |scene| people::suppressions(scene.context).await;

    /// Notes people whom another tool has asked.
    "import": Import {
        /// Who.
        asked: Vec<AskedBefore>,
        /// Id or name of the account of rows that name none.
        account: Option<String>,
        /// Whether to write it down, or only to see whether it could be.
        write: bool,
    } -> Done = |scene| people::import(scene.context, asked, account, write).await;

    /// What would have been sent, beside what an old automation sent.
    "shadow_report": ShadowCompare {
        /// What it sent.
        theirs: Vec<AskedBefore>,
        /// Id or name of the account of rows that name none.
        account: Option<String>,
    } -> ShadowReport = |scene| shadow::report(scene.context, theirs, account).await;

    /// Candidates, asks on their way, dead letters.
    "queue_list": QueueList {} -> Vec<QueueRow> = |scene| queue::list(scene.context).await;

    /// Has work asked about that was found too old.
    "queue_release": QueueRelease {
        /// A client, job, invoice, phone or e-mail that fits one such work.
        what: String,
    } -> Done = |scene| queue::release(scene.context, &what).await;

    /// One ask, with its body.
    "queue_show": QueueShow {
        /// The ask.
        id: MessageId,
    } -> OutboxEntry = |scene| queue::show(scene.context, id).await;

    /// Tries an ask again now.
    "queue_retry": QueueRetry {
        /// The ask.
        id: MessageId,
    } -> Done = |scene| queue::retry(scene.context, &id).await;

    /// Gives an ask up.
    "queue_drop": QueueDrop {
        /// The ask.
        id: MessageId,
    } -> Done = |scene| queue::drop_ask(scene.context, &id).await;
}
