//! The keys: a family name, then parts separated by a zero byte, which ids never contain. Instants are
//! encoded so that their bytes sort by time.

use jiff::{SignedDuration, Timestamp};

use super::StoreError;
use crate::domain::forward::Pending;
use crate::domain::model::{
    AccountId, ActionRecord, AskId, Cause, ContactKey, EncodedId, MessageId, MessageKind, WorkKind, WorkRef,
};

pub(super) const ACCOUNT: &[u8] = b"account\0";
pub(super) const ACTION: &[u8] = b"action\0";
pub(super) const ACTED_ON: &[u8] = b"acted\0";
pub(super) const ALERT: &[u8] = b"alert\0";
pub(super) const API_KEY: &[u8] = b"apikey\0";
pub(super) const ASK: &[u8] = b"ask\0";
pub(super) const REVIEW: &[u8] = b"review\0";
pub(super) const CAUSE: &[u8] = b"cause\0";
pub(super) const NOTED: &[u8] = b"noted\0";
pub(super) const ORDER: &[u8] = b"order\0";
pub(super) const FIND: &[u8] = b"find\0";
pub(super) const FORWARD: &[u8] = b"forward\0";
pub(super) const HEARD: &[u8] = b"heard\0";
pub(super) const SEQUENCE: &[u8] = b"sequence\0";
pub(super) const CARD: &[u8] = b"card\0";
pub(super) const CONTACT: &[u8] = b"contact\0";
pub(super) const GAPS: &[u8] = b"gaps\0";
pub(super) const DAY: &[u8] = b"day\0";
pub(super) const DECISION: &[u8] = b"decision\0";
pub(super) const DUE: &[u8] = b"due\0";
pub(super) const EVENT: &[u8] = b"event\0";
pub(super) const HELD: &[u8] = b"held\0";
pub(super) const LINK: &[u8] = b"link\0";
pub(super) const MARKER: &[u8] = b"marker\0";
pub(super) const OUTBOX: &[u8] = b"outbox\0";
pub(super) const OUTBOX_DUE: &[u8] = b"outdue\0";
pub(super) const SEEN: &[u8] = b"seen\0";
pub(super) const PENDING: &[u8] = b"pending\0";
const ASKED: &[u8] = b"asked\0";
const BURST: &[u8] = b"burst\0";
const HEALTH: &[u8] = b"health\0";
const RECEIVER: &[u8] = b"receiver\0";
const STANDING: &[u8] = b"standing\0";
const TOKEN: &[u8] = b"token\0";
const WEBHOOK_SECRET: &[u8] = b"webhook_secret\0";

/// Stands for all accounts. No id of Jobber looks like this.
pub(super) const EVERYWHERE: &str = "*";
pub(super) const SUPPRESSION: &[u8] = b"suppression\0";
pub(super) const FORGOTTEN: &[u8] = b"forgotten\0";

pub(super) fn schema() -> Vec<u8> {
    b"meta\0schema".to_vec()
}

pub(super) fn key_check() -> Vec<u8> {
    b"meta\0key_check".to_vec()
}

pub(super) fn commits() -> Vec<u8> {
    b"meta\0commits".to_vec()
}

pub(super) fn pruned_at() -> Vec<u8> {
    b"meta\0pruned_at".to_vec()
}

pub(super) fn endpoints() -> Vec<u8> {
    b"meta\0endpoints".to_vec()
}

/// What an account asked Jobber to send.
pub(super) fn asked(id: &AccountId) -> Vec<u8> {
    join(ASKED, &[id.as_str().as_bytes()])
}

/// How many works of an account are not decided yet.
pub(super) fn standing(id: &AccountId) -> Vec<u8> {
    join(STANDING, &[id.as_str().as_bytes()])
}

/// How many works of an account were decided on the day of an instant (UTC).
pub(super) fn day_tally(account: &AccountId, at: Timestamp) -> Vec<u8> {
    let day = at.as_second().div_euclid(24 * 60 * 60).wrapping_add(1 << 31);
    let day = u32::try_from(day).unwrap_or_default();
    [of_account(DAY, account).as_slice(), &day.to_be_bytes()].concat()
}

/// When the day of a tally ends.
pub(super) fn end_of_day(key: &[u8]) -> Option<Timestamp> {
    let day = i64::from(u32::from_be_bytes(*key.last_chunk::<4>()?)) - (1 << 31);
    Timestamp::from_second((day + 1).checked_mul(24 * 60 * 60)?).ok()
}

