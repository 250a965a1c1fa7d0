//! The only thread that writes: drain, apply, flush, sync, answer. `src/store.rs` explains why.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use super::engine::{Database, Table};
use super::entry::Writes;
use super::{StoreError, codec, key};
use crate::crash_point::CrashPoint;

const GROUP: usize = 512;

type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// Gets the table, or the error that ended all writes.
type Operation = Box<dyn FnOnce(Result<&Table, StoreError>) -> (Option<Writes>, Answer) + Send>;

enum Message {
    Run(Operation),
    /// Answered with the number of durable commits.
    Stop(oneshot::Sender<Option<u64>>),
}

pub(super) struct Writer {
    queue: mpsc::Sender<Message>,
    failure: watch::Receiver<Option<String>>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(database: Database, commits: u64) -> std::io::Result<Self> {
        let (queue, messages) = mpsc::channel();
        let (failed, failure) = watch::channel(None);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || Loop { database, commits, failed }.run(&messages))?;
        Ok(Self { queue, failure, thread: std::sync::Mutex::new(Some(thread)) })
    }

    /// Runs `operation` on the writer's thread. `Ok` means that its writes are durable. If the operation
    /// itself returns an error, it wrote nothing.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        operation: impl Fn(&Table) -> Result<(T, Writes), StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let run: Operation = Box::new(move |table| {
            let (result, writes) = match table.and_then(&operation) {
                Ok((value, writes)) => (Ok(value), Some(writes).filter(|writes| !writes.is_empty())),
                Err(error) => (Err(error), None),
            };
            let answer: Answer = Box::new(move |flushed| {
                // The caller may be gone. The write is done anyway.
                let _gone = answer.send(flushed.and(result));
            });
            (writes, answer)
        });
        let gone = || StoreError::Failed("it was closed".to_owned());
        self.queue.send(Message::Run(run)).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }

    /// Waits until a write has failed. After that all writes fail.
    pub(super) async fn failed(&self) -> StoreError {
        let mut failure = self.failure.clone();
        let why = failure.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        match why {
            Some(why) => StoreError::Failed(why),
            // A closed writer cannot fail any more.
            None => std::future::pending().await,
        }
    }

    /// Ends the thread after everything queued so far. Returns the number of durable commits, or `None` if a
    /// write had failed or the thread had already ended.
    pub(super) async fn stop(&self) -> Option<u64> {
        let (done, is_done) = oneshot::channel();
        let commits = match self.queue.send(Message::Stop(done)) {
            Ok(()) => is_done.await.ok().flatten(),
            Err(_) => None,
        };
        let thread = self.thread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread has answered, so it ends at once.
            let _panicked = thread.join();
        }
        commits
    }
}

struct Loop {
    database: Database,
    commits: u64,
    failed: watch::Sender<Option<String>>,
}

impl Loop {
    fn run(mut self, messages: &mpsc::Receiver<Message>) {
        while let Ok(first) = messages.recv() {
            let mut stop = None;
            let mut answers = Vec::new();
            let mut dirty = false;
            if self.failed.borrow().is_none()
                && let Err(error) = self.database.begin()
            {
                self.fail(error.to_string());
            }
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
            if self.failed.borrow().is_none()
                && let Err(error) = if dirty { self.flush() } else { self.database.end() }
            {
                self.fail(error.to_string());
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
                self.database.release();
                let _gone = done.send(commits);
                return;
            }
        }
    }

    fn apply(&mut self, operation: Operation, answers: &mut Vec<Answer>, dirty: &mut bool) {
        let table = match self.failed.borrow().clone() {
            Some(error) => Err(StoreError::Failed(error)),
            None => Ok(&self.database.table),
        };
        match catch_unwind(AssertUnwindSafe(|| operation(table))) {
            Ok((writes, answer)) => {
                if let Some(writes) = writes {
                    CrashPoint::StoreDecided.pass();
                    match self.database.table.apply(writes) {
                        Ok(()) => {
                            CrashPoint::StoreApplied.pass();
                            *dirty = true;
                        }
                        Err(error) => self.fail(error.to_string()),
                    }
                }
                answers.push(answer);
            }
            // The operation wrote nothing and its answer is dropped: the caller gets an error.
            Err(panic) => tracing::error!(panic = describe(panic.as_ref()), "a store operation panicked"),
        }
    }

    fn fail(&self, error: String) {
        // Works without receivers too.
        self.failed.send_replace(Some(error));
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.commits += 1;
        let count = Writes::from([(key::commits(), Some(codec::encode(&self.commits)))]);
        self.database.table.apply(count)?;
        self.database.flush()
    }
}

fn describe(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of unknown cause")
}
