//! What a 429 does.

use std::sync::Arc;
use std::time::Duration;

use sidekey::budget::{BudgetOptions, BudgetedVault, Budgets};
use sidekey::metrics::Metrics;
use sidekey::vaults::{VaultErrorKind, VaultInfo};
use tokio::time::Instant;

use super::asked::{Asked, get, gets, list, pass, throttled, within};

#[tokio::test(start_paused = true)]
async fn a_429_closes_the_whole_vault_until_the_time_it_told_and_who_asks_meanwhile_is_told_that() {
    let vault = Asked::new("pay");
    let (budgeted, metrics) = within(&vault, BudgetOptions::default());
    vault.tell([throttled(Some(30))]);
    assert_eq!(get(&budgeted).await.unwrap_err().worth_trying_after(), None, "this one was asked");
    for second in 0..29 {
        let began = Instant::now();
        let error = get(&budgeted).await.unwrap_err();
        assert!(list(&budgeted).await.is_err());
        assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for what is far away");
        let left = error.worth_trying_after().unwrap();
        assert_eq!(error.kind(), &VaultErrorKind::Throttled { retry_after: Some(left) });
        assert!((30 - second - 1..=60 - second).contains(&left.as_secs()), "{left:?} in second {second}");
        assert!(metrics.encode().contains("sidekey_gate_closed_seconds{vault=\"s:pay\"} "));
        pass(1.0).await;
    }
    assert_eq!(vault.calls(), 1);
    pass(31.0).await;
    get(&budgeted).await.unwrap();
    list(&budgeted).await.unwrap();
    assert!(metrics.encode().contains("sidekey_gate_closed_seconds{vault=\"s:pay\"} 0\n"));
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_opens_soon_is_waited_for_and_calls_under_way_change_little() {
    let vault = Asked::new("pay");
    let (budgeted, metrics) = within(&vault, BudgetOptions::default());
    vault.tell(vec![throttled(Some(0)); 10]);
    gets(&budgeted, 10).await;
    assert!(
        metrics.encode().contains("sidekey_calls_at_once{vault=\"s:pay\"} 16\n"),
        "ten at once are one: halved once"
    );
    let began = Instant::now();
    get(&budgeted).await.unwrap();
    let waited = began.elapsed();
    assert!((Duration::from_millis(990)..=Duration::from_secs(2)).contains(&waited), "{waited:?}");
    assert_eq!(vault.calls(), 11);
}

#[tokio::test(start_paused = true)]
async fn absurd_wishes_are_clamped_and_without_a_wish_the_wait_grows() {
    for (told, least, most) in [(Some(0), 1.0, 2.0), (Some(1_000_000_000), 300.0, 360.0)] {
        let vault = Asked::new("pay");
        let (budgeted, _) = within(&vault, BudgetOptions::default());
        vault.tell([throttled(told)]);
        get(&budgeted).await.unwrap_err();
        let left = left(&vault, &budgeted).await;
        assert!((least..=most).contains(&left), "{told:?}: {left}");
    }
    let vault = Asked::new("pay");
    let (budgeted, _) = within(&vault, BudgetOptions::default());
    *vault.always.lock().unwrap() = Some(throttled(None));
    let mut waits = Vec::new();
    get(&budgeted).await.unwrap_err();
    for _ in 0..12 {
        waits.push(left(&vault, &budgeted).await);
    }
    // Beyond it, a token of the least rate may be waited for.
    assert!(waits.iter().all(|wait| (0.9..=66.0).contains(wait)), "{waits:?}");
    assert!(waits[6..].iter().sum::<f64>() > 2.0 * waits[..6].iter().sum::<f64>(), "{waits:?}");
}

/// Seconds until the next call goes.
async fn left(vault: &Arc<Asked>, budgeted: &BudgetedVault) -> f64 {
    let (began, calls) = (Instant::now(), vault.calls());
    while vault.calls() == calls {
        match get(budgeted).await {
            Ok(()) => {}
            Err(error) => pass(error.worth_trying_after().map_or(0.0, |after| after.as_secs_f64())).await,
        }
    }
    began.elapsed().as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn after_a_429_the_vault_is_asked_slowly_at_first() {
    let vault = Asked::new("pay");
    let (budgeted, _) = within(&vault, BudgetOptions::default());
    vault.tell([throttled(Some(10))]);
    get(&budgeted).await.unwrap_err();
    left(&vault, &budgeted).await;
    let before = vault.calls();
    let all = gets(&budgeted, 300).await;
    let most = vault.most_within(Duration::from_millis(100));
    assert!(most <= 20, "no burst of a hundred: {most}");
    let soon = all.iter().filter(|(outcome, took)| outcome.is_ok() && *took < Duration::from_secs(1)).count();
    assert!((90..140).contains(&soon), "half the rate, and more as they succeed: {soon}");
    assert!(vault.calls() - before < 300);
}

#[tokio::test(start_paused = true)]
async fn two_sources_of_one_vault_share_its_gate_and_another_vault_knows_nothing_of_it() {
    let budgets = Budgets::new(BudgetOptions::default(), Metrics::default());
    let vault = |source: &str, name: &str| {
        let info = VaultInfo::new(source.parse().unwrap(), name.parse().unwrap());
        let asked = Asked::of(VaultInfo { uri: Some(format!("https://{name}.vault.example/")), ..info });
        (Arc::clone(&asked), BudgetedVault::new(asked, &budgets))
    };
    let ((first, a), (second, b), (_, other)) = (vault("a", "pay"), vault("b", "pay"), vault("a", "hr"));
    first.tell([throttled(Some(60))]);
    get(&a).await.unwrap_err();
    assert_eq!(get(&b).await.unwrap_err().reason(), "throttled");
    assert_eq!(second.calls(), 0);
    assert!(gets(&other, 50).await.iter().all(|(outcome, _)| outcome.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn sidecars_that_were_refused_in_the_same_second_do_not_come_back_in_the_same() {
    let mut opened = Vec::new();
    for seed in 0..20 {
        let vault = Asked::new("pay");
        let (budgeted, _) = within(&vault, BudgetOptions { seed, ..BudgetOptions::default() });
        vault.tell([throttled(Some(10))]);
        get(&budgeted).await.unwrap_err();
        opened.push(left(&vault, &budgeted).await as u64);
    }
    opened.sort_unstable();
    opened.dedup();
    assert!(opened.len() >= 6 && opened[0] >= 9, "{opened:?}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_subscription_when_the_gate_closes_does_not_go() {
    let options = BudgetOptions { subscription_per_second: 2, subscription_burst: 1, ..BudgetOptions::default() };
    let vault = Asked::new("pay");
    let (budgeted, _) = within(&vault, options);
    *vault.latency.lock().unwrap() = Duration::from_millis(100);
    vault.tell([throttled(Some(30))]);
    let all = gets(&budgeted, 2).await;
    assert!(all.iter().all(|(outcome, _)| outcome.is_err()), "{all:?}");
    assert_eq!(vault.calls(), 1);
}