/// How far the lists of an account are known.
pub(super) fn gaps(id: &AccountId) -> Vec<u8> {
    join(GAPS, &[id.as_str().as_bytes()])
}

/// When each topic was last heard of.
pub(super) fn topics_heard() -> Vec<u8> {
    b"meta\0topics_heard".to_vec()
}

/// Until when digests were sent.
pub(super) fn digest_at() -> Vec<u8> {
    b"meta\0digest_at".to_vec()
}

pub(super) fn probe() -> Vec<u8> {
    b"meta\0probe".to_vec()
}

/// Whether a key belongs to the few that are read for every account again and again.
pub(super) fn is_read_often(key: &[u8]) -> bool {
    const OFTEN: [&[u8]; 8] = [ACCOUNT, ASKED, BURST, HEALTH, RECEIVER, STANDING, TOKEN, WEBHOOK_SECRET];
    OFTEN.iter().any(|family| key.starts_with(family))
}

pub(super) fn account(id: &AccountId) -> Vec<u8> {
    join(ACCOUNT, &[id.as_str().as_bytes()])
}

pub(super) fn health(id: &AccountId) -> Vec<u8> {
    join(HEALTH, &[id.as_str().as_bytes()])
}

pub(super) fn burst(id: &AccountId) -> Vec<u8> {
    join(BURST, &[id.as_str().as_bytes()])
}

pub(super) fn pace(id: &AccountId) -> Vec<u8> {
    join(b"pace\0", &[id.as_str().as_bytes()])
}

/// Index of works held with the burst of their account.
pub(super) fn held(account: &AccountId, work: &WorkRef) -> Vec<u8> {
    of_work(HELD, account, work)
}

pub(super) fn token(id: &AccountId) -> Vec<u8> {
    join(TOKEN, &[id.as_str().as_bytes()])
}

pub(super) fn webhook_secret(id: &AccountId) -> Vec<u8> {
    join(WEBHOOK_SECRET, &[id.as_str().as_bytes()])
}

pub(super) fn card(account: &AccountId, client: &EncodedId) -> Vec<u8> {
    join(CARD, &[account.as_str().as_bytes(), client.as_str().as_bytes()])
}

pub(super) fn account_of_card(key: &[u8]) -> Option<AccountId> {
    parse_account(key.strip_prefix(CARD)?.split(|byte| *byte == 0).next()?)
}

pub(super) fn seen(account: &AccountId, work: &WorkRef) -> Vec<u8> {
    of_work(SEEN, account, work)
}

/// `name` identifies the follow-up.
pub(super) fn event(account: &AccountId, name: &str) -> Vec<u8> {
    join(EVENT, &[account.as_str().as_bytes(), name.as_bytes()])
}

pub(super) fn account_of_event(key: &[u8]) -> Option<AccountId> {
    parse_account(key.strip_prefix(EVENT)?.split(|byte| *byte == 0).next()?)
}

/// Index of asks: the work that each is about.
pub(super) fn ask(id: &AskId) -> Vec<u8> {
    join(ASK, &[id.as_str().as_bytes()])
}

/// What was noted with an ask that was not tried yet.
pub(super) fn noted(id: &MessageId) -> Vec<u8> {
    join(NOTED, &[id.as_str().as_bytes()])
}

pub(super) fn review(ask: &AskId) -> Vec<u8> {
    join(REVIEW, &[ask.as_str().as_bytes()])
}

pub(super) fn api_key(name: &str) -> Vec<u8> {
    join(API_KEY, &[name.as_bytes()])
}

pub(super) fn parse_decision(key: &[u8]) -> Option<(AccountId, WorkRef)> {
    parse_work(key.strip_prefix(DECISION)?)
}

pub(super) fn cause(cause: &Cause) -> Vec<u8> {
    let account = join(CAUSE, &[cause.account.as_str().as_bytes(), b""]);
    let name = [cause.what.as_bytes(), cause.id.as_bytes()].join(&0);
    [account.as_slice(), &instant(cause.at), &name].concat()
}

/// An event that waits to be forwarded, under its record and the time it happened.
pub(super) fn forward(account: &AccountId, event: &Pending, id: &str) -> Vec<u8> {
    let record = join(FORWARD, &[account.as_str().as_bytes(), event.item.as_str().as_bytes(), b""]);
    [record.as_slice(), &instant(event.occurred_at), id.as_bytes()].concat()
}

pub(super) fn account_of_forward(key: &[u8]) -> Option<AccountId> {
    parse_account(key.strip_prefix(FORWARD)?.split(|byte| *byte == 0).next()?)
}

