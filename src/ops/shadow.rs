//! Compares shadow decisions with what an old automation sent.

use std::collections::BTreeMap;

use super::people::no_account;
use super::{OpError, named};
use crate::context::Context;
use crate::domain::import::AskedBefore;
use crate::domain::model::{Account, AccountId};
use crate::domain::shadow::{ShadowReport, compare};

/// The difference between our shadow asks and `theirs`. `otherwise` is the account of rows without one.
pub async fn report(
    context: &Context,
    theirs: Vec<AskedBefore>,
    otherwise: Option<String>,
) -> Result<ShadowReport, OpError> {
    // An account without any row in their file is compared too.
    let meant = match named(context, otherwise.clone()).await? {
        Some(account) => vec![account],
        None => context.store.accounts().await?,
    };
    let mut by_account: BTreeMap<AccountId, (Account, Vec<AskedBefore>)> =
        meant.into_iter().map(|account| (account.id.clone(), (account, vec![]))).collect();
    for row in theirs {
        let name = row.account.clone().or_else(|| otherwise.clone());
        let account = named(context, name).await.map_err(|error| error.at_line(row.line))?;
        let account = account.ok_or_else(|| no_account(row.line))?;
        by_account.entry(account.id.clone()).or_insert_with(|| (account, vec![])).1.push(row);
    }
    let mut whole = ShadowReport::default();
    for (account, rows) in by_account.into_values() {
        let decisions = context.store.decisions(&account.id).await?;
        let rules = context.settings.rules_of(&account);
        let rules = rules.map_err(|error| OpError::Refused(format!("{}: {error}", account.name)))?;
        let report = compare(&decisions, &rows, &rules);
        whole.both += report.both;
        whole.only_us.extend(report.only_us);
        whole.only_them.extend(report.only_them);
        whole.repeats.extend(report.repeats);
        whole.outside_hours.extend(report.outside_hours);
    }
    Ok(whole)
}
