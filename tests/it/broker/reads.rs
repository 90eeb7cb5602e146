use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use sidekey::broker::{BrokerOptions, Error, Forward, Origin, Steer};
use sidekey::cache::CacheOptions;
use sidekey::vaults::VaultErrorKind;
use tokio::time::advance;

use super::scripted::{DENIED, DOWN, House, Scripted, ask, steered};

/// Lives without jitter, so that a test can tell them.
pub fn exact() -> BrokerOptions {
    let cache = CacheOptions { jitter_percent: 0, ..CacheOptions::default() };
    BrokerOptions { cache, ..BrokerOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_asked_for_once_while_it_is_fresh_and_its_age_is_true() {
    let vault = Scripted::new("s", "pay");
    vault.set("db", "one");
    let house = House::with(&[&vault], exact()).await;
    assert_eq!(house.broker.get(&ask("pay/db")).await.unwrap().origin, Origin::Read(Forward::Miss));
    advance(Duration::from_secs(100)).await;
    let held = house.broker.get(&ask("pay/db")).await.unwrap();
    assert_eq!((held.origin, held.age, held.ttl), (Origin::Held, Duration::from_secs(100), 200));
    assert_eq!((vault.gets(), held.stale), (1, None));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_readers_of_a_cold_name_make_one_call_and_so_do_those_of_a_missing_one() {
    for (name, found) in [("db", true), ("absent", false)] {
        let vault = Scripted::new("s", "pay");
        vault.set("db", "one");
        let house = House::with(&[&vault], BrokerOptions { reads_in_all: 1, ..BrokerOptions::default() }).await;
        vault.gate.forget_permits(usize::MAX);
        let question = ask(&format!("pay/{name}"));
        let readers = join_all((0..10_000).map(|_| house.broker.get(&question)));
        let (answers, ()) = futures::join!(readers, async { vault.gate.add_permits(1) });
        assert!(answers.iter().all(|answer| answer.is_ok() == found));
        assert_eq!(vault.gets(), 1, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_was_stopped_goes_with_its_vaults_and_its_values() {
    let vault = Scripted::new("s", "pay");
    vault.set("db", "one");
    let house = House::of(&[&vault]).await;
    house.listed_again().await;
    let reading = house.broker.get(&ask("pay/db")).await.unwrap();
    let (value, held) = (Arc::downgrade(&reading.secret), Arc::downgrade(&vault));
    drop((reading, vault));
    assert!(value.upgrade().is_some() && held.upgrade().is_some());
    house.stopped().await;
    assert!(value.upgrade().is_none(), "the value is still held");
    assert!(held.upgrade().is_none(), "the vault is still held");
}

#[tokio::test(start_paused = true)]
async fn a_version_is_honoured_and_never_mixed_with_the_current_one() {
    let vault = Scripted::new("s", "pay");
    let old = vault.set("db", "one");
    vault.set("db", "two");
    let house = House::of(&[&vault]).await;
    let read = |address: String| {
        let broker = house.broker.clone();
        async move { broker.get(&ask(&address)).await }
    };
    for _ in 0..2 {
        assert_eq!(read("pay/db".into()).await.unwrap().secret.value.expose(), b"two");
        assert_eq!(read(format!("pay/db@{old}")).await.unwrap().secret.value.expose(), b"one");
    }
    let absent = format!("pay/db@{}", "0".repeat(32));
    assert!(matches!(read(absent).await, Err(Error::VersionNotFound { .. })));
    let nothing = format!("pay/absent@{old}");
    assert!(matches!(read(nothing).await, Err(Error::SecretNotFound { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_reader_steers_the_cache() {
    let vault = Scripted::new("s", "pay");
    vault.set("db", "one");
    let house = House::of(&[&vault]).await;
    let only_if_cached = Steer { only_if_cached: true, ..Steer::default() };
    assert!(matches!(house.broker.get(&steered("pay/db", only_if_cached)).await, Err(Error::NotCached)));
    assert_eq!(vault.gets(), 0);

    house.broker.get(&ask("pay/db")).await.unwrap();
    vault.set("db", "two");
    advance(Duration::from_secs(10)).await;
    let within = |seconds| Steer { max_age: Some(Duration::from_secs(seconds)), ..Steer::default() };
    assert_eq!(house.broker.get(&steered("pay/db", within(10))).await.unwrap().secret.value.expose(), b"one");
    assert_eq!(house.broker.get(&steered("pay/db", within(9))).await.unwrap().secret.value.expose(), b"two");
    vault.set("db", "three");
    let now = Steer { no_cache: true, ..Steer::default() };
    assert_eq!(house.broker.get(&steered("pay/db", now)).await.unwrap().secret.value.expose(), b"three");
    assert_eq!(house.broker.get(&steered("pay/db", only_if_cached)).await.unwrap().origin, Origin::Held);
}

#[tokio::test(start_paused = true)]
async fn a_miss_is_cheap_and_soon_asked_again() {
    let vault = Scripted::new("s", "pay");
    let house = House::of(&[&vault]).await;
    for _ in 0..20 {
        assert!(matches!(house.broker.get(&ask("pay/new")).await, Err(Error::SecretNotFound { .. })));
    }
    assert_eq!(vault.gets(), 1);
    vault.set("new", "here");
    advance(Duration::from_secs(31)).await;
    assert!(house.broker.get(&ask("pay/new")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn failures_are_told_apart_and_an_outage_is_not_remembered() {
    let vault = Scripted::new("s", "pay");
    for name in ["a", "b", "c", "d", "e", "f"] {
        vault.set(name, "x");
    }
    vault.disable("f");
    let house = House::of(&[&vault]).await;
    vault.fail_gets_of("a", Some(DENIED));
    let denied = house.broker.get(&ask("pay/a")).await;
    assert!(matches!(&denied, Err(Error::Vault { error, .. }) if *error.kind() == DENIED), "{denied:?}");
    for (name, kind) in [
        ("b", DOWN),
        ("c", VaultErrorKind::Throttled { retry_after: Some(Duration::from_secs(7)) }),
        ("d", VaultErrorKind::TimedOut),
        ("e", VaultErrorKind::Unauthenticated { code: Some("AADSTS7000215".into()) }),
    ] {
        vault.fail_gets_of(name, Some(kind.clone()));
        let address = format!("pay/{name}");
        match house.broker.get(&ask(&address)).await {
            Err(Error::Vault { error, .. }) => assert_eq!(error.kind(), &kind),
            other => panic!("{kind:?} became {other:?}"),
        }
        vault.fail_gets_of(name, None);
        assert!(house.broker.get(&ask(&address)).await.is_ok(), "{kind:?} was remembered");
    }
    assert!(matches!(house.broker.get(&ask("pay/f")).await, Err(Error::Disabled { .. })));
    assert!(matches!(house.broker.get(&ask("nowhere/f")).await, Err(Error::UnknownVault { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_hung_vault_ends_in_a_time_limit_and_too_many_reads_are_refused_at_once() {
    let vault = Scripted::new("s", "pay");
    vault.set("db", "one");
    let house = House::with(&[&vault], BrokerOptions { reads_in_all: 2, ..BrokerOptions::default() }).await;
    vault.gate.forget_permits(usize::MAX);
    let (one, two, three) = (ask("pay/db"), ask("pay/b"), ask("pay/c"));
    let (one, two, three) = futures::join!(house.broker.get(&one), house.broker.get(&two), house.broker.get(&three));
    for hung in [one, two] {
        let Err(Error::Vault { error, .. }) = hung else { panic!("a hung vault must time out") };
        assert_eq!(error.kind(), &VaultErrorKind::TimedOut);
    }
    assert!(matches!(three, Err(Error::Overloaded)));
}

#[tokio::test(start_paused = true)]
async fn resolve_gives_all_or_names_every_failure() {
    let vault = Scripted::new("s", "pay");
    vault.set("db", r#"{"user":"u","ports":[1,2]}"#);
    vault.set("off", "x");
    vault.disable("off");
    let house = House::of(&[&vault]).await;
    let references = |all: &[(&str, &str)]| -> BTreeMap<String, sidekey::secret::Reference> {
        all.iter().map(|(key, text)| ((*key).to_owned(), text.parse().unwrap())).collect()
    };
    let good =
        references(&[("USER", "secret://pay/db#/user"), ("PORTS", "secret://*/db#/ports"), ("ALL", "akv://pay/db")]);
    let resolved = house.broker.resolve(&good).await.unwrap();
    assert_eq!(resolved["USER"].value().expose(), b"u");
    assert_eq!(resolved["PORTS"].value().expose(), b"[1,2]");
    assert_eq!(resolved["ALL"].value().expose(), br#"{"user":"u","ports":[1,2]}"#);
    assert_eq!(vault.gets(), 1, "three references to one secret are one call");

    let bad = references(&[
        ("OK", "secret://pay/db"),
        ("GONE", "secret://pay/gone"),
        ("OFF", "secret://pay/off"),
        ("FIELD", "secret://pay/db#/nope"),
        ("VAULT", "secret://nope/db"),
    ]);
    let failed = house.broker.resolve(&bad).await.err().unwrap();
    let told: Vec<_> = failed.iter().map(|(key, error)| (key.as_str(), error.reason())).collect();
    let expected = [
        ("FIELD", "field-not-found"),
        ("GONE", "secret-not-found"),
        ("OFF", "secret-disabled"),
        ("VAULT", "vault-not-found"),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn the_cache_is_bounded() {
    let vault = Scripted::new("s", "pay");
    for n in 0..100 {
        vault.set(&format!("n{n}"), "x");
    }
    let cache = CacheOptions { max_entries: 10, ..CacheOptions::default() };
    let house = House::with(&[&vault], BrokerOptions { cache, ..BrokerOptions::default() }).await;
    for n in 0..100 {
        house.broker.get(&ask(&format!("pay/n{n}"))).await.unwrap();
    }
    house.broker.cache().tidy();
    assert!((1..=10).contains(&house.broker.cache().len()));
}

#[tokio::test(start_paused = true)]
async fn names_that_do_not_exist_drive_out_no_value_and_are_remembered_within_bounds() {
    let vault = Scripted::new("s", "pay");
    for n in 0..10 {
        vault.set(&format!("n{n}"), "x");
    }
    let cache = CacheOptions { max_entries: 10, ..CacheOptions::default() };
    let house = House::with(&[&vault], BrokerOptions { cache, ..BrokerOptions::default() }).await;
    for n in 0..10 {
        house.broker.get(&ask(&format!("pay/n{n}"))).await.unwrap();
    }
    for n in 0..1_000 {
        house.broker.get(&ask(&format!("pay/absent{n}"))).await.unwrap_err();
        house.broker.cache().tidy();
    }
    let census = house.broker.cache().census();
    assert_eq!((census.values, census.refusals), (10, 10));
    // When what was remembered is over, there is room again.
    advance(Duration::from_secs(60)).await;
    let calls = vault.gets();
    let _ = house.broker.cache().due(sidekey::clock::Moment::now());
    for _ in 0..3 {
        house.broker.get(&ask("pay/absent")).await.unwrap_err();
    }
    assert_eq!(vault.gets(), calls + 1);
}
