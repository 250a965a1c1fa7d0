//! Doubts a refused refresh token before an account is called lost. Pure.
//!
//! A refusal spends nothing, so it is asked again some minutes later. When many accounts are refused at once, it is
//! Jobber's own trouble, or a change of the whole app: then nobody is called lost.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::clock::is_over;
use crate::domain::model::AccountId;

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

#[derive(Debug, Clone, Copy)]
struct Refused {
    first: Timestamp,
    last: Timestamp,
}

/// The accounts whose refresh tokens were refused. Kept in memory: after a restart each is asked twice again.
#[derive(Debug, Default)]
pub(super) struct Doubts(HashMap<AccountId, Refused>);

impl Doubts {
    /// Whether the token of an account was refused just now, and need not be tried yet.
    pub(super) fn is_waiting(&self, account: &AccountId, now: Timestamp) -> bool {
        self.0.get(account).is_some_and(|refused| !is_over(refused.last, AGAIN, now))
    }

    /// Notes a refusal.
    pub(super) fn refused(&mut self, account: &AccountId, now: Timestamp) -> Doubt {
        self.0.retain(|other, refused| other == account || !is_over(refused.last, AT_ONCE, now));
        let known = self.0.get(account).filter(|refused| refused.first <= now).copied();
        let first = known.map_or(now, |refused| refused.first);
        self.0.insert(account.clone(), Refused { first, last: now });
        match (self.0.len(), known) {
            (many, _) if many >= MANY => Doubt::Many(many),
            (_, Some(refused)) if is_over(refused.first, AGAIN, now) => {
                self.0.remove(account);
                Doubt::None
            }
            _ => Doubt::Once,
        }
    }

    /// Notes that a token was accepted.
    pub(super) fn accepted(&mut self, account: &AccountId) {
        self.0.remove(account);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(minute * 60).unwrap()
    }

    #[test]
    fn a_token_is_lost_when_it_is_refused_twice_minutes_apart() {
        let (mut doubts, ace) = (Doubts::default(), AccountId::new("ace"));
        assert_eq!(doubts.refused(&ace, at(0)), Doubt::Once);
        assert!(doubts.is_waiting(&ace, at(4)) && !doubts.is_waiting(&ace, at(5)));
        assert_eq!(doubts.refused(&ace, at(5)), Doubt::None);
        assert_eq!(doubts.refused(&ace, at(6)), Doubt::Once, "another token");
        doubts.accepted(&ace);
        assert_eq!(doubts.refused(&ace, at(60)), Doubt::Once);
    }

    #[test]
    fn many_at_once_are_not_lost_however_long_it_lasts() {
        let mut doubts = Doubts::default();
        let accounts: Vec<AccountId> = (0..5).map(|number| AccountId::new(format!("a{number}"))).collect();
        for round in 0..20 {
            let minute = round * 10;
            let all: Vec<_> = accounts.iter().map(|account| doubts.refused(account, at(minute))).collect();
            assert_eq!(all.last(), Some(&Doubt::Many(5)), "{minute}");
        }
        for account in &accounts[..4] {
            doubts.accepted(account);
        }
        assert_eq!(doubts.refused(&accounts[4], at(300)), Doubt::None, "the one that is left really is");
    }
}
