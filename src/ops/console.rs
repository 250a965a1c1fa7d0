//! The operator's console: whoever can reach the control socket gets an address of it that works once.

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};

use super::OpError;
use crate::accounts::onboarding::random;
use crate::context::Context;

/// The address of the console, for one browser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleOpened {
    pub url: String,
    pub expires_at: Timestamp,
}

/// An address for one browser. `is_daemon` says whether this process serves the console.
pub fn open(context: &Context, is_daemon: bool) -> Result<ConsoleOpened, OpError> {
    let Some(listen) = context.config.console.listen.filter(|_| is_daemon) else {
        let remedy = "set console.listen = \"127.0.0.1:8790\" and restart the daemon";
        return Err(OpError::Refused(format!("there is no console: {remedy}")));
    };
    let key = random().map_err(|error| OpError::Failed(error.to_string()))?;
    let expires_at = context.console.cut(&key, context.clock.now());
    Ok(ConsoleOpened { url: format!("http://{listen}/open/{}", key.expose_secret()), expires_at })
}
