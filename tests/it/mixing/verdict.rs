//! What must be true when a story is over.

use std::collections::{BTreeMap, BTreeSet};

use jobber_reviewd::testing::model::{Connection, Decision, LostReason, Outcome, SkipReason};

use super::{Fate, Story};

impl Story {
    pub(super) async fn check(&self) {
        self.app.assert_counted().await;
        let (window, zone) = (self.window(), Self::zone());
        for got in self.app.receiver.got() {
            let sent: i64 = got.headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
            let sent = jiff::Timestamp::from_second(sent).unwrap();
            assert!(window.is_open(&zone, sent), "{} was sent at {sent}", got.id());
        }
        self.check_that_who_opted_out_is_left_alone();
        let mut asked = BTreeSet::new();
        for (reference, work) in &self.works {
            let contractor = &self.contractors[work.contractor].0;
            let outcome = self.app.decision(contractor, reference).map(|decision| decision.outcome);
            if matches!(outcome, Some(Outcome::Asked { .. })) {
                assert!(asked.insert((work.contractor, work.person)), "a person was asked twice: {work:?}");
            }
        }
        let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for got in self.app.receiver.got() {
            let is_its = |decision: &Decision| match &decision.outcome {
                Outcome::Asked { ask_id, .. } => ask_id.as_str() == got.id(),
                // It was tried, was not wanted any more before it was taken, and may have been finished again since.
                Outcome::Skipped { reason: SkipReason::AlreadyAsked } => {
                    decision.saw.get("ask_id").is_some_and(|ask| ask == got.id())
                        && !decision.saw.contains_key("asked_about")
                }
                _ => decision.saw.get("ask_not_sent").is_some_and(|ask| ask == got.id()),
            };
            let mut decision = None;
            for account in self.app.context.store.accounts().await.unwrap() {
                let decisions = self.app.context.store.decisions(&account.id).await.unwrap();
                decision = decision.or_else(|| decisions.into_iter().find(is_its));
            }
            let work = decision.unwrap_or_else(|| panic!("{} belongs to no decision", got.id())).work;
            ids.entry(work.to_string()).or_default().insert(got.id().to_owned());
        }
        for (reference, work) in &self.works {
            let contractor = &self.contractors[work.contractor].0;
            let asked = ids.remove(&reference.to_string()).unwrap_or_default().len();
            let outcome = self.app.decision(contractor, reference).map(|decision| decision.outcome);
            let skipped = match &outcome {
                Some(Outcome::Skipped { reason }) => Some(*reason),
                _ => None,
            };
            let is_of_a_hold = |reason| {
                matches!(
                    reason,
                    SkipReason::TooOld
                        | SkipReason::VisitTooOld
                        | SkipReason::ClientOptedOut
                        | SkipReason::AskedRecently
                )
            };
            // What nobody knew when it was finished is too old to be read after weeks.
            let ended_by_a_hold =
                work.was_held_up && (outcome.is_none() || skipped.is_some_and(is_of_a_hold));
            let fits = ended_by_a_hold
                || match work.fate {
                    Fate::Asked => {
                        asked == 1
                            || asked == 0 && work.was_unclear && skipped == Some(SkipReason::UnknownStatus)
                            || asked == 0
                                && work.was_taken_back
                                && skipped == Some(SkipReason::NoLongerFinished)
                    }
                    Fate::Skipped(reason) => {
                        asked == 0
                            && (skipped == Some(reason)
                                || work.was_unclear && skipped == Some(SkipReason::UnknownStatus))
                    }
                    Fate::AskedUnlessRecently => {
                        asked == 1
                            || asked == 0 && skipped == Some(SkipReason::AskedRecently)
                            || asked == 0 && work.was_unclear
                            || asked == 0 && work.was_taken_back
                    }
                    Fate::NotAsked => {
                        // What was taken back on its way may have been tried before.
                        (asked == 0 || work.was_taken_back)
                            && !matches!(outcome, Some(Outcome::Waiting { .. }))
                    }
                };
            assert!(
                fits,
                "{reference} of {:?}: {work:?}, asked under {asked} ids, {outcome:?}",
                self.contractors[work.contractor]
            );
        }
        assert!(ids.is_empty(), "asked about work that nobody finished: {ids:?}");
        assert_eq!(
            self.app.context.store.entries().await.unwrap().len(),
            0,
            "something is left in the outbox"
        );
        for account in self.app.context.store.accounts().await.unwrap() {
            assert!(!matches!(
                account.connection,
                Connection::NeedsAuthorization { reason: LostReason::NoToken, .. }
            ));
        }
    }

    fn check_that_who_opted_out_is_left_alone(&self) {
        for ((contractor, customer), known) in &self.opted_out {
            let account = self.contractors[*contractor].0.id.to_string();
            for got in self.app.receiver.got().into_iter().skip(*known) {
                let body = got.json();
                let is_theirs = body["account"]["id"] == account && body["client"]["id"] == customer.as_str();
                assert!(!is_theirs, "{customer} was sent {} after opting out", got.id());
            }
        }
    }
}
