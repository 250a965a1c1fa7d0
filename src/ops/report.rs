//! What happened in an account over some time, for the console and the digest.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::OpError;
use crate::clock::minus;
use crate::context::Context;
use crate::domain::funnel::{Funnel, Step, is_since};
use crate::domain::model::{Account, AccountId, Decision};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Works of one day (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DayCount {
    pub day: Date,
    /// Finished while the account was connected, and decided on that day.
    pub finished: usize,
    pub asked: usize,
}

/// The last `days` days of an account, the first one first, also those without work.
pub async fn days(context: &Context, account: &AccountId, days: usize) -> Result<Vec<DayCount>, OpError> {
    let now = context.clock.now();
    let mut counts: Vec<DayCount> = Vec::with_capacity(days);
    for back in (0..days).rev() {
        let at = minus(now, DAY * i32::try_from(back).unwrap_or(i32::MAX));
        counts.push(DayCount { day: at.to_zoned_datetime(TimeZone::UTC).date(), finished: 0, asked: 0 });
    }
    let since = minus(now, DAY * i32::try_from(days.saturating_sub(1)).unwrap_or(i32::MAX));
    for (end, tally) in context.store.day_tallies(account, since).await? {
        let day = minus(end, SignedDuration::from_secs(1)).to_zoned_datetime(TimeZone::UTC).date();
        if let Some(count) = counts.iter_mut().find(|count| count.day == day) {
            count.finished = usize::try_from(tally.finished_since_connecting()).unwrap_or_default();
            count.asked = tally.asked;
        }
    }
    Ok(counts)
}

/// The funnel of works that were decided since `since`, or are not decided yet. Reads every decision of the account.
pub async fn funnel(context: &Context, account: &Account, since: Timestamp) -> Result<Funnel, OpError> {
    let zone = context.settings.zone_of(account);
    let add = move |funnel: &mut Funnel, decision: Decision| {
        if is_since(&decision, since) {
            funnel.add(&decision, &zone);
        }
    };
    let mut funnel = context.store.fold_decisions(&account.id, Funnel::default(), add).await?;
    funnel.reviewed = context.store.reviews_since(since).await?.get(&account.id).copied().unwrap_or_default();
    Ok(funnel)
}

/// The newest works of a step, at most `most`.
pub async fn works(
    context: &Context,
    account: &Account,
    since: Timestamp,
    step: Step,
    most: usize,
) -> Result<Vec<Decision>, OpError> {
    let add = move |newest: &mut BTreeMap<_, Decision>, decision: Decision| {
        if is_since(&decision, since) && step.is_of(&decision) {
            newest.insert((decision.finished_at, decision.work.clone()), decision);
            if newest.len() > most {
                newest.pop_first();
            }
        }
    };
    let newest = context.store.fold_decisions(&account.id, BTreeMap::new(), add).await?;
    Ok(newest.into_values().rev().collect())
}
