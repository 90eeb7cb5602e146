//! The life of a held value: fresh, served stale while it is renewed, served stale while its vault is out, gone.

use std::time::Duration;

use sidekey::broker::{BrokerOptions, Error, Origin, Steer};
use sidekey::cache::CacheOptions;
use sidekey::vaults::VaultErrorKind;
use time::OffsetDateTime;
use time::ext::NumericalDuration as _;
use tokio::time::sleep;

use super::reads::exact;
use super::scripted::{DENIED, DOWN, HELD, House, Scripted, ask, steered};

const NOW: Steer = Steer { no_cache: true, max_age: None, only_if_cached: false };

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Lets virtual time pass in small steps, as a machine would live it.
async fn live(n: u64) {
    for _ in 0..n * 2 {
        sleep(Duration::from_millis(500)).await;
    }
}

/// A vault that may be read and not listed: only reads tell of it.
async fn unlistable(options: BrokerOptions) -> (std::sync::Arc<Scripted>, House) {
    let vault = Scripted::new("s", "pay");
    vault.set("db", "one");
    vault.fail_lists(Some(DENIED));
    let house = House::with(&[&vault], options).await;
    (vault, house)
}

async fn value(house: &House) -> Vec<u8> {
    house.broker.get(&ask("pay/db")).await.unwrap().secret.value.expose().to_vec()
}

#[tokio::test(start_paused = true)]
async fn an_expired_value_is_served_at_once_as_stale_and_one_call_renews_it() {
    let (vault, house) = unlistable(exact()).await;
    value(&house).await;
    // It was used once, so it is renewed once, and then no more.
    live(300).await;
    assert_eq!(vault.gets(), 2);
    vault.set("db", "two");
    live(400).await;
    assert_eq!(vault.gets(), 2);
    vault.gate.forget_permits(usize::MAX);
    let readers =
        (0..10_000).map(|_| house.broker.clone()).map(|broker| async move { broker.get(&ask("pay/db")).await });
    for reading in futures::future::join_all(readers).await {
        let reading = reading.unwrap();
        assert_eq!((reading.origin, reading.stale), (Origin::Held, Some("expired")));
        assert_eq!(reading.secret.value.expose(), b"one");
        assert!(reading.ttl < -90 && reading.age >= seconds(400), "{reading:?}");
    }
    vault.gate.add_permits(100);
    live(1).await;
    assert_eq!((value(&house).await, vault.gets()), (b"two".to_vec(), 3));
}

#[tokio::test(start_paused = true)]
async fn a_value_in_use_is_renewed_before_it_expires() {
    let (vault, house) = unlistable(exact()).await;
    for _ in 0..40 {
        let reading = house.broker.get(&ask("pay/db")).await.unwrap();
        assert_eq!(reading.stale, None, "{reading:?}");
        live(30).await;
    }
    // Twenty minutes at five minutes a life.
    assert!((4..=6).contains(&vault.gets()), "{}", vault.gets());
}

