//! Compares a run in shadow mode with what an old automation really sent. Pure.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::import::AskedBefore;
use crate::domain::model::{ContactKey, Decision, Outcome, SkipReason};
use crate::domain::rules::Rules;

/// Our ask and theirs are about the same work if they are no further apart than this.
const SAME: SignedDuration = SignedDuration::from_hours(7 * 24);

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowReport {
    pub both: usize,
    pub only_us: Vec<OnlyUs>,
    pub only_them: Vec<OnlyThem>,
    /// Lines of their file that asked a person again within the cooldown.
    pub repeats: Vec<u64>,
    /// Lines of their file that asked a person outside the window.
    pub outside_hours: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlyUs {
    pub client: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlyThem {
    pub line: u64,
    pub at: Timestamp,
    pub we: Option<String>,
}

/// Compares the decisions of one account with what its old automation sent.
pub fn compare(decisions: &[Decision], theirs: &[AskedBefore], rules: &Rules) -> ShadowReport {
    let ours: Vec<_> = decisions.iter().filter(|decision| is_shadow(decision)).collect();
    let mut report = ShadowReport::default();
    let mut taken = BTreeSet::new();
    let mut in_order: Vec<_> = theirs.iter().collect();
    in_order.sort_by_key(|row| (row.at, row.line));
    for (index, row) in in_order.iter().enumerate() {
        let near = ours
            .iter()
            .enumerate()
            .filter(|(place, our)| !taken.contains(place) && is_person(our, &row.contacts))
            .map(|(place, our)| (our.at.duration_since(row.at).abs(), place))
            .filter(|(apart, _)| *apart <= SAME)
            .min();
        match near {
            Some((_, place)) => {
                taken.insert(place);
                report.both += 1;
            }
            None => report.only_them.push(OnlyThem {
                line: row.line,
                at: row.at,
                we: decisions
                    .iter()
                    .filter(|ours| is_person(ours, &row.contacts))
                    .max_by_key(|ours| ours.at)
                    .map(said),
            }),
        }
        let asked_again = in_order[..index].iter().any(|before| {
            row.at.duration_since(before.at) < rules.policy.cooldown
                && before.contacts.iter().any(|contact| row.contacts.contains(contact))
        });
        if asked_again {
            report.repeats.push(row.line);
        }
        if rules.hours.leaves(row.at) > row.at {
            report.outside_hours.push(row.line);
        }
    }
    let lonely = ours.iter().enumerate().filter(|(place, _)| !taken.contains(place));
    report.only_us = lonely
        .map(|(_, our)| OnlyUs { client: our.subject.client_name.clone().unwrap_or_default(), at: our.at })
        .collect();
    report
}

fn is_shadow(decision: &Decision) -> bool {
    matches!(decision.outcome, Outcome::Skipped { reason: SkipReason::Shadow })
}

fn is_person(decision: &Decision, contacts: &[ContactKey]) -> bool {
    decision.subject.contacts().iter().any(|key| contacts.contains(key))
}

fn said(decision: &Decision) -> String {
    match &decision.outcome {
        Outcome::Waiting { due_at } => format!("waits until {due_at}"),
        Outcome::Held { .. } => "held with a burst".to_owned(),
        Outcome::Asked { .. } => "asked".to_owned(),
        Outcome::Skipped { reason } => reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::domain::message::Texts;
    use crate::domain::model::{EncodedId, Subject, Trigger, WorkRef};
    use crate::domain::rules::{LocalHours, Policy, Respected};
    use crate::domain::window::{Hours, Window};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn rules() -> Rules {
        let day = Some(Hours::parse("09:00-20:00").unwrap());
        Rules {
            trigger: Trigger::JobCompleted,
            delay: SignedDuration::ZERO,
            max_age: SAME,
            include_drafts: false,
            asks_from: Timestamp::UNIX_EPOCH,
            hours: LocalHours::new(Arc::new(Window::new([day; 7], vec![])), TimeZone::UTC),
            respected: Respected::ALL,
            policy: Arc::new(Policy { cooldown: SignedDuration::from_hours(180 * 24), ..Policy::default() }),
            texts: Texts::default(),
        }
    }

    fn ours(name: &str, reason: SkipReason, when: &str) -> Decision {
        Decision {
            work: WorkRef::job(EncodedId::new(name)),
            released_at: None,
            held_for: SignedDuration::ZERO,
            trigger: Trigger::JobCompleted,
            finished_at: at(when),
            at: at(when),
            outcome: Outcome::Skipped { reason },
            saw: std::collections::BTreeMap::new(),
            subject: Subject {
                client_name: Some(name.into()),
                email: Some(format!("{name}@example.com")),
                ..Subject::default()
            },
        }
    }

    fn theirs(line: u64, name: &str, when: &str) -> AskedBefore {
        let contacts = vec![ContactKey::email(&format!("{name}@example.com")).unwrap()];
        AskedBefore { line, account: None, contacts, at: at(when) }
    }

    #[test]
    fn the_difference_is_told_row_by_row() {
        let decisions = [
            ours("ann", SkipReason::Shadow, "2026-03-10T10:00:00Z"),
            ours("bob", SkipReason::Shadow, "2026-03-10T10:00:00Z"),
            ours("cy", SkipReason::ClientOptedOut, "2026-03-10T10:00:00Z"),
            ours("di", SkipReason::Shadow, "2026-01-10T10:00:00Z"),
        ];
        let rows = [
            theirs(2, "ann", "2026-03-10T12:00:00Z"),
            theirs(3, "cy", "2026-03-10T12:00:00Z"),
            theirs(4, "ann", "2026-03-12T12:00:00Z"),
            theirs(5, "di", "2026-03-10T22:00:00Z"),
            theirs(6, "eve", "2026-03-10T12:00:00Z"),
        ];
        let report = compare(&decisions, &rows, &rules());
        assert_eq!(report.both, 1);
        let only_us: Vec<_> = report.only_us.iter().map(|row| row.client.as_str()).collect();
        assert_eq!(only_us, ["bob", "di"], "two months apart are two asks");
        let only_them: Vec<_> = report.only_them.iter().map(|row| (row.line, row.we.as_deref())).collect();
        assert_eq!(
            only_them,
            [(3, Some("client_opted_out")), (6, None), (5, Some("shadow")), (4, Some("shadow"))]
        );
        assert_eq!((report.repeats, report.outside_hours), (vec![4], vec![5]));
    }
}
