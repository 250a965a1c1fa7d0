//! What a database keeps: entries of a key and a value.

use std::collections::BTreeMap;

pub(super) type Bytes = Vec<u8>;

/// Key and value.
pub(super) type Entry = (Bytes, Bytes);

/// What a key has. `None` is nothing.
pub(super) type Value = Option<Bytes>;

/// A place between keys, and the last entry at or before it.
pub(super) type Last = (Bytes, Entry);

/// The writes of one operation by key. `None` deletes the key.
pub(super) type Writes = BTreeMap<Bytes, Value>;
