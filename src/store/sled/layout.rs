//! How entries lie in the database: families that grow with history have short keys and packed values. The rest of the
//! store, and every export, sees keys and values as `key.rs` and `codec.rs` make them.
//!
//! A short key keeps what a prefix is for: a family, or an account of a family, is still the beginning of all its keys.

use std::sync::{LazyLock, Mutex, PoisonError};

use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

use crate::store::entry::{Bytes, Entry};
use crate::store::short::{put_id, put_work, take_id, take_work};
use crate::store::{StoreError, key};

/// What follows the family in a key.
#[derive(Clone, Copy)]
enum Shape {
    Account,
    AccountAndWork,
    AccountAndId,
    Any,
}

/// Names of families begin with a letter. Never change a number.
const FAMILIES: [(u8, &[u8], Shape); 9] = [
    (1, key::DECISION, Shape::AccountAndWork),
    (2, key::MARKER, Shape::AccountAndWork),
    (3, key::CONTACT, Shape::Account),
    (4, key::ASK, Shape::Any),
    (5, key::CARD, Shape::AccountAndId),
    (6, key::SEEN, Shape::AccountAndWork),
    (7, key::FIND, Shape::Any),
    (8, key::OUTBOX, Shape::Any),
    (9, key::ACTION, Shape::Any),
];

/// Begins the part of a key that does not have the shape of its family. No id and no kind of work begins so.
const ODD: u8 = 0xff;

/// Begins a packed value. The versions of `codec.rs` are smaller.
const PACKED: u8 = 0xd1;

/// A shorter value does not become shorter.
const WORTH_IT: usize = 48;

/// A longer value is none of ours.
const LONGEST: u32 = 64 * 1024 * 1024;

/// What values look like. Never change it: values that were packed with it are unpacked with it.
const DICTIONARY: &[u8] = include_bytes!("dictionary.txt");

static PACK: LazyLock<EncoderDictionary<'static>> = LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, 3));
static UNPACK: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

/// What packs or unpacks, made as needed and kept for the next one. A pair for each of the many threads that read would take
/// more memory than the store.
struct Pool<T>(Mutex<Vec<T>>);

/// More at once than this are made anew.
const KEPT: usize = 4;

impl<T> Pool<T> {
    fn with<R>(&self, make: impl FnOnce() -> Option<T>, run: impl FnOnce(&mut T) -> Option<R>) -> Option<R> {
        let pool = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = pool().pop();
        let mut one = kept.or_else(make)?;
        let result = run(&mut one);
        let mut pool = pool();
        if pool.len() < KEPT {
            pool.push(one);
        }
        result
    }
}

static PACKERS: Pool<Compressor<'static>> = Pool(Mutex::new(Vec::new()));
static UNPACKERS: Pool<Decompressor<'static>> = Pool(Mutex::new(Vec::new()));

fn packer() -> Option<Compressor<'static>> {
    let mut packer = Compressor::with_prepared_dictionary(&PACK).ok()?;
    packer.include_checksum(false).ok()?;
    packer.include_dictid(false).ok()?;
    packer.include_contentsize(false).ok()?;
    Some(packer)
}

fn family_of(long: &[u8]) -> Option<(u8, Shape, &[u8])> {
    FAMILIES.iter().find_map(|(number, name, shape)| Some((*number, *shape, long.strip_prefix(*name)?)))
}

/// The key in the database, or what begins the keys that begin with `long`.
pub(super) fn short_key(long: &[u8]) -> Vec<u8> {
    let Some((number, shape, rest)) = family_of(long) else { return long.to_vec() };
    let mut short = vec![number];
    if matches!(shape, Shape::Any) {
        short.extend(rest);
    } else if !rest.is_empty() {
        put_rest(&mut short, shape, rest);
    }
    short
}

fn put_rest(short: &mut Vec<u8>, shape: Shape, rest: &[u8]) {
    let account = rest.iter().position(|byte| *byte == 0).and_then(|end| {
        let account = std::str::from_utf8(&rest[..end]).ok()?;
        Some((account, &rest[end + 1..]))
    });
    let Some((account, rest)) = account else {
        short.push(ODD);
        return short.extend(rest);
    };
    put_id(short, account);
    if rest.is_empty() {
        return;
    }
    match (shape, std::str::from_utf8(rest)) {
        (Shape::Account | Shape::Any, _) => short.extend(rest),
        (Shape::AccountAndId, Ok(id)) if !id.contains('\0') => put_id(short, id),
        (Shape::AccountAndWork, Ok(text)) if let Some(work) = key::parse_kind_and_id(text) => {
            put_work(short, &work);
        }
        _ => {
            short.push(ODD);
            short.extend(rest);
        }
    }
}

