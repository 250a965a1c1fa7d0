//! The real program as a child process.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Installation;

fn secrets(folder: &Path) {
    let secret = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    secret("client_secret", "secret");
    secret("store_key", &STANDARD.encode([1; 32]));
    secret("webhook_secret", &format!("whsec_{}", STANDARD.encode([7; 32])));
}

/// The real program.
pub(super) struct Daemon {
    child: Child,
}

impl Daemon {
    pub(super) fn start(installation: &Installation) -> Self {
        Self::start_with(installation, &[])
    }

    /// Starts it with some keys set otherwise, and waits until it is ready.
    pub(super) fn start_with(installation: &Installation, keys: &[(&str, &str)]) -> Self {
        let folder = installation.folder.path();
        secrets(folder);
        let socket = folder.join("notify.sock");
        let _of_an_earlier_one = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobber-reviewd"));
        command.arg("--config").arg(folder.join("config.toml"));
        let child = command
            .env("NOTIFY_SOCKET", &socket)
            .env("JOBBER_REVIEWD_LOG", "error")
            .env("JOBBER_REVIEWD_FIRST_START", "true")
            .envs(installation.config.store.url.iter().map(|url| ("JOBBER_REVIEWD__STORE__URL", url)))
            .envs(keys.iter().map(|(key, value)| (format!("JOBBER_REVIEWD__{key}"), value)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut message = [0; 256];
        loop {
            let length = notify.recv(&mut message).unwrap();
            if message[..length].starts_with(b"READY=1") {
                break;
            }
        }
        Self { child }
    }

    /// Mebibytes resident.
    pub(super) fn resident(&self) -> f64 {
        self.memory("VmRSS:")
    }

    /// The most mebibytes that were resident since the last call.
    pub(super) fn peak(&self) -> f64 {
        let peak = self.memory("VmHWM:");
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        peak
    }

    fn memory(&self, what: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(what)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Runs a verb of the command line with the settings in a folder.
    pub(super) fn verb(folder: &Path, words: &[&str]) -> std::process::Output {
        secrets(folder);
        let mut command = Command::new(env!("CARGO_BIN_EXE_jobber-reviewd"));
        command.arg("--config").arg(folder.join("config.toml")).args(words);
        command.output().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