/// `id` is the id of an event that was heard.
pub(super) fn heard(id: &str) -> Vec<u8> {
    join(HEARD, &[id.as_bytes()])
}

pub(super) fn sequence(account: &AccountId, item: &EncodedId) -> Vec<u8> {
    join(SEQUENCE, &[account.as_str().as_bytes(), item.as_str().as_bytes()])
}

/// `name` is the key of the write.
pub(super) fn action(account: &AccountId, name: &str) -> Vec<u8> {
    join(ACTION, &[account.as_str().as_bytes(), name.as_bytes()])
}

/// Index of the writes on a record, the oldest first.
pub(super) fn acted_on(record: &ActionRecord) -> Option<Vec<u8>> {
    let target = record.target.as_deref()?;
    Some([&acted_on_of(&record.account, target), &instant(record.at)[..], record.key.as_bytes()].concat())
}

pub(super) fn acted_on_of(account: &AccountId, target: &str) -> Vec<u8> {
    join(ACTED_ON, &[account.as_str().as_bytes(), target.as_bytes(), b""])
}

/// The write under a key of [`acted_on`], given what that begins with.
pub(super) fn action_of(account: &AccountId, prefix: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    let (_, name) = parse_instant(key.strip_prefix(prefix)?)?;
    Some(action(account, text(name)?))
}

/// The first key of [`acted_on`] at or after an instant.
pub(super) fn acted_since(prefix: &[u8], since: Timestamp) -> Vec<u8> {
    [prefix, &instant(since)].concat()
}

/// `key` is the key of the alert.
pub(super) fn alert(key: &str) -> Vec<u8> {
    join(ALERT, &[key.as_bytes()])
}

pub(super) fn refreshing(id: &AccountId) -> Vec<u8> {
    join(b"refreshing\0", &[id.as_str().as_bytes()])
}

pub(super) fn after_account(family: &[u8], account: &AccountId) -> Vec<u8> {
    let mut key = join(family, &[account.as_str().as_bytes()]);
    // Parts end with a zero byte.
    key.push(1);
    key
}

pub(super) fn parse_account_key(key: &[u8]) -> Option<AccountId> {
    parse_account(key.strip_prefix(ACCOUNT)?)
}

/// `hash` is the hash of the link's secret.
pub(super) fn link(hash: &str) -> Vec<u8> {
    join(LINK, &[hash.as_bytes()])
}

/// `hash` is the hash of the OAuth state.
pub(super) fn pending(hash: &str) -> Vec<u8> {
    join(PENDING, &[hash.as_bytes()])
}

/// `scope` is an account or [`EVERYWHERE`].
pub(super) fn contact(scope: &str, contact: &ContactKey) -> Vec<u8> {
    join(CONTACT, &[scope.as_bytes(), contact.as_str().as_bytes()])
}

/// Scope and contact in a key of [`contact`].
pub(super) fn parse_contact(key: &[u8]) -> Option<(String, ContactKey)> {
    scope_and_contact(key.strip_prefix(CONTACT)?)
}

/// Scope and contact in a key of [`suppression`].
pub(super) fn parse_suppression(key: &[u8]) -> Option<(String, ContactKey)> {
    scope_and_contact(key.strip_prefix(SUPPRESSION)?)
}

fn scope_and_contact(rest: &[u8]) -> Option<(String, ContactKey)> {
    let (scope, contact) = text(rest)?.split_once('\0')?;
    Some((scope.to_owned(), ContactKey::stored(contact)))
}

pub(super) fn parse_marker(key: &[u8]) -> Option<(AccountId, WorkRef)> {
    parse_work(key.strip_prefix(MARKER)?)
}

/// `scope` is an account or [`EVERYWHERE`].
pub(super) fn suppression(scope: &str, contact: &ContactKey) -> Vec<u8> {
    join(SUPPRESSION, &[scope.as_bytes(), contact.as_str().as_bytes()])
}

/// `hash` is the keyed hash of a contact or a card, and of where it is forgotten.
pub(super) fn forgotten(hash: &str) -> Vec<u8> {
    join(FORGOTTEN, &[hash.as_bytes()])
}

pub(super) fn of_account(family: &[u8], account: &AccountId) -> Vec<u8> {
    join(family, &[account.as_str().as_bytes(), b""])
}

pub(super) fn decision(account: &AccountId, work: &WorkRef) -> Vec<u8> {
    of_work(DECISION, account, work)
}

pub(super) fn marker(account: &AccountId, work: &WorkRef) -> Vec<u8> {
    of_work(MARKER, account, work)
}

