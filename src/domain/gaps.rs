//! Events that Jobber never sent: what a list of changed records proves to have happened. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::webhook_event::{Record, Topic};
use crate::clock::{minus, plus};
use crate::domain::model::EncodedId;

/// How long an event may be on its way before it counts as lost (`api-behaviour.md` §4: 4 to 20 s were seen).
pub const ON_ITS_WAY: SignedDuration = SignedDuration::from_mins(2);

/// An event that happened this long before a change is taken for it: Jobber's instants have whole seconds, and it is not
/// known which of the two it notes first.
const NEAR: SignedDuration = SignedDuration::from_secs(5);

/// A record of a list, with the instants that say what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    pub id: EncodedId,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
}

/// How far an account's lists are known, by kind of record, and when they were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapMarks {
    pub looked_at: Option<Timestamp>,
    #[serde(default)]
    pub known_to: BTreeMap<Record, Timestamp>,
    /// The topics that were wanted then.
    #[serde(default)]
    pub topics: BTreeSet<Topic>,
}

/// What happened to a record between two instants, of the topics that are wanted.
pub fn happened(
    record: Record,
    changed: &Changed,
    wanted: &[Topic],
    since: Timestamp,
    until: Timestamp,
) -> Vec<(Topic, Timestamp)> {
    let of = |suffix: &str| {
        let mut topics = Topic::ALL.iter().copied();
        topics.find(|topic| topic.record() == record && topic.is_polled() && topic.as_str().ends_with(suffix))
    };
    let is_in = |at: &Timestamp| (since..=until).contains(at);
    let created = changed.created_at.filter(is_in);
    // A record is changed by being created, and that is one event.
    let is_later = |at: &Timestamp| created.is_none_or(|created| *at > plus(created, NEAR));
    let updated = changed.updated_at.filter(is_in).filter(is_later);
    let completed = changed.completed_at.filter(is_in);
    let ended = of("_CLOSED").or_else(|| of("_COMPLETE"));
    [(of("_CREATE"), created), (ended, completed), (of("_UPDATE"), updated)]
        .into_iter()
        .filter_map(|(topic, at)| Some((topic?, at?)))
        .filter(|(topic, _)| wanted.contains(topic))
        .collect()
}

/// Whether two instants can be those of one change.
pub fn are_near(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).abs() <= NEAR
}

/// Whether an event that happened at `heard`, as it says, can be the one about a change at `at`.
pub fn was_heard(heard: Option<Timestamp>, at: Timestamp) -> bool {
    heard.is_some_and(|heard| heard >= minus(at, NEAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_list_proves_creations_ends_and_other_changes() {
        let job = |created, completed, updated| Changed {
            id: EncodedId::new("job"),
            created_at: Some(at(created)),
            updated_at: Some(at(updated)),
            completed_at: completed,
        };
        let of = |changed: &Changed| happened(Record::Job, changed, Topic::ALL, at(100), at(200));
        assert_eq!(of(&job(50, None, 150)), [(Topic::JobUpdate, at(150))]);
        assert_eq!(of(&job(150, None, 152)), [(Topic::JobCreate, at(150))], "it was created as it is");
        assert_eq!(of(&job(150, None, 160)), [(Topic::JobCreate, at(150)), (Topic::JobUpdate, at(160))]);
        let closed = [(Topic::JobClosed, at(150)), (Topic::JobUpdate, at(150))];
        assert_eq!(of(&job(50, Some(at(150)), 150)), closed);
        assert_eq!(of(&job(50, Some(at(90)), 99)), []);
        assert_eq!(of(&job(50, None, 201)), [], "its event may be on its way");
        let only = happened(Record::Job, &job(50, Some(at(150)), 150), &[Topic::JobClosed], at(100), at(200));
        assert_eq!(only, closed[..1]);
        let visit = Changed {
            id: EncodedId::new("visit"),
            created_at: None,
            updated_at: None,
            completed_at: Some(at(150)),
        };
        let of_visit = happened(Record::Visit, &visit, Topic::ALL, at(100), at(200));
        assert_eq!(of_visit, [(Topic::VisitComplete, at(150))]);
    }

    #[test]
    fn instants_of_one_change_are_a_few_seconds_apart() {
        let (at_most, more) = (plus(at(100), NEAR), plus(at(101), NEAR));
        assert!(are_near(at(100), at_most) && are_near(at_most, at(100)));
        assert!(!are_near(at(100), more) && !are_near(more, at(100)));
        let job = |updated| Changed {
            id: EncodedId::new("job"),
            created_at: Some(at(100)),
            updated_at: Some(updated),
            completed_at: None,
        };
        let of = |updated| happened(Record::Job, &job(updated), Topic::ALL, at(100), at(200)).len();
        assert_eq!((of(at_most), of(more)), (1, 2), "created, and changed later");
    }

    #[test]
    fn what_was_heard_since_the_change_is_no_gap() {
        assert!(!was_heard(None, at(100)));
        assert!(was_heard(Some(at(96)), at(100)));
        assert!(was_heard(Some(at(130)), at(100)));
        assert!(!was_heard(Some(at(90)), at(100)));
    }
}
