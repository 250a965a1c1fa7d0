//! Where the database is, and how it is reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::postgres::Client;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{AsyncMessage, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::StoreError;

const PATIENCE: Duration = Duration::from_secs(5);

/// A server that is gone without a word is given up after this.
const SILENCE: Duration = Duration::from_secs(10);

/// What every session wants: a session that was paused in the middle holds up nobody for long, few rows are reason enough
/// to use the index, and short statements are not worth compiling.
const SETTINGS: &str = "SET application_name = 'jobber-reviewd'; SET statement_timeout = '30s'; \
    SET idle_in_transaction_session_timeout = '5s'; SET enable_seqscan = off; SET jit = off; SET client_min_messages = warning";

/// A database of PostgreSQL.
#[derive(Clone)]
pub struct Address(Arc<Reach>);

struct Reach {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Address {
    /// Reads `postgres://USER@HOST[:PORT]/DATABASE`. TLS is needed unless the server is on this machine or the URL says
    /// `sslmode=disable`; its certificate must be one that this machine trusts.
    ///
    /// The error says what is wrong, and how to write it.
    pub fn parse(url: &str, password: Option<&SecretString>) -> Result<Self, String> {
        let wrong = |why: &str| format!("{why}; write one such as postgres://reviewd@db.example.com/reviewd");
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(wrong("it is not an address of PostgreSQL"));
        }
        let says_ssl = url.split(['?', '&']).any(|part| part.starts_with("sslmode="));
        // A certificate is always verified, with the name of the server.
        let url = url.replace("sslmode=verify-full", "sslmode=require");
        let mut config: Config = url.parse().map_err(|_| wrong("it is not an address of PostgreSQL"))?;
        if config.get_password().is_some() {
            return Err("it contains a password; use store.password_file".to_owned());
        }
        if config.get_dbname().is_none() {
            return Err(wrong("it names no database"));
        }
        if config.get_hosts().is_empty() {
            return Err(wrong("it names no host"));
        }
        let is_near = config.get_hosts().iter().all(is_near)
            && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback);
        let is_plain = if says_ssl { config.get_ssl_mode() == SslMode::Disable } else { is_near };
        config.ssl_mode(if is_plain { SslMode::Disable } else { SslMode::Require });
        if let Some(password) = password {
            config.password(password.expose_secret().trim());
        }
        config.connect_timeout(PATIENCE).tcp_user_timeout(SILENCE).keepalives_idle(SILENCE);
        config.keepalives_interval(SILENCE / 5).keepalives_retries(3);
        let tls = if is_plain { None } else { Some(tls()?) };
        Ok(Self(Arc::new(Reach { config, tls })))
    }

    pub(super) fn connect(&self) -> Result<Client, StoreError> {
        let config = ::postgres::Config::from(self.0.config.clone());
        let mut client = match &self.0.tls {
            Some(tls) => config.connect(tls.clone())?,
            None => config.connect(NoTls)?,
        };
        client.batch_execute(SETTINGS)?;
        Ok(client)
    }

    /// How long making a connection may take, with all hosts tried in turn.
    pub(super) fn patience(&self) -> Duration {
        let hosts = self.0.config.get_hosts().len().max(self.0.config.get_hostaddrs().len());
        PATIENCE.saturating_mul(u32::try_from(hosts).unwrap_or(1) + 1)
    }

    /// A connection for async threads, which others see under `name`. `heard` gets what is told on `channel`.
    pub(super) async fn listen(
        &self,
        name: &str,
        channel: &str,
        heard: impl Fn(&str) + Send + 'static,
    ) -> Result<tokio_postgres::Client, StoreError> {
        let Reach { config, tls } = &*self.0;
        let client = if let Some(tls) = tls {
            let (client, connection) = config.connect(tls.clone()).await?;
            tokio::spawn(drive(connection, heard));
            client
        } else {
            let (client, connection) = config.connect(NoTls).await?;
            tokio::spawn(drive(connection, heard));
            client
        };
        let begin = format!("{SETTINGS}; SET application_name = '{name}'; LISTEN {channel}");
        client.batch_execute(&begin).await?;
        Ok(client)
    }
}

/// Moves what a connection sends and receives, until it ends.
async fn drive<S, T>(mut connection: Connection<S, T>, heard: impl Fn(&str))
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
        match message {
            Ok(AsyncMessage::Notification(told)) => heard(told.payload()),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%error, "a connection of the relay ended");
                break;
            }
        }
    }
}

fn is_near(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        }
    }
}

fn tls() -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(MakeRustlsConnect::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// Without what is secret.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.0.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let hosts = hosts.collect::<Vec<_>>().join(",");
        write!(f, "postgres://{hosts}/{}", self.0.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_needed_beyond_this_machine_and_errors_say_what_to_write() {
        let is_plain = |url: &str| Address::parse(url, None).unwrap().0.tls.is_none();
        assert!(
            is_plain("postgres://me@127.0.0.1/reviewd")
                && is_plain("postgres:///reviewd?host=/run/postgresql")
        );
        assert!(!is_plain("postgres://me@db.example.com/reviewd"));
        assert!(!is_plain("postgres://me@db.example.com/reviewd?sslmode=prefer"), "no quiet fallback");
        assert!(!is_plain("postgres://me@localhost/reviewd?sslmode=verify-full"));
        assert!(!is_plain("postgres://me@localhost/reviewd?hostaddr=10.0.0.5"));
        assert!(is_plain("postgres://me@db.example.com/reviewd?sslmode=disable"));
        for (url, said) in [
            ("mysql://me@db/reviewd", "it is not an address of PostgreSQL; write one such as postgres://"),
            ("postgres://me:secret@db/reviewd", "it contains a password; use store.password_file"),
            ("postgres://db", "it names no database"),
            ("postgres:///reviewd", "it names no host"),
        ] {
            let error = Address::parse(url, None).unwrap_err();
            assert!(error.contains(said) && !error.contains("secret@"), "{url}: {error}");
        }
        let secret = SecretString::from("hush\n");
        let address = Address::parse("postgres://me@db.example.com:6432/reviewd", Some(&secret)).unwrap();
        assert_eq!(format!("{address} {address:?}").matches("hush").count(), 0);
        assert_eq!(address.0.config.get_password(), Some(&b"hush"[..]));
    }
}
