//! Ids as short as they can be written: a store has some ten of them for each decision.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::model::{EncodedId, WorkKind, WorkRef};

/// Types in the ids of Jobber (`api-behaviour.md` §1): the base64 of `gid://Jobber/TYPE/NUMBER`. Never change a tag.
const TYPES: [(u8, &str); 5] = [(1, "Account"), (2, "Job"), (3, "Visit"), (4, "Invoice"), (5, "Client")];

/// Begins an id that is written as it is.
const AS_IT_IS: u8 = 0;

/// Never change a letter.
const KINDS: [(WorkKind, u8); 5] = [
    (WorkKind::Job, b'j'),
    (WorkKind::Visit, b'v'),
    (WorkKind::Invoice, b'i'),
    (WorkKind::Client, b'c'),
    (WorkKind::Record, b'r'),
];

/// Tag and number of an id, if the id can be written again from them.
fn parts(id: &str) -> Option<(u8, u64)> {
    let text = String::from_utf8(STANDARD.decode(id).ok()?).ok()?;
    let (name, number) = text.strip_prefix("gid://Jobber/")?.split_once('/')?;
    let (tag, _) = TYPES.into_iter().find(|(_, known)| *known == name)?;
    let number = number.parse().ok()?;
    (long(tag, number)? == id).then_some((tag, number))
}

fn long(tag: u8, number: u64) -> Option<String> {
    let (_, name) = TYPES.into_iter().find(|(known, _)| *known == tag)?;
    Some(STANDARD.encode(format!("gid://Jobber/{name}/{number}")))
}

/// Nothing written so begins anything else written so. `id` has no zero bytes.
pub(super) fn put_id(to: &mut Vec<u8>, id: &str) {
    if let Some((tag, number)) = parts(id) {
        let bytes = number.to_be_bytes();
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        // At most eight of them.
        to.extend([tag, bytes.len().to_le_bytes()[0]]);
        to.extend(bytes);
    } else {
        to.push(AS_IT_IS);
        to.extend(id.bytes().chain([0]));
    }
}

pub(super) fn take_id(rest: &mut &[u8]) -> Option<String> {
    let (tag, after) = rest.split_first()?;
    if *tag == AS_IT_IS {
        let end = after.iter().position(|byte| *byte == 0)?;
        *rest = &after[end + 1..];
        return String::from_utf8(after[..end].to_vec()).ok();
    }
    let (length, after) = after.split_first()?;
    let bytes;
    (bytes, *rest) = after.split_at_checked(usize::from(*length))?;
    let number = bytes.iter().try_fold(0_u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte)))?;
    long(*tag, number)
}

/// Nothing written so begins anything else written so.
pub(super) fn put_work(to: &mut Vec<u8>, work: &WorkRef) {
    let kind = KINDS.iter().find(|(kind, _)| *kind == work.kind);
    to.extend(kind.map(|(_, letter)| *letter));
    put_id(to, work.id.as_str());
}

pub(super) fn take_work(rest: &mut &[u8]) -> Option<WorkRef> {
    let (kind, _) = KINDS.into_iter().find(|(_, known)| rest.first() == Some(known))?;
    *rest = &rest[1..];
    Some(WorkRef { kind, id: EncodedId::new(take_id(rest)?) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_of_jobber_are_short_and_others_are_kept_as_they_are() {
        let job = STANDARD.encode("gid://Jobber/Job/123456");
        let mut key = Vec::new();
        put_id(&mut key, &job);
        assert_eq!(key, [2, 3, 1, 226, 64]);
        for id in [
            job,
            STANDARD.encode("gid://Jobber/Job/0"),
            STANDARD.encode("gid://Jobber/Job/007"),
            STANDARD.encode(format!("gid://Jobber/Visit/{}", u64::MAX)),
            STANDARD.encode("gid://Jobber/Visit/99999999999999999999"),
            STANDARD.encode("gid://Jobber/Quote/7"),
            "Z2lk".to_owned(),
            "acc".to_owned(),
            String::new(),
        ] {
            let mut key = Vec::new();
            put_id(&mut key, &id);
            put_id(&mut key, "next");
            let mut rest = key.as_slice();
            assert_eq!(take_id(&mut rest).as_deref(), Some(id.as_str()));
            assert_eq!(take_id(&mut rest).as_deref(), Some("next"));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn works_are_frozen() {
        let mut bytes = Vec::new();
        put_work(&mut bytes, &WorkRef::job(EncodedId::new("j1")));
        put_work(&mut bytes, &WorkRef::visit(EncodedId::new(STANDARD.encode("gid://Jobber/Visit/513"))));
        assert_eq!(bytes, b"j\0j1\0v\x03\x02\x02\x01");
    }

    proptest! {
        #[test]
        fn works_read_back(id in "[^\0]{0,20}", cut in 0_usize..20) {
            let work = WorkRef::visit(EncodedId::new(id));
            let mut bytes = Vec::new();
            put_work(&mut bytes, &work);
            prop_assert_eq!(take_work(&mut bytes.as_slice()), Some(work));
            let cut = &bytes[..bytes.len() - 1 - cut.min(bytes.len() - 1)];
            prop_assert_eq!(take_work(&mut &*cut), None);
        }
    }
}
