//! `doctor`: first the checks without a daemon, then those that need the store and the network.

use super::call::Call;
use super::exit::{Status, Stop};
use super::reach::reach;
use crate::config::{Config, Secrets};
use crate::ops::doctor::Check;
use crate::ops::protocol::Doctor;
use crate::server::control::CallError;

pub(super) async fn doctor(call: &Call) -> Result<Status, Stop> {
    let mut checks = Vec::new();
    if let Err(missing) = look(call, &mut checks).await? {
        checks.push(Check::skipped("everything else", missing));
    }
    call.print(&checks)
}

/// Adds the checks. The inner error is the failed check that all others depend on.
async fn look(call: &Call, checks: &mut Vec<Check>) -> Result<Result<(), &'static str>, Stop> {
    let config = match Config::load(call.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            let remedy = "correct it, then run: jobber-reviewd config check";
            for error in error.0 {
                checks.push(Check::failed("configuration", error.to_string(), remedy));
            }
            return Ok(Err("configuration"));
        }
    };
    checks.push(Check::fine("configuration", "it is valid"));
    let reached = tokio::net::UnixStream::connect(&config.control.socket).await;
    if reached.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied) {
        return Err(Stop::usage(CallError::Forbidden(config.control.socket)));
    }
    match (reached.is_ok(), Secrets::load(&config)) {
        (true, _) => checks.push(Check::fine("secrets", "the daemon has them")),
        (false, Ok(_)) => checks.push(Check::fine("secrets", "all are present and not readable by others")),
        (false, Err(error)) => {
            checks.push(Check::failed(
                "secrets",
                error.to_string(),
                "or start the service, which gets them from systemd",
            ));
            return Ok(Err("secrets"));
        }
    }
    match reach(&config, &Doctor {}, &mut |_| Ok(())).await {
        Ok(more) => {
            checks.extend(more);
            Ok(Ok(()))
        }
        Err(stop) => {
            checks.push(Check::failed("store", stop.message, "fix that, or start the daemon"));
            Ok(Err("store"))
        }
    }
}
