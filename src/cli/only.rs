//! Lists only some rows.

use super::args::Only;
use super::call::Call;
use super::exit::Stop;
use super::reach::ask;
use crate::domain::model::AccountId;
use crate::ops::protocol::AccountShow;
use crate::ops::queue::QueueRow;
use crate::ops::status::StatusReport;

const OF_ACCOUNTS: [&str; 4] = ["connected", "paused", "needs_authorization", "disconnected"];
const OF_QUEUE: [&str; 4] = ["waiting", "held", "queued", "dead"];

impl Only {
    pub(super) async fn of_accounts(&self, call: &Call, report: &mut StatusReport) -> Result<(), Stop> {
        let state = self.one_of(&OF_ACCOUNTS)?;
        let account = self.account(call).await?;
        if state.is_none() && account.is_none() {
            return Ok(());
        }
        // It is about all accounts.
        report.draft_limit = None;
        report.accounts.retain(|row| {
            account.as_ref().is_none_or(|id| row.id == *id) && state.is_none_or(|state| row.state == state)
        });
        report.is_filtered = true;
        Ok(())
    }

    pub(super) async fn of_queue(&self, call: &Call, rows: &mut Vec<QueueRow>) -> Result<(), Stop> {
        let state = self.one_of(&OF_QUEUE)?;
        let account = self.account(call).await?;
        rows.retain(|row| {
            account.as_ref().is_none_or(|id| row.account().0 == id)
                && state.is_none_or(|state| row.state() == state)
        });
        Ok(())
    }

    /// The account that is named, as every verb finds it.
    async fn account(&self, call: &Call) -> Result<Option<AccountId>, Stop> {
        let Some(account) = self.account.clone() else { return Ok(None) };
        let shown = ask(call.config.as_deref(), &AccountShow { account }).await?;
        Ok(Some(shown.account.id))
    }

    fn one_of(&self, states: &[&'static str]) -> Result<Option<&'static str>, Stop> {
        let Some(wanted) = &self.state else { return Ok(None) };
        let found = states.iter().find(|state| **state == wanted.replace(' ', "_")).copied();
        found.map(Some).ok_or_else(|| {
            let states = states.join(", ");
            Stop::usage(format!("--state {wanted}: there is no such state; write one of {states}"))
        })
    }
}
