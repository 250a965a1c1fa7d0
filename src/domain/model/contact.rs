//! Recognises the same person by phone number or e-mail address, however they are written. Pure.
//!
//! Regular customers get a second card, cards are deleted and made again, and a couple may book as two
//! clients. Their phone numbers and addresses stay the same, so cooldowns and suppressions are stored by
//! contact.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{ClientFacts, Subject};
use crate::digest;

/// A number with fewer digits has no area code, or is no phone number: it would make strangers one person.
const FEWEST_DIGITS: usize = 10;

/// An international number, which begins with `+` or `00`, may have fewer.
const FEWEST_INTERNATIONAL: usize = 7;

/// The digest of a phone number, an address or a card id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContactKey(String);

impl ContactKey {
    /// The key of a phone number. `None` if it has too few digits. Ten digits are North American.
    pub fn phone(number: &str) -> Option<Self> {
        let number = number.to_lowercase();
        // "Cell 555-123-4567 ext. 9": ignore the text before the number and the extension after it.
        let number = number.trim_start_matches(|char: char| !char.is_ascii_digit() && char != '+');
        let main = number.split(['x', 'e', '#', ';', ',']).next().unwrap_or_default();
        let digits: String = main.chars().filter(char::is_ascii_digit).collect();
        let is_international = main.starts_with('+') || digits.starts_with("00");
        let digits = digits.strip_prefix("00").unwrap_or(&digits);
        let fewest = if is_international { FEWEST_INTERNATIONAL } else { FEWEST_DIGITS };
        if digits.len() < fewest {
            return None;
        }
        let country = if digits.len() == 10 { "1" } else { "" };
        Some(Self(digest::short(&["phone", &format!("{country}{digits}")])))
    }

    /// The key of an e-mail address. `None` if the text is not one.
    pub fn email(address: &str) -> Option<Self> {
        let address = address.trim().to_lowercase();
        let (name, host) = address.split_once('@')?;
        (!name.is_empty() && !host.is_empty()).then(|| Self(digest::short(&["email", &address])))
    }

    /// A key as it was stored.
    pub fn stored(digest: &str) -> Self {
        Self(digest.to_owned())
    }

    /// The key of one card in Jobber.
    pub fn card(id: &str) -> Self {
        Self(digest::short(&["client", id]))
    }

    /// The key of whatever identifies a person: an address, a number, or a card's id as Jobber's API gives
    /// it. `None` if the text is none of these.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.contains('@') {
            return Self::email(text);
        }
        if text.starts_with(|char: char| char.is_ascii_digit() || "+(".contains(char)) {
            return Self::phone(text);
        }
        let decoded = STANDARD.decode(text).ok()?;
        decoded.starts_with(b"gid://Jobber/Client/").then(|| Self::card(text))
    }

    /// The digest.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Subject {
    /// The stored contacts of the decision's customer.
    pub fn contacts(&self) -> Vec<ContactKey> {
        let phone = self.phone.as_deref().and_then(ContactKey::phone);
        let email = self.email.as_deref().and_then(ContactKey::email);
        phone.into_iter().chain(email).collect()
    }
}

/// All contacts of a customer.
pub fn contacts_of(client: &ClientFacts) -> Vec<ContactKey> {
    // Also as it was typed: people were suppressed, imported and asked by that form.
    let numbers = client.phones.iter().flat_map(|phone| std::iter::once(&phone.number).chain(&phone.typed));
    let phones = numbers.filter_map(|number| ContactKey::phone(number));
    let emails = client.emails.iter().filter_map(|email| ContactKey::email(&email.address));
    let mut keys: Vec<_> = phones.chain(emails).collect();
    keys.sort();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        let key = ContactKey::phone("+15551234567").unwrap();
        for same in [
            "5551234567",
            "(555) 123-4567",
            "1-555-123-4567",
            "0015551234567",
            "555.123.4567 x12",
            "555 123 4567 ext. 9",
            "Cell 555-123-4567",
        ] {
            assert_eq!(ContactKey::phone(same).as_ref(), Some(&key), "{same}");
        }
        for other in ["5551234568", "+445551234567", "15551234567890"] {
            assert_ne!(ContactKey::phone(other).as_ref(), Some(&key), "{other}");
        }
        assert!(ContactKey::phone("+4712345678").is_some() && ContactKey::phone("004712345").is_some());
        // Without its area code it can be anybody's.
        for none in ["", "911", "n/a", "x123456", "123-4567", "555 1234"] {
            assert_eq!(ContactKey::phone(none), None, "{none}");
        }
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        assert_eq!(ContactKey::email(" John@Example.com "), ContactKey::email("john@example.com"));
        assert_ne!(ContactKey::email("jon@example.com"), ContactKey::email("john@example.com"));
        for none in ["", "john", "@example.com", "john@"] {
            assert_eq!(ContactKey::email(none), None, "{none}");
        }
    }

    #[test]
    fn whoever_is_named_can_be_meant() {
        assert_eq!(ContactKey::of(" JOHN@example.com"), ContactKey::email("john@example.com"));
        assert_eq!(ContactKey::of("555 123 4567 ext. 9"), ContactKey::phone("5551234567"));
        let card = "Z2lkOi8vSm9iYmVyL0NsaWVudC8xMDA1";
        assert_eq!(ContactKey::of(card), Some(ContactKey::card(card)));
        for nobody in ["", "911", "John Smith", "Z2lkOi8vSm9iYmVyL0pvYi8x", "john@"] {
            assert_eq!(ContactKey::of(nobody), None, "{nobody}");
        }
    }
}