/// Index of candidates by due time.
pub(super) fn due(at: Timestamp, account: &AccountId, work: &WorkRef) -> Vec<u8> {
    let mut key = [DUE, &instant(at)].concat();
    key.extend(of_work(b"", account, work));
    key
}

/// The first key of what is due after `at`, in the index `family`.
pub(super) fn due_after(family: &[u8], at: Timestamp) -> Vec<u8> {
    [family, &instant(crate::clock::plus(at, SignedDuration::from_nanos(1)))].concat()
}

/// The time in a key of the index `family`.
pub(super) fn due_at(family: &[u8], key: &[u8]) -> Option<Timestamp> {
    Some(parse_instant(key.strip_prefix(family)?)?.0)
}

pub(super) fn outbox(id: &MessageId) -> Vec<u8> {
    join(OUTBOX, &[id.as_str().as_bytes()])
}

/// Index of outbox entries by the time of their next attempt.
pub(super) fn outbox_due(at: Timestamp, id: &MessageId) -> Vec<u8> {
    join(&[OUTBOX_DUE, &instant(at)].concat(), &[id.as_str().as_bytes()])
}

/// `hash` is the hash of the receiver's address.
pub(super) fn receiver(hash: &str) -> Vec<u8> {
    join(RECEIVER, &[hash.as_bytes()])
}

pub(super) fn broken() -> StoreError {
    StoreError::Corrupt { family: "index of what is due", detail: "a key does not parse".to_owned() }
}

pub(super) fn account_of(key: &[u8]) -> Option<AccountId> {
    let account = key.strip_prefix(DECISION)?.split(|byte| *byte == 0).next()?;
    Some(AccountId::new(text(account)?))
}

pub(super) fn parse_due(key: &[u8]) -> Option<(Timestamp, AccountId, WorkRef)> {
    let (at, rest) = parse_instant(key.strip_prefix(DUE)?)?;
    let (account, work) = parse_work(rest)?;
    Some((at, account, work))
}

pub(super) fn parse_held(key: &[u8]) -> Option<(AccountId, WorkRef)> {
    parse_work(key.strip_prefix(HELD)?)
}

fn parse_work(rest: &[u8]) -> Option<(AccountId, WorkRef)> {
    let (account, work) = text(rest)?.split_once('\0')?;
    Some((AccountId::new(account), parse_kind_and_id(work)?))
}

/// The end of a key that names a work.
pub(super) fn parse_kind_and_id(text: &str) -> Option<WorkRef> {
    let (kind, id) = text.split_once('\0')?;
    let kind = match kind {
        "job" => WorkKind::Job,
        "visit" => WorkKind::Visit,
        "invoice" => WorkKind::Invoice,
        "client" => WorkKind::Client,
        "record" => WorkKind::Record,
        _ => return None,
    };
    (!id.contains('\0')).then(|| WorkRef { kind, id: EncodedId::new(id) })
}

pub(super) fn parse_outbox_due(key: &[u8]) -> Option<(Timestamp, MessageId)> {
    let (at, rest) = parse_instant(key.strip_prefix(OUTBOX_DUE)?)?;
    Some((at, MessageId::new(text(rest)?)))
}

/// The value of an [`outbox_due`] key: the message's kind and account, the record whose messages leave in order, and the
/// receiver if the kind does not say it.
pub(super) fn outbox_due_value(
    kind: MessageKind,
    account: &AccountId,
    record: Option<&str>,
    to: Option<&str>,
) -> Vec<u8> {
    let mut parts = vec![kind.as_str(), account.as_str()];
    parts.extend(record);
    parts.extend(to);
    parts.join("\0").into_bytes()
}

/// Index of the messages about a record that are on their way, the oldest first.
pub(super) fn order(account: &AccountId, record: &str, place: (Timestamp, u64), id: &MessageId) -> Vec<u8> {
    let (at, sequence) = (instant(place.0), place.1.to_be_bytes());
    [order_of(account, record).as_slice(), &at, &sequence, id.as_str().as_bytes()].concat()
}

pub(super) fn order_of(account: &AccountId, record: &str) -> Vec<u8> {
    join(ORDER, &[account.as_str().as_bytes(), record.as_bytes(), b""])
}

/// What [`outbox_due_value`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DueValue {
    pub(super) kind: MessageKind,
    pub(super) account: AccountId,
    /// Values of earlier versions name no record.
    pub(super) record: Option<String>,
    pub(super) to: Option<String>,
}

