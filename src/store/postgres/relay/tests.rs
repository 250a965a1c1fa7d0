use super::*;
use crate::store::tests::{cluster, key};
use crate::store::{IfMissing, Place, Store};

/// A store that others can reach, and one who stands by. `None` where PostgreSQL is not installed.
async fn two(url: Option<String>) -> Option<(Store, Asker)> {
    let address = Address::parse(&url?, None).unwrap();
    let place = Place::Postgres(Box::new(address.clone()));
    let open = move || Store::open_in(&place, &key(1), IfMissing::MakeFirst).unwrap();
    Some((tokio::task::spawn_blocking(open).await.unwrap(), Asker::new(&address, &key(1))))
}

#[tokio::test]
async fn a_long_answer_arrives_in_order_and_no_faster_than_it_is_read() {
    let Some((store, asker)) = two(cluster::any()).await else { return };
    let told = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let telling = tokio::spawn({
        let (mut answerer, told) = (store.answerer().unwrap(), Arc::clone(&told));
        async move {
            let mut call = answerer.next(&CancellationToken::new()).await.unwrap();
            assert_eq!(call.request, b"all of it");
            for part in 0..100_u8 {
                call.tell(&[part], part == 99).await.unwrap();
                told.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    });
    let mut asked = asker.ask(b"all of it").await.unwrap();
    let mut parts = asked.next().await.unwrap().unwrap();
    let ahead = told.load(std::sync::atomic::Ordering::Relaxed);
    assert!(ahead <= usize::try_from(AHEAD).unwrap() * 2, "{ahead} parts are told, and one is read");
    while let Some(part) = asked.next().await.unwrap() {
        parts.extend(part);
    }
    assert_eq!(parts, (0..100).collect::<Vec<u8>>());
    telling.await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn whoever_asked_hears_that_the_one_who_took_it_is_gone_and_nobody_else_takes_it() {
    let Some((store, asker)) = two(cluster::any()).await else { return };
    let mut asked = asker.ask(b"do it once").await.unwrap();
    let mut answerer = store.answerer().unwrap();
    let call = answerer.next(&CancellationToken::new()).await.unwrap();
    assert_eq!(call.request, b"do it once");
    // Another daemon takes over: the lease has a higher fence.
    let client = asker.line.client().await.unwrap();
    client.execute("UPDATE jobber_reviewd.lease SET fence = fence + 1", &[]).await.unwrap();
    assert!(matches!(asked.next().await, Err(RelayError::Lost)));
    answerer.fence += 1;
    answerer.take().await.unwrap();
    assert!(answerer.taken.is_empty(), "it may have been done");
    // Whoever lost the lease takes nothing.
    let mut again = asker.ask(b"something else").await.unwrap();
    answerer.fence -= 1;
    answerer.take().await.unwrap();
    assert!(answerer.taken.is_empty());
    answerer.fence += 1;
    answerer.take().await.unwrap();
    answerer.taken.pop_front().unwrap().tell(b"done", true).await.unwrap();
    assert_eq!(again.next().await.unwrap().as_deref(), Some(&b"done"[..]));
    assert_eq!(again.next().await.unwrap(), None);

    // What fails on the way is not waited for, and what was not begun is given back at the end.
    let mut broken = asker.ask(b"fails").await.unwrap();
    answerer.take().await.unwrap();
    drop(answerer.taken.pop_front().unwrap());
    assert!(matches!(broken.next().await, Err(RelayError::Lost)));
    let mut later = asker.ask(b"later").await.unwrap();
    // The database took it, and nobody heard.
    let unheard = "UPDATE jobber_reviewd.calls SET taken = (SELECT fence FROM jobber_reviewd.lease), batch = 7 WHERE taken IS NULL";
    client.execute(unheard, &[]).await.unwrap();
    answerer.take().await.unwrap();
    assert!(answerer.taken.is_empty());
    answerer.unheard.push((7, Instant::now()));
    answerer.take().await.unwrap();
    assert_eq!(answerer.taken.len(), 1);
    let stop = CancellationToken::new();
    stop.cancel();
    assert!(answerer.next(&stop).await.is_none());
    answerer.take().await.unwrap();
    let mut call = answerer.taken.pop_front().unwrap();
    call.tell(b"one", false).await.unwrap();
    assert_eq!(later.next().await.unwrap().as_deref(), Some(&b"one"[..]));
    // The answer of the database was lost, and the part is told once more.
    call.told = 0;
    call.tell(b"one", false).await.unwrap();
    call.tell(b"two", true).await.unwrap();
    assert_eq!(later.next().await.unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(later.next().await.unwrap(), None);
    drop(call);
}

#[tokio::test]
async fn what_is_passed_on_is_unreadable_without_the_key_and_gone_when_it_is_given_up() {
    let Some((store, asker)) = two(cluster::any()).await else { return };
    let client = asker.line.client().await.unwrap();
    let asked = asker.ask(b"a secret").await.unwrap();
    let row = client.query_one("SELECT sealed FROM jobber_reviewd.calls", &[]).await.unwrap();
    assert!(!row.get::<_, Vec<u8>>(0).windows(6).any(|part| part == b"secret"));
    let mut call = store.answerer().unwrap().next(&CancellationToken::new()).await.unwrap();
    drop(asked);
    let calls = "SELECT count(*) FROM jobber_reviewd.calls";
    while client.query_one(calls, &[]).await.unwrap().get::<_, i64>(0) > 0 {
        tokio::task::yield_now().await;
    }
    assert!(call.tell(b"too late", true).await.is_err());

    // A daemon with another key is no daemon of this store.
    let stranger = Asker::new(&asker.line.address, &key(2));
    let mut asked = stranger.ask(b"let me in").await.unwrap();
    let mut answerer = store.answerer().unwrap();
    answerer.take().await.unwrap();
    assert!(answerer.taken.is_empty());
    assert!(matches!(asked.next().await, Err(RelayError::Lost)));
    store.close().await;
}
