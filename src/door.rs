//! Who may use the console: keys that work once, and the sessions that they begin. They end with the process.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::plus;
use crate::digest;

/// How long an address works.
const KEY_LIVES: SignedDuration = SignedDuration::from_mins(10);

/// How long a session lives without being used.
const IDLE: SignedDuration = SignedDuration::from_hours(12);

/// More addresses or sessions than anybody needs: the oldest end.
const AT_MOST: usize = 64;

#[derive(Debug)]
struct Session {
    used_at: Timestamp,
    /// What is said on the next page.
    said: Option<String>,
}

/// The keys and sessions of the console. They end with the process.
#[derive(Debug, Default)]
pub struct Door {
    keys: Mutex<HashMap<String, Timestamp>>,
    sessions: Mutex<HashMap<String, Session>>,
}

fn hash(secret: &SecretString) -> String {
    digest::of(&["console", secret.expose_secret()])
}

fn end_oldest<V>(of: &mut HashMap<String, V>, at: impl Fn(&V) -> Timestamp) {
    while of.len() >= AT_MOST {
        let Some(oldest) = of.iter().min_by_key(|(_, value)| at(value)).map(|(key, _)| key.clone()) else {
            return;
        };
        of.remove(&oldest);
    }
}

impl Door {
    fn keys(&self) -> std::sync::MutexGuard<'_, HashMap<String, Timestamp>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets `key` in once, and returns until when. It is a fresh random number.
    pub fn cut(&self, key: &SecretString, now: Timestamp) -> Timestamp {
        let expires_at = plus(now, KEY_LIVES);
        let mut keys = self.keys();
        keys.retain(|_, expires_at| *expires_at > now);
        end_oldest(&mut keys, |expires_at| *expires_at);
        keys.insert(hash(key), expires_at);
        expires_at
    }

    /// Begins `session`, a fresh random number, if `key` is one that was not used.
    pub fn enter(&self, key: &SecretString, session: &SecretString, now: Timestamp) -> bool {
        let is_good = self.keys().remove(&hash(key)).is_some_and(|expires_at| expires_at > now);
        if !is_good {
            return false;
        }
        let mut sessions = self.sessions();
        end_oldest(&mut sessions, |session| session.used_at);
        sessions.insert(hash(session), Session { used_at: now, said: None });
        true
    }

    /// Whether `session` is one that was used a while ago at most.
    pub fn knows(&self, session: &SecretString, now: Timestamp) -> bool {
        let mut sessions = self.sessions();
        sessions.retain(|_, session| plus(session.used_at, IDLE) > now);
        sessions.get_mut(&hash(session)).is_some_and(|session| {
            session.used_at = now;
            true
        })
    }

    pub fn leave(&self, session: &SecretString) {
        self.sessions().remove(&hash(session));
    }

    /// Has something said on the next page of a session.
    pub fn say(&self, session: &SecretString, words: String) {
        if let Some(session) = self.sessions().get_mut(&hash(session)) {
            session.said = Some(words);
        }
    }

    pub fn take_said(&self, session: &SecretString) -> Option<String> {
        self.sessions().get_mut(&hash(session))?.said.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_works_once_and_a_session_until_it_rests() {
        let (door, now) = (Door::default(), Timestamp::UNIX_EPOCH);
        let [key, session, late] = ["key", "session", "late"].map(|name| SecretString::from(name.to_owned()));
        door.cut(&key, now);
        assert!(door.enter(&key, &session, now));
        assert!(!door.enter(&key, &session, now), "it was used");
        assert!(!door.knows(&key, now), "it is no session");
        for (hours, knows) in [(11, true), (22, true), (35, false)] {
            assert_eq!(door.knows(&session, plus(now, SignedDuration::from_hours(hours))), knows, "{hours}");
        }
        let expires_at = door.cut(&late, now);
        assert!(!door.enter(&late, &session, expires_at));
    }

    #[test]
    fn what_is_said_is_said_once_and_the_oldest_session_makes_room() {
        let door = Door::default();
        let enter = |seconds: i64| {
            let now = Timestamp::from_second(seconds).unwrap();
            let (key, session) = (format!("key {seconds}").into(), SecretString::from(format!("{seconds}")));
            door.cut(&key, now);
            assert!(door.enter(&key, &session, now));
            session
        };
        let first = enter(0);
        door.say(&first, "done".to_owned());
        assert_eq!(door.take_said(&first).as_deref(), Some("done"));
        assert_eq!(door.take_said(&first), None);
        let others: Vec<_> = (1..=64).map(enter).collect();
        let now = Timestamp::from_second(65).unwrap();
        assert!(!door.knows(&first, now) && others.iter().all(|session| door.knows(session, now)));
        door.leave(&others[0]);
        assert!(!door.knows(&others[0], now));
    }
}
