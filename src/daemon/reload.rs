//! Handles SIGHUP: reads the settings again. `[review]`, the schedule, rules, and what may be written and forwarded apply
//! at once, other changes are reported as needing a restart. Invalid settings change nothing.

use sd_notify::NotifyState;
use tokio_cron_scheduler::{Job, JobScheduler};

use crate::config::{Config, ConfigErrors, EventsSection, KEYS, value_of};
use crate::context::Context;

pub type Reread = Box<dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync>;

pub(super) struct Sweeps {
    pub(super) scheduler: JobScheduler,
    pub(super) job: uuid::Uuid,
    pub(super) schedule: String,
}

pub(super) async fn reload(context: &std::sync::Arc<Context>, sweeps: &mut Sweeps, reread: &Reread) {
    let mut begun = vec![NotifyState::Reloading];
    begun.extend(NotifyState::monotonic_usec_now());
    super::tell_systemd(&begun);
    match reread().map_err(anyhow::Error::from) {
        Ok(config) => match take(context, sweeps, &config).await {
            Ok(()) => tracing::info!("the settings were read again"),
            Err(error) => tracing::error!(%error, "the new settings are invalid: the old ones apply"),
        },
        Err(error) => tracing::error!(%error, "the new settings are invalid: the old ones apply"),
    }
    super::tell_systemd(&[NotifyState::Ready]);
}

async fn take(context: &std::sync::Arc<Context>, sweeps: &mut Sweeps, config: &Config) -> anyhow::Result<()> {
    for key in waiting_for_a_restart(&context.config, config)? {
        tracing::warn!(key, "this setting takes effect only after a restart");
    }
    // Everything that can fail comes before the first change.
    let schedule = config.poll.schedule.as_str();
    let ringer = std::sync::Arc::clone(context);
    let job = Job::new(schedule, move |_, _| ringer.bells.schedule.notify_one())?;
    // All other settings stay as they were at the start.
    let events = EventsSection {
        enabled: config.events.enabled,
        forward: config.events.forward.clone(),
        ..context.config.events.clone()
    };
    context.settings.replace(&Config {
        review: config.review.clone(),
        actions: config.actions.clone(),
        rules: config.rules.clone(),
        events,
        ..context.config.clone()
    })?;
    if schedule != sweeps.schedule {
        let job = sweeps.scheduler.add(job).await?;
        sweeps.scheduler.remove(&std::mem::replace(&mut sweeps.job, job)).await?;
        schedule.clone_into(&mut sweeps.schedule);
    }
    context.bells.subscriptions.notify_one();
    context.bells.recheck.notify_one();
    context.bells.delivery.notify_one();
    Ok(())
}

/// Settings that apply at once, besides those of `[review]`.
const AT_ONCE: [&str; 5] = ["poll.schedule", "actions.write", "rules", "events.enabled", "events.forward"];

fn waiting_for_a_restart(running: &Config, read: &Config) -> serde_json::Result<Vec<&'static str>> {
    let (running, read) = (serde_json::to_value(running)?, serde_json::to_value(read)?);
    Ok(KEYS
        .iter()
        .map(|key| key.name)
        .filter(|name| {
            !AT_ONCE.contains(name) && (!name.starts_with("review.") || *name == "review.webhook_secret_file")
        })
        .filter(|name| value_of(&running, name) != value_of(&read, name))
        .collect())
}
