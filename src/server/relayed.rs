//! Answers what daemons that stand by pass on (`server/relay.rs`).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::control;
use super::relay::{Answered, Door, Passed, request};
use crate::context::Context;
use crate::store::{Answerer, Call};

/// Requests that are answered at the same time.
const AT_ONCE: usize = 256;

/// When an answer is late, counted from the question: whoever stands by gives its caller up after a minute.
const ANSWERED_WITHIN: Duration = Duration::from_secs(55);

/// The largest answer: a page of the console with all its rows has less.
const LARGEST: usize = 16 * 1024 * 1024;

/// How much of a verb's answer is read ahead.
const LINES_AHEAD: usize = 64 * 1024;

/// What answers at the doors of the daemon that works. A door that its settings leave out answers nothing.
#[derive(Debug, Clone)]
pub struct Doors {
    pub public: Router,
    pub api: Option<Router>,
    pub console: Option<Router>,
}

impl Doors {
    fn of(&self, door: Door) -> Option<Router> {
        match door {
            Door::Public => Some(self.public.clone()),
            Door::Api => self.api.clone(),
            Door::Console => self.console.clone(),
        }
    }
}

/// Answers what others pass on, until `stop`.
pub async fn answer(
    mut answerer: Answerer,
    doors: Doors,
    context: Arc<Context>,
    stop: CancellationToken,
    tasks: &TaskTracker,
) {
    let places = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    loop {
        let place = stop.run_until_cancelled(Arc::clone(&places).acquire_owned()).await;
        // After the stop it gives back what was not begun.
        let Some(call) = answerer.next(&stop).await else { break };
        let (doors, context) = (doors.clone(), Arc::clone(&context));
        tasks.spawn(async move {
            if let Err(error) = Box::pin(answer_one(call, &doors, &context)).await {
                tracing::debug!(%error, "the answer to a relayed request reached nobody");
            }
            drop(place);
        });
    }
}

async fn answer_one(
    mut call: Call,
    doors: &Doors,
    context: &Context,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    match serde_json::from_slice(&call.request) {
        Ok(Passed::Verb(line)) => {
            let (write, read) = tokio::io::duplex(LINES_AHEAD);
            let (carried_out, told) =
                tokio::join!(control::carry_out(&line, context, write), tell_lines(&mut call, read));
            told?;
            carried_out?;
        }
        Ok(Passed::Http { door, caller, method, uri, message }) => {
            let request = request(&method, &uri, &message, caller);
            let response = match (doors.of(door), request) {
                (Some(router), Some(request)) => {
                    let answer = tokio::time::timeout(
                        ANSWERED_WITHIN.saturating_sub(call.asked.elapsed()),
                        router.oneshot(request),
                    );
                    answer
                        .await
                        .map_or_else(|_| StatusCode::GATEWAY_TIMEOUT.into_response(), |Ok(response)| response)
                }
                (None, _) => StatusCode::NOT_FOUND.into_response(),
                (_, None) => StatusCode::BAD_REQUEST.into_response(),
            };
            let (head, body) = response.into_parts();
            let answered = match to_bytes(body, LARGEST).await {
                Ok(body) => Answered::of(head.status, &head.headers, &body),
                Err(_) => {
                    Answered::of(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"the answer is too large\n")
                }
            };
            call.tell(&serde_json::to_vec(&answered)?, true).await?;
        }
        Err(_) => call.tell(b"", true).await?,
    }
    Ok(())
}

/// Tells each line; the last one is the reply.
async fn tell_lines(
    call: &mut Call,
    read: impl tokio::io::AsyncRead + Unpin,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut lines = BufReader::new(read).lines();
    let mut held = lines.next_line().await?;
    while let Some(line) = held {
        held = lines.next_line().await?;
        call.tell(line.as_bytes(), held.is_none()).await?;
    }
    Ok(())
}