pub(super) fn parse_outbox_due_value(value: &[u8]) -> Option<DueValue> {
    let mut parts = text(value)?.splitn(4, '\0');
    let (kind, account) = (parts.next()?, parts.next()?);
    let (record, to) = (parts.next().map(str::to_owned), parts.next().map(str::to_owned));
    let kind = match kind {
        "ask" => MessageKind::Ask,
        "change" => MessageKind::Change,
        "event" => MessageKind::Event,
        _ => return None,
    };
    Some(DueValue { kind, account: parse_account(account.as_bytes())?, record, to })
}

fn parse_account(value: &[u8]) -> Option<AccountId> {
    text(value).filter(|account| !account.is_empty()).map(AccountId::new)
}

fn of_work(family: &[u8], account: &AccountId, work: &WorkRef) -> Vec<u8> {
    join(family, &[account.as_str().as_bytes(), work.kind.as_str().as_bytes(), work.id.as_str().as_bytes()])
}

fn join(family: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut key = family.to_vec();
    key.extend(parts.join(&0));
    key
}

/// Nanoseconds since the epoch with the sign bit flipped, big endian.
fn instant(at: Timestamp) -> [u8; 16] {
    at.as_nanosecond().cast_unsigned().wrapping_add(1 << 127).to_be_bytes()
}

fn parse_instant(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<16>()?;
    let nanoseconds = u128::from_be_bytes(*head).wrapping_sub(1 << 127).cast_signed();
    Some((Timestamp::from_nanosecond(nanoseconds).ok()?, rest))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::EncodedId;

    #[test]
    fn instants_sort_as_time_does_and_read_back() {
        let account = AccountId::new("acc");
        let work = WorkRef::visit(EncodedId::new("v=="));
        let mut instants: Vec<Timestamp> = [
            "-0044-03-15T00:00:00Z",
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "2026-03-10T12:00:00.5Z",
        ]
        .iter()
        .map(|text| text.parse().unwrap_or(Timestamp::MIN))
        .collect();
        instants.sort();
        let keys: Vec<_> = instants.iter().map(|at| due(*at, &account, &work)).collect();
        assert!(keys.is_sorted());
        for (key, at) in keys.iter().zip(instants) {
            assert_eq!(parse_due(key), Some((at, account.clone(), work.clone())));
        }
        let id = MessageId::new("ask_1");
        assert_eq!(parse_outbox_due(&outbox_due(Timestamp::MAX, &id)), Some((Timestamp::MAX, id)));
    }

    #[test]
    fn a_key_with_more_to_it_is_broken() {
        let key = due(Timestamp::UNIX_EPOCH, &AccountId::new("acc"), &WorkRef::job(EncodedId::new("j1")));
        assert_eq!(parse_due(&[&key[..], b"\0more"].concat()), None);
        assert_eq!(parse_due(&key[..key.len() - 3]), None);
    }

    #[test]
    fn days_sort_and_read_back() {
        let account = AccountId::new("acc");
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let days =
            ["1969-12-30T01:00:00Z", "1970-01-01T00:00:00Z", "2026-03-10T23:59:59Z", "2026-03-11T00:00:00Z"];
        let keys: Vec<Vec<u8>> = days.iter().map(|day| day_tally(&account, at(day))).collect();
        assert!(keys.is_sorted());
        assert_eq!(end_of_day(&keys[2]), Some(at("2026-03-11T00:00:00Z")));
        assert_eq!(end_of_day(&keys[0]), Some(at("1969-12-31T00:00:00Z")));
    }

    #[test]
    fn no_account_is_a_prefix_of_another() {
        let work = WorkRef::job(EncodedId::new("j"));
        let key = decision(&AccountId::new("ab"), &work);
        assert!(key.starts_with(&of_account(DECISION, &AccountId::new("ab"))));
        assert!(!key.starts_with(&of_account(DECISION, &AccountId::new("a"))));
    }

    #[test]
    fn keys_are_frozen() {
        let account = AccountId::new("acc");
        let work = WorkRef::job(EncodedId::new("j1"));
        assert_eq!(decision(&account, &work), b"decision\0acc\0job\0j1");
        assert_eq!(marker(&account, &work), b"marker\0acc\0job\0j1");
        assert_eq!(account_key_text(), "account\0acc");
        assert_eq!(
            due(Timestamp::UNIX_EPOCH, &account, &work),
            b"due\0\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0acc\0job\0j1"
        );
    }

    fn account_key_text() -> String {
        String::from_utf8(super::account(&AccountId::new("acc"))).unwrap()
    }
}
