//! Lists only some rows.

use super::args::Only;
use super::exit::{Status, Stop};
use crate::ops::queue::QueueRow;
use crate::ops::status::AccountStatus;

const OF_ACCOUNTS: [&str; 4] = ["connected", "paused", "needs_authorization", "disconnected"];
const OF_QUEUE: [&str; 4] = ["waiting", "held", "queued", "dead"];

impl Only {
    pub(super) fn of_accounts(&self, accounts: &mut Vec<AccountStatus>) -> Result<(), Stop> {
        let state = self.one_of(&OF_ACCOUNTS)?;
        let of_account = accounts.iter().any(|account| self.is_account(account.id.as_str(), &account.name));
        self.is_known(of_account)?;
        accounts.retain(|account| {
            self.is_account(account.id.as_str(), &account.name)
                && state.is_none_or(|state| account.state == state)
        });
        Ok(())
    }

    pub(super) fn of_queue(&self, rows: &mut Vec<QueueRow>) -> Result<(), Stop> {
        let state = self.one_of(&OF_QUEUE)?;
        rows.retain(|row| {
            let (account, name) = row.account();
            self.is_account(account.as_str(), name) && state.is_none_or(|state| row.state() == state)
        });
        Ok(())
    }

    fn is_account(&self, id: &str, name: &str) -> bool {
        self.account
            .as_ref()
            .is_none_or(|wanted| wanted == id || wanted.to_lowercase() == name.to_lowercase())
    }

    fn is_known(&self, is_known: bool) -> Result<(), Stop> {
        match &self.account {
            Some(account) if !is_known => {
                let remedy = "`account list` shows every account";
                Err(Stop::new(Status::NotFound, format!("there is no account `{account}`: {remedy}")))
            }
            _ => Ok(()),
        }
    }

    fn one_of(&self, states: &[&'static str]) -> Result<Option<&'static str>, Stop> {
        let Some(wanted) = &self.state else { return Ok(None) };
        let found = states.iter().find(|state| **state == wanted.replace(' ', "_")).copied();
        found.map(Some).ok_or_else(|| {
            Stop::usage(format!(
                "--state {wanted}: there is no such state; write one of {}",
                states.join(", ")
            ))
        })
    }
}
