//! What a daemon does while another one works with the store: it passes on what it is asked (`server/relay.rs`), so that
//! a load balancer and an operator need not know which one works.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listeners::{Sockets, bind_control};
use crate::config::Config;
use crate::server::control::{Control, Worker};
use crate::store::{Asker, Place};
use crate::store_key::StoreKey;

pub(super) struct Standby {
    sockets: Sockets,
    control: Arc<Control>,
    stop: CancellationToken,
}

impl Standby {
    /// Begins to pass on. `None` if nobody can work elsewhere, or if this machine's addresses are taken, as by another
    /// daemon on it.
    pub(super) async fn begin(
        config: &Config,
        place: &Place,
        key: &StoreKey,
        handed: Option<Arc<TcpListener>>,
    ) -> Option<Self> {
        let Place::Postgres(address) = place else { return None };
        if UnixStream::connect(&config.control.socket).is_ok() {
            tracing::info!("another daemon answers on control.socket: this one passes nothing on");
            return None;
        }
        let bound =
            async { Ok::<_, anyhow::Error>((Sockets::bind(config, handed).await?, bind_control(config)?)) };
        let (sockets, control) = match bound.await {
            Ok((sockets, control)) => (sockets, Arc::new(control)),
            Err(error) => {
                tracing::warn!("{error:#}; while this daemon stands by it passes nothing on");
                return None;
            }
        };
        let (asker, stop) = (Arc::new(Asker::new(address, key)), CancellationToken::new());
        sockets.pass_on(&asker, &stop);
        tokio::spawn({
            let (control, worker, stop) =
                (Arc::clone(&control), Worker::Elsewhere(Arc::clone(&asker)), stop.clone());
            async move { control.run(worker, stop, &TaskTracker::new()).await }
        });
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move { asker.keep().await }));
        Some(Self { sockets, control, stop })
    }

    /// What is asked from now on is this daemon's own. What is under way is answered still.
    pub(super) fn end(self) -> (Sockets, Arc<Control>) {
        self.stop.cancel();
        (self.sockets, self.control)
    }
}
