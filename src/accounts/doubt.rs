//! Doubts a refused refresh token before an account is called lost. Pure.
//!
//! A refusal spends nothing, so it is asked again some minutes later. When many accounts are refused at once, it is
//! Jobber's own trouble, or a change of the whole app: then nobody is called lost.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::clock::is_over;
use crate::domain::model::AccountId;
use crate::store::PairId;

/// How long after a refusal the same token is tried once more.
pub(super) const AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// Refusals that came within this time came at once.
const AT_ONCE: SignedDuration = SignedDuration::from_mins(30);

/// So many accounts are many.
const MANY: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Ask once more later.
    Once,
    /// So many accounts are refused that it is none of their own doing.
    Many(usize),
    /// It was refused twice: it is lost.
    None,
}

#[derive(Debug, Clone)]
struct Refused {
    pair: PairId,
    first: Timestamp,
    last: Timestamp,
}

/// The accounts whose refresh tokens were refused. Kept in memory: after a restart each is asked twice again.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    refused: HashMap<AccountId, Refused>,
    /// Accounts whose tokens were accepted lately: while most are, a refusal is the account's own.
    accepted: HashMap<AccountId, Timestamp>,
}

impl Doubts {
    /// Whether this pair of an account was refused just now, and need not be tried yet.
    pub(super) fn is_waiting(&self, account: &AccountId, pair: &PairId, now: Timestamp) -> bool {
        let refused = self.refused.get(account).filter(|refused| refused.pair == *pair);
        refused.is_some_and(|refused| !is_over(refused.last, AGAIN, now))
    }

    /// Notes that a pair was refused.
    pub(super) fn refused(&mut self, account: &AccountId, pair: &PairId, now: Timestamp) -> Doubt {
        self.refused.retain(|other, refused| other == account || !is_over(refused.last, AT_ONCE, now));
        self.accepted.retain(|_, at| !is_over(*at, AT_ONCE, now));
        let known = self.refused.get(account);
        let first = known.filter(|known| known.pair == *pair && known.first <= now).map(|known| known.first);
        let noted = Refused { pair: pair.clone(), first: first.unwrap_or(now), last: now };
        self.refused.insert(account.clone(), noted);
        let many = self.refused.len();
        if many >= MANY && many > self.accepted.len() {
            return Doubt::Many(many);
        }
        match first {
            Some(first) if is_over(first, AGAIN, now) => {
                self.refused.remove(account);
                Doubt::None
            }
            _ => Doubt::Once,
        }
    }

    /// Notes that a token was accepted.
    pub(super) fn accepted(&mut self, account: &AccountId, now: Timestamp) {
        self.refused.remove(account);
        self.accepted.insert(account.clone(), now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    fn accounts(number: usize) -> Vec<AccountId> {
        (0..number).map(|number| AccountId::new(format!("a{number}"))).collect()
    }

    #[test]
    fn a_token_is_lost_when_it_is_refused_twice_minutes_apart() {
        let (mut doubts, ace, pair) = (Doubts::default(), AccountId::new("ace"), PairId::of_test("1"));
        assert_eq!(doubts.refused(&ace, &pair, at(0)), Doubt::Once);
        assert!(doubts.is_waiting(&ace, &pair, at(4)) && !doubts.is_waiting(&ace, &pair, at(5)));
        let other = PairId::of_test("2");
        assert!(!doubts.is_waiting(&ace, &other, at(4)), "authorised again");
        assert_eq!(doubts.refused(&ace, &pair, at(5)), Doubt::None);
        assert_eq!(doubts.refused(&ace, &other, at(6)), Doubt::Once);
        assert_eq!(doubts.refused(&ace, &pair, at(20)), Doubt::Once, "another pair than before");
        doubts.accepted(&ace, at(21));
        assert_eq!(doubts.refused(&ace, &pair, at(60)), Doubt::Once);
    }

    #[test]
    fn many_at_once_are_not_lost_however_long_it_lasts() {
        let (mut doubts, all, pair) = (Doubts::default(), accounts(5), PairId::of_test("1"));
        for round in 0..20 {
            let minute = round * 10;
            let answers: Vec<_> =
                all.iter().map(|account| doubts.refused(account, &pair, at(minute))).collect();
            assert_eq!(answers.last(), Some(&Doubt::Many(5)), "{minute}");
        }
        for account in &all[..4] {
            doubts.accepted(account, at(290));
        }
        assert_eq!(doubts.refused(&all[4], &pair, at(300)), Doubt::None, "the one that is left really is");
    }

    #[test]
    fn a_few_of_many_are_lost_each_for_itself() {
        let (mut doubts, all, pair) = (Doubts::default(), accounts(100), PairId::of_test("1"));
        for account in &all[3..] {
            doubts.accepted(account, at(0));
        }
        for account in &all[..3] {
            assert_eq!(doubts.refused(account, &pair, at(1)), Doubt::Once);
        }
        for account in &all[..3] {
            assert_eq!(doubts.refused(account, &pair, at(6)), Doubt::None);
        }
    }
}
