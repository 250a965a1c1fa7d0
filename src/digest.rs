//! SHA-256 as text, in place of a secret or a long key. Pure.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The digest of several parts, in hexadecimal. The boundaries between the parts count.
pub fn of(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        // A String accepts every write.
        let _ok = write!(hex, "{byte:02x}");
        hex
    })
}

/// The digest of bytes, in hexadecimal.
pub fn of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The first half of [`of`]: 128 bits, for names.
pub fn short(parts: &[&str]) -> String {
    let mut hex = of(parts);
    hex.truncate(32);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seams_between_parts_count() {
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
        assert_eq!(short(&["ab"]), of(&["ab"])[..32]);
    }
}
