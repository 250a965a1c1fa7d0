//! What systemd is told.

use std::sync::{Mutex, PoisonError};

use sd_notify::NotifyState;

use crate::context::Context;
use crate::domain::model::Account;
use crate::store::StoreError;
use crate::text_table::counted;

/// One line of state for `systemctl status`.
pub(super) async fn in_short(context: &Context) -> Result<String, StoreError> {
    let count = |(active, lost), account: Account| {
        let needs_authorization = account.state() == "needs_authorization";
        (active + usize::from(account.is_active()), lost + usize::from(needs_authorization))
    };
    let (active, lost) = context.store.fold_accounts((0, 0), count).await?;
    let waiting = context.store.waiting_count().await?;
    let troubles = match (lost, context.notifier.standing().await?.len()) {
        (0, 0) => "all is well".to_owned(),
        (0, alerts) => format!("alerts: {alerts} (jobber-reviewd status)"),
        (lost, _) => format!("accounts that need a new link: {lost} (jobber-reviewd status)"),
    };
    Ok(format!("watching {}; candidates waiting: {waiting}; {troubles}", counted(active, "account")))
}

/// This daemon does not work yet: another one does, or the database is away. It is started all the same, and alive.
pub(super) fn stand_by(why: &StoreError) {
    let words = match why {
        StoreError::Held { by, .. } => format!("standing by: the daemon at {by} works with the store"),
        why => format!("waiting for the store: {why}"),
    };
    tell_systemd(&[NotifyState::Ready, NotifyState::Status(&words), NotifyState::Watchdog]);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if *said != words {
        tracing::info!("{words}");
        *said = words;
    }
}

/// What was said last while standing by.
static SAID: Mutex<String> = Mutex::new(String::new());

/// Notifies systemd, if it is there. If its socket fails, systemd will notice.
pub(super) fn tell_systemd(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be notified");
    }
}
