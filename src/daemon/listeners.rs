//! Everything that listens on a port.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::server::{Api, Console, Http, Metrics};

/// Bound listeners that are not served yet.
#[derive(Debug)]
pub(super) struct Listeners {
    http: Http,
    metrics: Option<Metrics>,
    api: Option<Api>,
    console: Option<Console>,
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{key}: {address} cannot be bound; free the port or choose another address"))
}

impl Listeners {
    /// Binds what the settings name. An already bound listener replaces `http.listen`.
    pub(super) async fn bind(context: &Arc<Context>, public: Option<TcpListener>) -> anyhow::Result<Self> {
        let config = &context.config;
        let public = match public {
            Some(listener) => listener,
            None => bind("http.listen", config.http.listen).await?,
        };
        let metrics = match config.metrics.listen {
            Some(address) => {
                let listener = bind("metrics.listen", address).await?;
                Some(Metrics::new(listener, Arc::clone(context)).context("metrics cannot be set up")?)
            }
            None => None,
        };
        let api = match config.api.listen {
            Some(address) => Some(Api::new(bind("api.listen", address).await?, Arc::clone(context))),
            None => None,
        };
        let console = match config.console.listen {
            Some(address) => Some(Console::new(bind("console.listen", address).await?, Arc::clone(context))),
            None => None,
        };
        Ok(Self { http: Http::new(public, Arc::clone(context)), metrics, api, console })
    }

    /// The address of the public listener.
    pub(super) fn address(&self) -> std::io::Result<SocketAddr> {
        self.http.address()
    }

    /// Serves them all until `stop`.
    pub(super) fn run(self, parts: &mut JoinSet<anyhow::Result<()>>, stop: &CancellationToken) {
        let Self { http, metrics, api, console } = self;
        serve(parts, http.run(stop.clone()));
        if let Some(metrics) = metrics {
            serve(parts, metrics.run(stop.clone()));
        }
        if let Some(api) = api {
            serve(parts, api.run(stop.clone()));
        }
        if let Some(console) = console {
            serve(parts, console.run(stop.clone()));
        }
    }
}

fn serve(parts: &mut JoinSet<anyhow::Result<()>>, run: impl Future<Output = ()> + Send + 'static) {
    parts.spawn(async move {
        run.await;
        Ok(())
    });
}