#[tokio::test(start_paused = true)]
async fn an_outage_serves_what_is_held_with_its_true_age_until_max_stale_and_no_longer() {
    let cache = CacheOptions { max_stale: seconds(7_200), ..exact().cache };
    let (vault, house) = unlistable(BrokerOptions { cache, ..exact() }).await;
    value(&house).await;
    vault.fail_gets_of("db", Some(DOWN));
    for minute in 1..120 {
        live(60).await;
        let reading = house.broker.get(&ask("pay/db")).await.unwrap();
        assert!(reading.age.abs_diff(seconds(60 * minute)) < seconds(1), "{reading:?}");
        if minute > 6 {
            assert_eq!(reading.stale, Some("vault-unavailable"));
        }
    }
    // Asked now and then, not at every read.
    assert!(vault.gets() < 200, "{}", vault.gets());
    live(62).await;
    let gone = house.broker.get(&ask("pay/db")).await;
    assert!(matches!(&gone, Err(Error::Vault { error, .. }) if *error.kind() == DOWN), "{gone:?}");
    vault.fail_gets_of("db", None);
    assert!(house.broker.get(&ask("pay/db")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn recovery_is_noticed_within_a_back_off() {
    let (vault, house) = unlistable(exact()).await;
    value(&house).await;
    vault.fail_gets_of("db", Some(DOWN));
    for _ in 0..7_200 {
        live(1).await;
        value(&house).await;
    }
    vault.fail_gets_of("db", None);
    vault.set("db", "two");
    live(61).await;
    assert_eq!(value(&house).await, b"two");
}

#[tokio::test(start_paused = true)]
async fn the_vaults_own_word_ends_what_is_held_within_a_minute_once_it_is_confirmed() {
    for (kind, code) in [
        (DENIED, "denied-by-rbac"),
        (VaultErrorKind::Disabled, "secret-disabled"),
        (VaultErrorKind::NotFound, "secret-not-found"),
    ] {
        let (vault, house) = unlistable(exact()).await;
        value(&house).await;
        vault.fail_gets_of("db", Some(kind.clone()));
        house.broker.get(&steered("pay/db", NOW)).await.unwrap_err();
        let doubted = house.broker.get(&ask("pay/db")).await.unwrap();
        assert_eq!(doubted.secret.value.expose(), b"one");
        // Nobody reads; it is confirmed all the same.
        live(15).await;
        let told = house.broker.get(&steered("pay/db", HELD)).await.unwrap_err();
        assert_eq!(told.reason(), code, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_that_is_taken_back_ends_nothing() {
    let (vault, house) = unlistable(exact()).await;
    value(&house).await;
    vault.fail_gets_of("db", Some(VaultErrorKind::NotFound));
    house.broker.get(&steered("pay/db", NOW)).await.unwrap_err();
    vault.fail_gets_of("db", None);
    for _ in 0..120 {
        live(1).await;
        assert!(house.broker.get(&steered("pay/db", HELD)).await.is_ok());
    }
    assert_eq!(house.broker.get(&ask("pay/db")).await.unwrap().stale, None);
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_middle_of_a_doubt_keeps_the_value() {
    let (vault, house) = unlistable(exact()).await;
    value(&house).await;
    vault.fail_gets_of("db", Some(DENIED));
    house.broker.get(&steered("pay/db", NOW)).await.unwrap_err();
    vault.fail_gets_of("db", Some(DOWN));
    live(600).await;
    assert_eq!(value(&house).await, b"one");
}

#[tokio::test(start_paused = true)]
async fn a_listing_proves_a_value_unchanged_and_spares_the_read() {
    let vault = Scripted::new("s", "pay");
    vault.set_at("db", "one", OffsetDateTime::now_utc() - 30.days());
    let house = House::with(&[&vault], exact()).await;
    // The stamp was seen for a while before the value was read: whatever its second held is in it.
    live(3).await;
    value(&house).await;
    for _ in 0..50 {
        live(60).await;
        let reading = house.broker.get(&ask("pay/db")).await.unwrap();
        assert!(reading.stale.is_none() && reading.age < seconds(70), "{reading:?}");
    }
    assert_eq!(vault.gets(), 1);
    // Still, it is read again now and then.
    for _ in 0..20 {
        live(60).await;
        value(&house).await;
    }
    assert_eq!(vault.gets(), 2);
}

#[tokio::test(start_paused = true)]
async fn two_writes_in_one_second_are_told_apart_by_a_read_and_not_by_a_listing() {
    let vault = Scripted::new("s", "pay");
    let house = House::with(&[&vault], exact()).await;
    let second = OffsetDateTime::now_utc();
    vault.set_at("db", "one", second);
    value(&house).await;
    // The read fell between two writes of one second.
    vault.set_at("db", "two", second);
    for _ in 0..10 {
        live(60).await;
        value(&house).await;
    }
    assert_eq!(value(&house).await, b"two");
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_shows_a_change_renews_what_is_in_use_and_one_that_shows_a_name_forgets_its_miss() {
    let vault = Scripted::new("s", "pay");
    let old = OffsetDateTime::now_utc() - 30.days();
    vault.set_at("db", "one", old);
    let options = BrokerOptions { cache: CacheOptions { negative_ttl: seconds(3_600), ..exact().cache }, ..exact() };
    let house = House::with(&[&vault], options).await;
    live(3).await;
    assert_eq!(value(&house).await, b"one");
    assert!(house.broker.get(&ask("pay/new")).await.is_err());
    vault.set_at("db", "two", old + 1.days());
    vault.set("new", "here");
    live(70).await;
    let held = house.broker.get(&steered("pay/db", HELD)).await.unwrap();
    assert_eq!((&*held.secret.value.expose(), held.stale), (&b"two"[..], None));
    assert!(house.broker.get(&ask("pay/new")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_a_listing_no_longer_shows_is_asked_for_and_gone_within_a_minute_of_it() {
    let vault = Scripted::new("s", "pay");
    vault.set("db", "one");
    let house = House::with(&[&vault], exact()).await;
    value(&house).await;
    vault.delete("db");
    live(66 + 15).await;
    assert!(matches!(house.broker.get(&steered("pay/db", HELD)).await, Err(Error::SecretNotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_does_not_take_a_value_back_unless_it_sticks_to_it() {
    let (vault, house) = unlistable(exact()).await;
    let old = OffsetDateTime::now_utc() - 30.days();
    vault.set_at("db", "newer", OffsetDateTime::now_utc());
    assert_eq!(value(&house).await, b"newer");
    // Served by a replica that has not seen the last write.
    vault.set_at("db", "older", old);
    for _ in 0..80 {
        live(1).await;
        let reading = house.broker.get(&steered("pay/db", NOW)).await.unwrap();
        assert_eq!(reading.secret.value.expose(), b"newer");
    }
    live(30).await;
    assert_eq!(house.broker.get(&steered("pay/db", NOW)).await.unwrap().secret.value.expose(), b"older");
}

#[tokio::test(start_paused = true)]
async fn readers_that_insist_cost_one_call_a_second_and_each_sees_what_was_written_before_it_asked() {
    let (vault, house) = unlistable(exact()).await;
    for round in 0..5 {
        vault.set("db", &format!("value-{round}"));
        let question = steered("pay/db", NOW);
        for reading in futures::future::join_all((0..100).map(|_| house.broker.get(&question))).await {
            assert_eq!(reading.unwrap().secret.value.expose(), format!("value-{round}").as_bytes());
        }
    }
    // The very first found nothing to wait for; who came with it had to have another.
    assert_eq!(vault.gets(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_miss_that_a_listing_has_overtaken_on_its_way_is_not_remembered() {
    let vault = Scripted::new("s", "pay");
    let house = House::with(&[&vault], exact()).await;
    vault.gate.forget_permits(usize::MAX);
    vault.fail_gets_of("db", Some(VaultErrorKind::NotFound));
    let question = ask("pay/db");
    let meanwhile = async {
        while vault.gets() == 0 {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        vault.set("db", "one");
        house.listed_again().await;
        vault.gate.add_permits(1);
    };
    let (told, ()) = futures::join!(house.broker.get(&question), meanwhile);
    assert!(matches!(told, Err(Error::SecretNotFound { .. })), "it is what the vault said to this reader");
    vault.fail_gets_of("db", None);
    vault.gate.add_permits(1);
    assert_eq!(house.broker.get(&question).await.unwrap().secret.value.expose(), b"one");
}
