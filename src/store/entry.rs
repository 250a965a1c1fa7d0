//! What a database keeps: entries of a key and a value.

use std::collections::BTreeMap;

pub(super) type Bytes = Vec<u8>;

/// Key and value.
pub(super) type Entry = (Bytes, Bytes);

/// The writes of one operation by key. `None` deletes the key.
pub(super) type Writes = BTreeMap<Bytes, Option<Bytes>>;
