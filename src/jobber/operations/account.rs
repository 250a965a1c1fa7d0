//! The account itself: its identity, its time zone, and its disconnection.

use super::accepted;
use crate::domain::model::AccountId;
use crate::jobber::operation::{Operation, RawAnswer, encode};
use crate::jobber::query::{EncodedId, Timezone, query};
use crate::jobber::{Answer, ApiError, UserError};

query!(ConnectedAccount, "graphql/account.graphql");
query!(ViewerTimezone, "graphql/timezone.graphql");
query!(Disconnect, "graphql/disconnect.graphql");

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub id: AccountId,
    pub name: String,
}

#[derive(Debug, Clone, Copy)]
pub struct WhoAmI;

impl Operation for WhoAmI {
    type Output = Identity;

    fn kind(&self) -> &'static str {
        "identity"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<ConnectedAccount>(connected_account::Variables)
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Identity>, ApiError> {
        answer.whole::<ConnectedAccount>()?.and_then(|data| match data.account {
            Some(account) => Ok(Identity { id: AccountId::new(account.id.as_str()), name: account.name }),
            None => Err(ApiError::Unexpected { detail: "an access token without an account".to_owned() }),
        })
    }
}

/// Reads the time zone of the user who authorised, as Jobber names it. `None` if Jobber hides users from this
/// app.
#[derive(Debug, Clone, Copy)]
pub struct TimezoneOfViewer;

impl Operation for TimezoneOfViewer {
    type Output = Option<String>;

    fn kind(&self) -> &'static str {
        "timezone"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<ViewerTimezone>(viewer_timezone::Variables)
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<Option<String>>, ApiError> {
        match answer.partial::<ViewerTimezone>() {
            Ok(answer) => answer.and_then(|data| Ok(data.user.and_then(|user| user.timezone))),
            Err(ApiError::Hidden { detail }) => Ok(Answer::without(None, detail)),
            Err(error) => Err(error),
        }
    }
}

/// Disconnects the app from the account. The token is invalid afterwards.
#[derive(Debug, Clone, Copy)]
pub struct DisconnectApp;

impl Operation for DisconnectApp {
    type Output = ();

    fn kind(&self) -> &'static str {
        "disconnect"
    }

    fn request(&self) -> Result<Vec<u8>, ApiError> {
        encode::<Disconnect>(disconnect::Variables)
    }

    fn read(&self, answer: RawAnswer<'_>) -> Result<Answer<()>, ApiError> {
        answer.whole::<Disconnect>()?.and_then(|data| {
            let errors = data.app_disconnect.user_errors.into_iter();
            accepted(errors.map(|error| UserError { message: error.message, path: error.path }))
        })
    }
}
