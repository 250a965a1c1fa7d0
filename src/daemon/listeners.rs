//! Everything that listens on a port.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::context::Context;
use crate::server::control::Control;
use crate::server::limits::{self, Limits};
use crate::server::relay::{self, Door};
use crate::server::relayed::Doors;
use crate::server::{Api, Console, Http, Metrics};
use crate::store::Asker;

/// Bound listeners that are not served yet.
#[derive(Debug)]
pub(super) struct Listeners {
    http: Http,
    metrics: Option<Metrics>,
    api: Option<Api>,
    console: Option<Console>,
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<Arc<TcpListener>> {
    TcpListener::bind(address)
        .await
        .map(Arc::new)
        .with_context(|| format!("{key}: {address} cannot be bound; free the port or choose another address"))
}

/// Bound sockets, whoever answers on them.
#[derive(Debug, Clone)]
pub(super) struct Sockets {
    public: Arc<TcpListener>,
    api: Option<Arc<TcpListener>>,
    console: Option<Arc<TcpListener>>,
}

impl Sockets {
    /// Binds what the settings name. An already bound listener replaces `http.listen`.
    pub(super) async fn bind(config: &Config, public: Option<Arc<TcpListener>>) -> anyhow::Result<Self> {
        let public = match public {
            Some(listener) => listener,
            None => bind("http.listen", config.http.listen).await?,
        };
        let api = match config.api.listen {
            Some(address) => Some(bind("api.listen", address).await?),
            None => None,
        };
        let console = match config.console.listen {
            Some(address) => Some(bind("console.listen", address).await?),
            None => None,
        };
        Ok(Self { public, api, console })
    }

    /// Passes on what arrives there, until `stop`. What is under way then is in `tasks`.
    pub(super) fn pass_on(&self, asker: &Arc<Asker>, stop: &CancellationToken, tasks: &TaskTracker) {
        let Self { public, api, console } = self;
        let doors = [
            (Door::Public, Some(public), Limits::default()),
            (Door::Api, api.as_ref(), Api::limits()),
            (Door::Console, console.as_ref(), Limits::default()),
        ];
        for (door, listener, limits) in doors {
            if let Some(listener) = listener {
                let router = relay::passing_on(door, Arc::clone(asker), limits);
                tasks.spawn(limits::serve(Arc::clone(listener), router, limits, stop.clone()));
            }
        }
    }
}

pub(super) fn bind_control(config: &Config) -> anyhow::Result<Control> {
    let socket = &config.control.socket;
    Control::bind(socket).with_context(|| {
        format!(
            "control.socket: {} cannot be created; check that its folder exists and belongs to this user",
            socket.display()
        )
    })
}

impl Listeners {
    /// This daemon answers on these sockets.
    pub(super) async fn new(context: &Arc<Context>, sockets: Sockets) -> anyhow::Result<Self> {
        let Sockets { public, api, console } = sockets;
        let metrics = match context.config.metrics.listen {
            Some(address) => {
                let listener = bind("metrics.listen", address).await?;
                Some(Metrics::new(listener, Arc::clone(context)).context("metrics cannot be set up")?)
            }
            None => None,
        };
        Ok(Self {
            http: Http::new(public, Arc::clone(context)),
            metrics,
            api: api.map(|listener| Api::new(listener, Arc::clone(context))),
            console: console.map(|listener| Console::new(listener, Arc::clone(context))),
        })
    }

    /// What answers there, for requests that come another way.
    pub(super) fn doors(&self) -> Doors {
        Doors {
            public: self.http.router(),
            api: self.api.as_ref().map(Api::router),
            console: self.console.as_ref().map(Console::router),
        }
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
