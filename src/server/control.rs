//! The control socket: the command line sends verbs to the running daemon, because only one process can hold
//! the store.
//!
//! One request per connection: the client sends a line of JSON, gets a line for each message, and then a line
//! with the reply. File mode (0660) and folder decide who may write to the socket. In addition, in case the
//! mode was loosened, only root, the daemon's user, and processes with the daemon's group get an answer.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::relay;
use crate::context::Context;
use crate::ops::Told;
use crate::ops::protocol::{self, Refusal, RefusalKind, Scene, Verb};
use crate::store::{Asker, RelayError};

const LONGEST_REQUEST: u64 = 16 * 1024 * 1024;

/// Parts of an export that are buffered for a slow reader.
const TOLD_AHEAD: usize = 8;

/// How long a client may leave a line unread.
const UNREAD: Duration = Duration::from_mins(1);

const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Told(Told),
    Reply(Value),
    Refused(Refusal),
}

#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    /// Owner and group of the socket.
    owner: (u32, u32),
    /// Device and number of the socket's file.
    file: (u64, u64),
}

impl Control {
    /// Binds the socket and replaces one that a dead daemon left.
    pub fn bind(path: &Path) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
            Ok(_) => return Err(std::io::Error::other("something that is not a socket is at that path")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        let made = std::fs::metadata(path)?;
        let (owner, file) = ((made.uid(), made.gid()), (made.dev(), made.ino()));
        Ok(Self { listener, path: path.to_owned(), owner, file })
    }