fn long_key(short: &[u8]) -> Option<Vec<u8>> {
    let (number, mut rest) = short.split_first()?;
    let Some((_, name, shape)) = FAMILIES.iter().find(|(known, ..)| known == number) else {
        return Some(short.to_vec());
    };
    let mut long = name.to_vec();
    if matches!(shape, Shape::Any) || rest.is_empty() {
        long.extend(rest);
        return Some(long);
    }
    if let Some(odd) = rest.strip_prefix(&[ODD]) {
        long.extend(odd);
        return Some(long);
    }
    long.extend(take_id(&mut rest)?.into_bytes());
    long.push(0);
    match (shape, rest) {
        (_, []) => {}
        (Shape::Account | Shape::Any, rest) => long.extend(rest),
        (_, [ODD, odd @ ..]) => long.extend(odd),
        (Shape::AccountAndId, mut rest) => {
            long.extend(take_id(&mut rest)?.into_bytes());
            return rest.is_empty().then_some(long);
        }
        (Shape::AccountAndWork, mut rest) => {
            let work = take_work(&mut rest)?;
            long.extend([work.kind.as_str(), work.id.as_str()].join("\0").into_bytes());
            return rest.is_empty().then_some(long);
        }
    }
    Some(long)
}

/// The value in the database. `short` is its key there.
pub(super) fn packed(short: &[u8], value: Vec<u8>) -> Vec<u8> {
    let is_ours = is_packed_family(short);
    // What is not JSON does not become shorter.
    let is_worth_it = value.len() >= WORTH_IT && value.get(1) == Some(&b'{');
    if !is_ours || !(is_worth_it || value.first() == Some(&PACKED)) {
        return value;
    }
    let (Ok(length), Some(packed)) = (u32::try_from(value.len()), pack(&value)) else { return value };
    [&[PACKED], &length.to_le_bytes()[..], &packed].concat()
}

fn pack(value: &[u8]) -> Option<Vec<u8>> {
    PACKERS.with(packer, |packer| packer.compress(value).ok())
}

fn is_packed_family(short: &[u8]) -> bool {
    FAMILIES.iter().any(|(number, ..)| short.first() == Some(number))
}

pub(super) fn unpacked(short: &[u8], value: ::sled::IVec) -> Result<Bytes, StoreError> {
    if value.first() != Some(&PACKED) || !is_packed_family(short) {
        return Ok(value.to_vec());
    }
    let broken = |detail: &str| StoreError::Corrupt { family: "packed value", detail: detail.to_owned() };
    let (length, packed) = value[1..].split_first_chunk::<4>().ok_or_else(|| broken("it is cut off"))?;
    let length = u32::from_le_bytes(*length);
    if length > LONGEST {
        return Err(broken("it says that it is longer than anything is"));
    }
    let unpacker = || Decompressor::with_prepared_dictionary(&UNPACK).ok();
    let unpacked = UNPACKERS.with(unpacker, |unpacker| {
        let length = usize::try_from(length).ok()?;
        unpacker.decompress(packed, length).ok().filter(|value| value.len() == length)
    });
    unpacked.ok_or_else(|| broken("it does not unpack"))
}

