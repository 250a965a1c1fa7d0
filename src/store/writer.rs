//! The one thread that writes: drain, apply, flush, sync, answer. Why is told in the module above.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use super::codec::{self, Stored};
use super::{StoreError, key};
use crate::crash_point::CrashPoint;

/// Operations that share one flush, at most.
const GROUP: usize = 512;

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Takes the tree, or why there is none to write to any more.
type Operation = Box<dyn FnOnce(Result<&sled::Tree, StoreError>) -> (Option<sled::Batch>, Answer) + Send>;

enum Message {
    Run(Operation),
    /// Answered with the commits that are durable.
    Stop(oneshot::Sender<Option<u64>>),
}

/// What one operation reads and writes: its own writes over the tree.
pub(super) struct Txn<'t> {
    tree: &'t sled::Tree,
    writes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl<'t> Txn<'t> {
    pub(super) fn new(tree: &'t sled::Tree) -> Self {
        Self { tree, writes: BTreeMap::new() }
    }

    pub(super) fn get<V: Stored>(&self, key: &[u8]) -> Result<Option<V>, StoreError> {
        self.get_raw(key)?.map(|bytes| codec::decode(&bytes)).transpose()
    }

    pub(super) fn get_raw(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.writes.get(key) {
            Some(written) => Ok(written.clone()),
            None => Ok(self.tree.get(key)?.map(|bytes| bytes.to_vec())),
        }
    }

    /// The keys under `prefix` as they were before this operation.
    pub(super) fn committed_keys(
        &self,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<sled::IVec, StoreError>> {
        self.tree.scan_prefix(prefix).keys().map(|key| key.map_err(StoreError::from))
    }

    /// Everything as it was before this operation.
    pub(super) fn committed_entries(
        &self,
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), StoreError>> {
        self.tree.iter().map(|entry| entry.map_err(StoreError::from))
    }

    pub(super) fn put<V: Stored>(&mut self, key: &[u8], value: &V) {
        self.put_raw(key.to_vec(), codec::encode(value));
    }

    pub(super) fn put_raw(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.writes.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.writes.insert(key.to_vec(), None);
    }

    pub(super) fn into_batch(self) -> sled::Batch {
        let mut batch = sled::Batch::default();
        for (key, value) in self.writes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        batch
    }
}

pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    failure: watch::Receiver<Option<String>>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(db: sled::Db, tree: sled::Tree, file: File, commits: u64) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::channel();
        let (failed, failure) = watch::channel(None);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || Loop { db, tree, file, commits, failed }.run(&messages))?;
        Ok(Self { queue, failure, thread: std::sync::Mutex::new(Some(thread)) })
    }

    /// Runs `operation` on the writer's thread. When this returns `Ok`, what it wrote is durable; when it
    /// returns an error of the operation's own, it wrote nothing.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&mut Txn<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let run: Operation = Box::new(move |tree| {
            let ran = tree.and_then(|tree| {
                let mut txn = Txn::new(tree);
                let value = operation(&mut txn)?;
                Ok((value, (!txn.writes.is_empty()).then(|| txn.into_batch())))
            });
            let (result, batch) = match ran {
                Ok((value, batch)) => (Ok(value), batch),
                Err(error) => (Err(error), None),
            };
            let answer: Answer = Box::new(move |flushed| {
                // The caller may be gone; the write is done all the same.
                let _gone = answer.send(flushed.and(result));
            });
            (batch, answer)
        });
        let gone = || StoreError::Failed("it was closed".to_owned());
        self.queue.send(Message::Run(run)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Waits until a write has failed: from then on all do.
    pub(super) async fn failed(&self) -> StoreError {
        let mut failure = self.failure.clone();
        let why = failure.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => StoreError::Failed(why),
            // It was closed, and cannot fail any more.
            None => std::future::pending().await,
        }
    }

    /// Ends the thread after everything queued so far. The number of durable commits, unless a write had failed or
    /// it was ended before.
    pub(super) async fn stop(&self) -> Option<u64> {
        let (done, is_done) = oneshot::channel();
        let commits = match self.queue.send(Message::Stop(done)) {
            Ok(()) => is_done.await.ok().flatten(),
            Err(_) => None,
        };
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has said goodbye: there is nothing left to wait for but its return.
            let _panicked = thread.join();
        }
        commits
    }
}

struct Loop {
    db: sled::Db,
    tree: sled::Tree,
    file: File,
    commits: u64,
    failed: watch::Sender<Option<String>>,
}

impl Loop {
    fn run(mut self, messages: &mpsc::Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            let mut stop = None;
            let mut answers = Vec::new();
            let mut dirty = false;
            let group =
                std::iter::once(first).chain(std::iter::from_fn(|| messages.try_recv().ok()).take(GROUP - 1));
            for message in group {
                match message {
                    Message::Run(operation) => self.apply(operation, &mut answers, &mut dirty),
                    Message::Stop(done) => {
                        stop = Some(done);
                        break;
                    }
                }
            }
            if dirty && let Err(error) = self.flush() {
                self.fail(error);
            }
            if dirty {
                CrashPoint::StoreFlushed.pass();
            }
            for answer in answers {
                answer(match self.failed.borrow().as_ref() {
                    Some(error) => Err(StoreError::Failed(error.clone())),
                    None => Ok(()),
                });
            }
            if let Some(done) = stop {
                let commits = self.failed.borrow().is_none().then_some(self.commits);
                let _gone = done.send(commits);
                return;
            }
        }
    }

    fn apply(&mut self, operation: Operation, answers: &mut Vec<Answer>, dirty: &mut bool) {
        let tree = match self.failed.borrow().clone() {
            Some(error) => Err(StoreError::Failed(error)),
            None => Ok(&self.tree),
        };
        match catch_unwind(AssertUnwindSafe(|| operation(tree))) {
            Ok((batch, answer)) => {
                if let Some(batch) = batch {
                    CrashPoint::StoreDecided.pass();
                    match self.tree.apply_batch(batch) {
                        Ok(()) => {
                            CrashPoint::StoreApplied.pass();
                            *dirty = true;
                        }
                        Err(error) => self.fail(error.to_string()),
                    }
                }
                answers.push(answer);
            }
            // The operation wrote nothing and its answer is dropped: the caller sees an error.
            Err(panic) => tracing::error!(panic = describe(panic.as_ref()), "a store operation panicked"),
        }
    }

    fn fail(&self, error: String) {
        // Whether anybody waits for it or not.
        self.failed.send_replace(Some(error));
    }

    /// Counts the commit and makes it durable.
    fn flush(&mut self) -> Result<(), String> {
        self.commits += 1;
        let count = codec::encode(&self.commits);
        self.tree.insert(key::commits(), count).map_err(|error| error.to_string())?;
        self.db.flush().map_err(|error| error.to_string())?;
        self.file.sync_data().map_err(|error| error.to_string())
    }
}

fn describe(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of unknown cause")
}
