//! Where messages go.

use reqwest::Url;

use crate::outbound::secret::WebhookSecret;
use crate::store::ReceiverId;

#[derive(Debug, Clone)]
pub struct Receiver {
    pub url: Url,
    pub secret: WebhookSecret,
}

impl Receiver {
    pub fn id(&self) -> ReceiverId {
        ReceiverId::of(self.url.as_str())
    }
}