    /// Whether the file at the path is still this socket's.
    pub fn is_in_place(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == self.file)
    }

    fn may_ask(&self, stream: &UnixStream) -> bool {
        let (uid, gid) = self.owner;
        stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == uid || peer.gid() == gid)
    }

    /// Answers until `stop`. What is under way then is in `tasks`.
    pub async fn run(&self, worker: Worker, stop: CancellationToken, tasks: &TaskTracker) {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) if !self.may_ask(&stream) => {
                    tracing::warn!("a process of another user was refused at the control socket");
                }
                Ok((stream, _)) => {
                    tasks.spawn(serve(stream, worker.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Another daemon may have replaced it.
        if self.is_in_place() {
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

/// Who carries out what the socket is asked.
#[derive(Clone)]
pub enum Worker {
    /// This daemon.
    Here(Arc<Context>),
    /// The one that works with the store.
    Elsewhere(Arc<Asker>),
}

async fn serve(stream: UnixStream, worker: Worker) {
    if let Err(error) = answer(stream, &worker).await {
        tracing::debug!(%error, "a control connection ended early");
    }
}

async fn answer(stream: UnixStream, worker: &Worker) -> std::io::Result<()> {
    let (read, write) = stream.into_split();
    let mut line = String::new();
    let mut reader = BufReader::new(read.take(LONGEST_REQUEST));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await??;
    match worker {
        Worker::Here(context) => carry_out(&line, context, write).await,
        Worker::Elsewhere(asker) => pass_on(line, asker, write).await,
    }
}

/// Carries out a line, and writes what it tells and its reply.
pub(super) async fn carry_out(
    line: &str,
    context: &Context,
    write: impl AsyncWrite + Unpin + Send + 'static,
) -> std::io::Result<()> {
    let (tell, told) = mpsc::channel(TOLD_AHEAD);
    let carried_out = protocol::answer(line, Scene { context, is_daemon: true, tell });
    write_out(write, told, carried_out).await
}

/// Has a line carried out by the daemon that works, and writes what that one says.
async fn pass_on(line: String, asker: &Asker, mut write: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    let said = async {
        let mut asked = relay::verb(line, asker).await?;
        while let Some(mut part) = asked.next().await? {
            part.push(b'\n');
            tokio::time::timeout(UNREAD, write.write_all(&part)).await.map_err(std::io::Error::from)??;
        }
        Ok(())
    };
    match said.await {
        Ok(()) => Ok(()),
        Err(NotPassed::Unheard(error)) => Err(error),
        // As when a daemon ends: whoever asked knows what to do when it is not known whether something was done.
        Err(NotPassed::Relay(RelayError::Lost)) => Err(std::io::ErrorKind::BrokenPipe.into()),
        Err(NotPassed::Relay(error)) => {
            let refusal = Refusal { kind: RefusalKind::Failed, message: error.to_string() };
            send(&mut write, &Line::Refused(refusal)).await
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum NotPassed {
    #[error(transparent)]
    Relay(#[from] RelayError),
    #[error(transparent)]
    Unheard(#[from] std::io::Error),
}

/// Carries the request out, and passes on what it tells. Writing has a task of its own: a client that does not read, such
/// as a suspended shell, holds up nothing but itself. It misses progress, and is given up when a line cannot be written
/// in [`UNREAD`]; the work goes on without it.
async fn write_out(
    mut write: impl AsyncWrite + Unpin + Send + 'static,
    mut told: mpsc::Receiver<Told>,
    carried_out: impl Future<Output = Result<Value, Refusal>>,
) -> std::io::Result<()> {
    let (lines, mut to_write) = mpsc::channel::<Line>(TOLD_AHEAD);
    let writing = tokio::spawn(async move {
        while let Some(line) = to_write.recv().await {
            tokio::time::timeout(UNREAD, send(&mut write, &line)).await??;
        }
        Ok::<_, std::io::Error>(())
    });
    tokio::pin!(carried_out);
    let reply = loop {
        tokio::select! {
            // Messages come before the reply.
            biased;
            Some(message) = told.recv() => {
                if !hand_over(&lines, message).await {
                    // A part of an export has lost its reader: the export ends.
                    told.close();
                }
            }
            reply = &mut carried_out => break reply,
        }
    };
    while let Ok(message) = told.try_recv() {
        hand_over(&lines, message).await;
    }
    let reply = reply.map_or_else(Line::Refused, Line::Reply);
    if lines.send(reply).await.is_ok() {
        drop(lines);
        return writing.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    }
    Err(std::io::ErrorKind::BrokenPipe.into())
}

/// Hands a message to whoever writes. `false` if there is nobody any more. Progress is dropped for a slow reader.
async fn hand_over(lines: &mpsc::Sender<Line>, message: Told) -> bool {
    if matches!(message, Told::Progress { .. }) {
        let _missed = lines.try_send(Line::Told(message));
        return true;
    }
    lines.send(Line::Told(message)).await.is_ok()
}

async fn send(write: &mut (impl AsyncWriteExt + Unpin), line: &Line) -> std::io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("no daemon listens on {0}")]
    NoDaemon(PathBuf),
    #[error("you may not use the control socket {0}: run this as root or as the daemon's user")]
    Forbidden(PathBuf),
    #[error("the daemon closed the connection before it replied: {0}")]
    Broken(std::io::Error),
    #[error("the export cannot be written: {0}")]
    Unheard(std::io::Error),
}

pub async fn call<V: Verb>(
    socket: &Path,
    verb: &V,
    hear: &mut (dyn FnMut(Told) -> std::io::Result<()> + Send),
) -> Result<Result<V::Reply, Refusal>, CallError> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => CallError::Forbidden(socket.to_owned()),
        _ => CallError::NoDaemon(socket.to_owned()),
    })?;
    let broken = |error: serde_json::Error| CallError::Broken(error.into());
    let (read, mut write) = stream.into_split();
    let mut text = protocol::request(verb).map_err(broken)?;
    text.push('\n');
    write.write_all(text.as_bytes()).await.map_err(CallError::Broken)?;
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await.map_err(CallError::Broken)? {
        match serde_json::from_str(&line).map_err(broken)? {
            Line::Told(told) => hear(told).map_err(CallError::Unheard)?,
            Line::Reply(reply) => return Ok(Ok(serde_json::from_value(reply).map_err(broken)?)),
            Line::Refused(refusal) => return Ok(Err(refusal)),
        }
    }
    Err(CallError::Broken(std::io::ErrorKind::UnexpectedEof.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_read_holds_up_nothing() {
        // Hardly anything fits into it, and nobody reads.
        let (unread, write) = tokio::io::duplex(16);
        let (tell, told) = mpsc::channel(TOLD_AHEAD);
        let (done, is_done) = tokio::sync::oneshot::channel();
        let work = async move {
            for step in 0..10_000 {
                let _missed = tell.try_send(Told::Progress { done: step, of: 10_000 });
                tokio::task::yield_now().await;
            }
            done.send(()).unwrap();
            Ok(Value::Null)
        };
        let relayed = tokio::spawn(write_out(write, told, work));
        is_done.await.unwrap();
        drop(unread);
        assert!(relayed.await.unwrap().is_err(), "the reply reaches nobody");
    }

    #[tokio::test]
    async fn messages_come_in_order_and_the_reply_last() {
        let (read, write) = tokio::io::duplex(64);
        let (tell, told) = mpsc::channel(TOLD_AHEAD);
        let work = async move {
            for part in ["one", "two", "three"] {
                tell.send(Told::Part(part.to_owned())).await.unwrap();
            }
            Ok(Value::Bool(true))
        };
        let relayed = tokio::spawn(write_out(write, told, work));
        let mut lines = BufReader::new(read).lines();
        let mut seen = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            seen.push(line);
        }
        assert_eq!(seen.len(), 4);
        assert!(
            seen[0].contains("one") && seen[2].contains("three") && seen[3].contains("reply"),
            "{seen:?}"
        );
        relayed.await.unwrap().unwrap();
    }
}
