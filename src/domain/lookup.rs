//! Finds decisions by what people call them: a name, a phone, an e-mail address, an id, or a number. Pure.
//!
//! A decision has [`terms`], by which an index finds it. A question ([`Wanted`]) says which terms lead to its answers; each
//! answer is then compared with the question, so that a term may be shared by decisions that were not meant.

use std::collections::BTreeSet;

use crate::domain::model::{Decision, EncodedId, Subject};

/// Digits of a phone number by which it is found: a shorter end of it is no phone number.
const DIGITS: usize = 7;

/// One thing by which a decision is found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(String);

impl Term {
    /// A word of a name, an id, an e-mail address or a number.
    pub fn word(text: &str) -> Self {
        Self(format!("={}", text.to_lowercase()))
    }

    /// The end of a phone number.
    fn phone(digits: &str) -> Option<Self> {
        Some(Self(format!("p{}", digits.get(digits.len().checked_sub(DIGITS)?..)?)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// What a decision is found by.
pub fn terms(decision: &Decision) -> BTreeSet<Term> {
    let Decision { work, subject, .. } = decision;
    let number = subject.job_number.map(|number| number.to_string());
    let known = [
        Some(work.id.as_str()),
        decision.ask(),
        subject.client_id.as_ref().map(EncodedId::as_str),
        subject.job_id.as_ref().map(EncodedId::as_str),
        subject.email.as_deref(),
        subject.invoice_number.as_deref(),
        number.as_deref(),
    ];
    let name = subject.client_name.as_deref().unwrap_or_default().split_whitespace();
    let mut terms: BTreeSet<Term> = known.into_iter().flatten().chain(name).map(Term::word).collect();
    terms.extend(subject.phone.as_deref().and_then(|phone| Term::phone(&digits(phone))));
    terms
}

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    text: String,
    digits: String,
    number: Option<i64>,
}

impl Wanted {
    pub fn new(text: &str) -> Self {
        let text = text.trim().to_lowercase();
        let number = text.trim_start_matches('#').parse().ok();
        Self { digits: digits(&text), text, number }
    }

    /// Each decision that is meant has all terms of at least one of these sets.
    pub fn lookups(&self) -> BTreeSet<BTreeSet<Term>> {
        if self.text.is_empty() {
            return BTreeSet::new();
        }
        let number = self.number.map(|number| Term::word(&number.to_string()));
        let one = [Term::word(&self.text), Term::word(self.bare_number())].into_iter().chain(number);
        let one = one.chain(Term::phone(&self.digits)).map(|term| BTreeSet::from([term]));
        let words = self.text.split_whitespace().map(Term::word).collect();
        one.chain([words]).collect()
    }

    fn bare_number(&self) -> &str {
        self.text.trim_start_matches('#')
    }

    /// Whether the customer is meant, and so everything about them.
    pub fn is_person(&self, subject: &Subject) -> bool {
        let is = |known: Option<&str>| known.is_some_and(|known| known.to_lowercase() == self.text);
        let name = subject.client_name.as_ref().map(|name| name.to_lowercase());
        let is_word = |name: &str| name.split_whitespace().any(|word| word == self.text);
        let same = |name: &str| name.split_whitespace().eq(self.text.split_whitespace());
        let named = !self.text.is_empty() && name.is_some_and(|name| same(&name) || is_word(&name));
        let phone = subject.phone.as_deref();
        let called =
            phone.is_some_and(|phone| self.digits.len() >= DIGITS && digits(phone).ends_with(&self.digits));
        named
            || called
            || is(subject.email.as_deref())
            || is(subject.client_id.as_ref().map(EncodedId::as_str))
    }

    pub fn is_meant(&self, decision: &Decision) -> bool {
        let Decision { work, subject, .. } = decision;
        let is_text = |known: &str| known.to_lowercase() == self.text;
        is_text(work.id.as_str())
            || subject.job_id.as_ref().is_some_and(|id| is_text(id.as_str()))
            || (self.number.is_some() && subject.job_number == self.number)
            || subject
                .invoice_number
                .as_deref()
                .is_some_and(|number| number.to_lowercase() == self.bare_number())
            || decision.ask().is_some_and(is_text)
            || self.is_person(subject)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::{SignedDuration, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::model::{AskId, Delivery, Outcome, SkipReason, Trigger, WorkKind, WorkRef};

    fn subject() -> Subject {
        Subject {
            client_name: Some("John Smith".into()),
            phone: Some("+1 (555) 123-4567".into()),
            email: Some("John@Example.com".into()),
            ..Subject::default()
        }
    }

    #[test]
    fn a_person_is_found_by_name_phone_or_email() {
        for meant in [
            "John Smith",
            "john  smith",
            "smith",
            " JOHN ",
            "555-123-4567",
            "+15551234567",
            "1234567",
            "john@example.com",
        ] {
            assert!(Wanted::new(meant).is_person(&subject()), "{meant}");
        }
        for other in ["", "Smit", "4567", "jane@example.com", "5551234568", "112"] {
            assert!(!Wanted::new(other).is_person(&subject()), "{other}");
        }
    }

    fn decision(subject: Subject, id: &str, ask: u8) -> Decision {
        let outcome = match ask {
            0 => Outcome::Asked { ask_id: AskId::new("ask_Ab1"), delivery: Delivery::Queued },
            _ => Outcome::Skipped { reason: SkipReason::NoLongerFinished },
        };
        let saw = if ask == 1 {
            BTreeMap::from([("ask_not_sent".to_owned(), "ask_Ab1".to_owned())])
        } else {
            BTreeMap::new()
        };
        Decision {
            work: WorkRef { kind: WorkKind::Job, id: EncodedId::new(id) },
            trigger: Trigger::JobCompleted,
            finished_at: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
            outcome,
            saw,
            released_at: None,
            held_for: SignedDuration::ZERO,
            subject,
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let known = [
            "John Smith",
            "john",
            "SMITH",
            "Müller  GmbH",
            "ß",
            "İnci",
            "+1 (555) 123-4567",
            "1234567",
            "john@example.com",
            "#112",
            "112",
            "0112",
            "INV-7",
            "#inv-7",
            "Zm9v",
            "zm9v",
            "ask_Ab1",
            "",
            " ",
        ];
        prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), "\\PC{0,8}"]
    }

    proptest! {
        /// The index never hides a decision.
        #[test]
        fn whatever_is_meant_is_found_by_its_terms(
            question in text(),
            name in prop::option::of(text()),
            phone in prop::option::of(text()),
            email in prop::option::of(text()),
            ids in prop::array::uniform3(text()),
            number in prop::option::of(prop_oneof![Just(112_i64), any::<i64>()]),
            invoice in prop::option::of(text()),
            ask in 0_u8..3,
        ) {
            let [work, client, job] = ids;
            let subject = Subject {
                client_name: name,
                phone,
                email,
                client_id: Some(EncodedId::new(client)),
                job_id: Some(EncodedId::new(job)),
                job_number: number,
                invoice_number: invoice,
                ..Subject::default()
            };
            let decision = decision(subject, &work, ask);
            let wanted = Wanted::new(&question);
            let terms = terms(&decision);
            let is_found = wanted.lookups().iter().any(|lookup| lookup.is_subset(&terms));
            if !question.trim().is_empty() && wanted.is_meant(&decision) {
                prop_assert!(is_found, "{question:?} and {decision:?}");
            }
        }
    }
}
