//! Who is the same person: a telephone number or an e-mail address, however it is written. Pure.
//!
//! Regulars get a second card, a card is deleted and made again, a husband books one job and his wife the next. What
//! they have in common is how they are reached, so that is what a cooldown and a suppression hold on to.

use serde::{Deserialize, Serialize};

use super::ClientFacts;
use crate::digest;

/// A number with fewer digits is none: it would make strangers one person.
const FEWEST_DIGITS: usize = 7;

/// Stands for a number or an address without telling it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContactKey(String);

impl ContactKey {
    /// The key of a telephone number; `None` if it has too few digits to be one. Ten digits are North American.
    pub fn phone(number: &str) -> Option<Self> {
        let number = number.to_lowercase();
        let main = number.split(['x', 'e', '#', ';', ',']).next().unwrap_or_default();
        let digits: String = main.chars().filter(char::is_ascii_digit).collect();
        let digits = digits.strip_prefix("00").unwrap_or(&digits);
        if digits.len() < FEWEST_DIGITS {
            return None;
        }
        let country = if digits.len() == 10 { "1" } else { "" };
        Some(Self(digest::short(&["phone", &format!("{country}{digits}")])))
    }

    /// The key of an e-mail address; `None` if it is none.
    pub fn email(address: &str) -> Option<Self> {
        let address = address.trim().to_lowercase();
        let (name, host) = address.split_once('@')?;
        (!name.is_empty() && !host.is_empty()).then(|| Self(digest::short(&["email", &address])))
    }

    /// The key of one card in Jobber.
    pub fn card(id: &str) -> Self {
        Self(digest::short(&["client", id]))
    }

    /// What somebody wrote to name a person: an address, a number, or the id of a card.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        let is_number = text.chars().all(|char| char.is_ascii_digit() || "+()-. x#".contains(char));
        let number = if is_number { Self::phone(text) } else { None };
        Self::email(text).or(number).unwrap_or_else(|| Self::card(text))
    }

    /// The digest.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Every way in which a customer is reached.
pub fn contacts_of(client: &ClientFacts) -> Vec<ContactKey> {
    let phones = client.phones.iter().filter_map(|phone| ContactKey::phone(&phone.number));
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
        ] {
            assert_eq!(ContactKey::phone(same).as_ref(), Some(&key), "{same}");
            assert_eq!(ContactKey::of(same.split(" e").next().unwrap()), key, "{same}");
        }
        for other in ["5551234568", "+445551234567", "15551234567890"] {
            assert_ne!(ContactKey::phone(other).as_ref(), Some(&key), "{other}");
        }
        for none in ["", "911", "n/a", "x1234567"] {
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
        assert_eq!(ContactKey::of("JOHN@example.com"), ContactKey::email("john@example.com").unwrap());
        assert_eq!(ContactKey::of("Z2lkOi8v"), ContactKey::card("Z2lkOi8v"));
    }
}
