//! Export of the whole store.

use tokio::sync::mpsc;

use super::{OpError, Told};
use crate::context::Context;
use crate::store::Copied;

pub async fn export(context: &Context, tell: &mpsc::Sender<Told>) -> Result<Copied, OpError> {
    let mut export = context.store.export(context.clock.now()).await?;
    while let Some(part) = export.next().await? {
        if tell.send(Told::Part(part)).await.is_err() {
            return Err(OpError::Refused("nobody took the export".to_owned()));
        }
    }
    Ok(export.contents().clone())
}
