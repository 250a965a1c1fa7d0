//! What is kept about a person, and what stays when it is erased: ids, reasons and times.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    AccountId, ActionOutcome, ActionRecord, ClientSnapshot, ContactKey, Contacted, Decision, OutboxEntry,
    Review, Subject, Suppression,
};

/// Values of a decision that can name somebody: the name of a work, and what an operator noted.
const TELLING: [&str; 2] = ["work", "note"];

/// What can say who somebody is.
pub trait Personal: PartialEq + Clone {
    /// Leaves only ids, reasons and times.
    fn erase(&mut self);

    fn is_personal(&self) -> bool {
        let mut erased = self.clone();
        erased.erase();
        erased != *self
    }
}

impl Personal for Subject {
    fn erase(&mut self) {
        let Self {
            client_id,
            client_name: _,
            phone: _,
            email: _,
            job_id,
            job_number,
            job_title: _,
            invoice_number,
        } = std::mem::take(self);
        *self = Self { client_id, job_id, job_number, invoice_number, ..Self::default() };
    }
}

impl Personal for Decision {
    fn erase(&mut self) {
        self.subject.erase();
        self.saw.retain(|name, _| !TELLING.contains(&name.as_str()));
    }
}

impl Personal for Review {
    fn erase(&mut self) {
        self.text = None;
        self.url = None;
    }
}

impl Personal for ActionRecord {
    fn erase(&mut self) {
        match &mut self.outcome {
            ActionOutcome::Begun | ActionOutcome::Unknown { .. } => {}
            ActionOutcome::Done { answer, .. } => *answer = Value::Null,
            ActionOutcome::Refused { errors, .. } => errors.clear(),
            ActionOutcome::Partly { answer, errors, .. } => {
                *answer = Value::Null;
                errors.clear();
            }
        }
    }
}

impl ClientSnapshot {
    /// All contacts on the card.
    pub fn contacts(&self) -> Vec<ContactKey> {
        let phones = self.phones.iter().filter_map(|phone| ContactKey::phone(&phone.number));
        phones.chain(self.emails.iter().filter_map(|email| ContactKey::email(&email.address))).collect()
    }
}

/// That somebody was forgotten. Who it was is not kept: it stands under a keyed hash of a contact or a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    pub at: Timestamp,
    /// The hash of what the person was named by: whatever has the same is the same person.
    pub of: String,
}

/// Everything that is kept about a person.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    pub decisions: Vec<KeptDecision>,
    pub cards: Vec<KeptCard>,
    /// Messages that did not leave yet, or were given up.
    pub messages: Vec<OutboxEntry>,
    pub reviews: Vec<Review>,
    /// What was written in Jobber on the person's records.
    pub writes: Vec<ActionRecord>,
    /// When the person was asked, by account.
    pub asked: Vec<Contacted>,
    pub suppressions: Vec<Suppression>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDecision {
    pub account: AccountId,
    #[serde(flatten)]
    pub decision: Decision,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCard {
    pub account: AccountId,
    #[serde(flatten)]
    pub card: ClientSnapshot,
}

impl Kept {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