/// What an entry of the database is to the rest of the store.
pub(super) fn entry(entry: ::sled::Result<(::sled::IVec, ::sled::IVec)>) -> Result<Entry, StoreError> {
    let (short, value) = entry?;
    let value = unpacked(&short, value)?;
    if !is_packed_family(&short) {
        return Ok((short.to_vec(), value));
    }
    let broken = || StoreError::Corrupt { family: "key", detail: "it does not parse".to_owned() };
    Ok((long_key(&short).ok_or_else(broken)?, value))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::model::{AccountId, EncodedId, WorkRef};

    fn gid(kind: &str, number: u32) -> String {
        STANDARD.encode(format!("gid://Jobber/{kind}/{number}"))
    }

    /// Never change a line: this is what stores have.
    #[test]
    fn keys_are_frozen() {
        let account = AccountId::new(gid("Account", 256));
        let work = WorkRef::job(EncodedId::new(gid("Job", 7)));
        assert_eq!(short_key(&key::decision(&account, &work)), b"\x01\x01\x02\x01\0j\x02\x01\x07");
        assert_eq!(short_key(&key::marker(&account, &work)), b"\x02\x01\x02\x01\0j\x02\x01\x07");
        assert_eq!(short_key(b"contact\0*\0abc"), b"\x03\0*\0abc");
        assert_eq!(short_key(b"ask\0ask_1"), b"\x04ask_1");
        assert_eq!(short_key(&key::card(&account, &work.id)), b"\x05\x01\x02\x01\0\x02\x01\x07");
        assert_eq!(short_key(&key::seen(&account, &work)), b"\x06\x01\x02\x01\0j\x02\x01\x07");
        assert_eq!(short_key(b"outbox\0ask_1"), b"\x08ask_1");
        assert_eq!(short_key(b"outdue\0x"), b"outdue\0x");
    }

    /// Never change a line: this is what stores have.
    #[test]
    fn values_are_frozen() {
        let packed = STANDARD.decode(FROZEN).unwrap();
        let value = unpacked(&[1], packed.into()).unwrap();
        assert_eq!(String::from_utf8_lossy(&value), format!("\u{1}{VALUE}"));
    }

    const VALUE: &str = r#"{"work":{"kind":"job","id":"ajE="},"trigger":"job_completed","finished_at":"2026-03-10T09:00:00Z","at":"2026-03-10T09:05:00Z","outcome":"skipped","reason":"no_contact","subject":{"client_name":"John Smith","job_number":112}}"#;
    const FROZEN: &str = "0eEAAAAotS/9AAAdAQAgYWp9fQkATqWDukVDifkDF50NuMgJwAbHgRwQDmJCHrcIAg==";

    #[test]
    fn a_value_that_does_not_unpack_is_an_error() {
        let value = [b"\x01", VALUE.as_bytes()].concat();
        let packed = packed(&[1], value.clone());
        assert!(packed.len() < 110, "{} bytes", packed.len());
        assert_eq!(&*unpacked(&[1], packed.clone().into()).unwrap(), value);
        for broken in
            [&packed[..3], &packed[..5], &packed[..packed.len() - 1], &[PACKED, 255, 255, 255, 255, 1]]
        {
            assert!(matches!(unpacked(&[1], broken.into()), Err(StoreError::Corrupt { .. })), "{broken:?}");
        }
    }

    fn part() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(b"job".to_vec()),
            Just(b"visit".to_vec()),
            Just(b"*".to_vec()),
            Just(Vec::new()),
            (any::<u32>(), 0..3_usize)
                .prop_map(|(number, kind)| { gid(["Account", "Job", "Client"][kind], number).into_bytes() }),
            "[a-zA-Z0-9=_]{1,8}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..8),
        ]
    }

    proptest! {
        #[test]
        fn keys_read_back_and_begin_with_their_account(
            family in prop::sample::select(FAMILIES.map(|(_, name, _)| name).to_vec()),
            parts in prop::collection::vec(part(), 0..4),
        ) {
            let long = [family, &parts.join(&0)].concat();
            let short = short_key(&long);
            prop_assert_eq!(long_key(&short), Some(long));
            prop_assert!(short.starts_with(&short_key(family)));
            if let [account, _, ..] = parts.as_slice() && std::str::from_utf8(account).is_ok() && !account.contains(&0) {
                prop_assert!(short.starts_with(&short_key(&[family, account, b"\0"].concat())));
            }
        }

        #[test]
        fn values_read_back(number in 0_u8..12, value in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..100),
            "\\PC{0,200}".prop_map(|text| format!("\u{1}{{\"text\":{text:?}}}").into_bytes()),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(|rest| [&[PACKED], &rest[..]].concat()),
        ]) {
            let packed = packed(&[number], value.clone());
            prop_assert_eq!(&*unpacked(&[number], packed.into()).unwrap(), value);
        }
    }
}
