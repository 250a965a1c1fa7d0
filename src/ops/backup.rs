//! Export of the whole store.

use tokio::sync::mpsc;

use super::{OpError, Told};
use crate::context::Context;
use crate::store::Copied;

pub async fn export(context: &Context, tell: &mpsc::Sender<Told>) -> Result<Copied, OpError> {
    let export = context.store.export(context.clock.now()).await?;
    let copied = export.contents().clone();
    for part in export {
        if tell.send(Told::Part(part)).await.is_err() {
            return Err(OpError::Refused("nobody took the export".to_owned()));
        }
    }
    Ok(copied)
}
