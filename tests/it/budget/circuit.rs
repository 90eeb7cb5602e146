//! What an outage does.

use std::sync::Arc;
use std::time::Duration;

use sidekey::budget::{BudgetOptions, BudgetedVault, Budgets};
use sidekey::metrics::Metrics;
use sidekey::vaults::{Denial, VaultErrorKind};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::asked::{Asked, DOWN, get, gets, list, pass, throttled, within};

#[tokio::test(start_paused = true)]
async fn after_three_outages_in_a_row_one_call_at_a_time_tries_and_all_others_are_told_at_once() {
    let vault = Asked::new("pay");
    let (budgeted, metrics) = within(&vault, BudgetOptions::default());
    *vault.always.lock().unwrap() = Some(DOWN);
    for _ in 0..3 {
        assert_eq!(get(&budgeted).await.unwrap_err().worth_trying_after(), None);
    }
    assert!(metrics.encode().contains("sidekey_circuit_open{vault=\"s:pay\"} 1\n"));
    *vault.latency.lock().unwrap() = Duration::from_secs(1);
    let hour = Instant::now();
    vault.most_at_once.store(0, std::sync::atomic::Ordering::Relaxed);
    while hour.elapsed() < Duration::from_secs(3_600) {
        let all = gets(&budgeted, 20).await;
        let asked = all.iter().filter(|(outcome, _)| outcome.as_ref().unwrap_err().worth_trying_after().is_none());
        assert!(asked.count() <= 1);
        let others = all.iter().filter(|(outcome, _)| outcome.as_ref().unwrap_err().worth_trying_after().is_some());
        for (outcome, took) in others {
            assert_eq!((outcome.as_ref().unwrap_err().kind(), *took), (&DOWN, Duration::ZERO));
        }
        pass(0.1).await;
    }
    assert_eq!(vault.most_at_once.load(std::sync::atomic::Ordering::Relaxed), 1);
    let probes = vault.between(600.0, 3_600.0);
    assert!((100..400).contains(&probes), "every fifteen seconds on the average: {probes}");

    *vault.always.lock().unwrap() = None;
    *vault.latency.lock().unwrap() = Duration::from_millis(1);
    let healed = Instant::now();
    while get(&budgeted).await.is_err() {
        pass(0.1).await;
    }
    assert!(healed.elapsed() <= Duration::from_secs(31), "{:?}", healed.elapsed());
    assert!(metrics.encode().contains("sidekey_circuit_open{vault=\"s:pay\"} 0\n"));
    assert!(gets(&budgeted, 50).await.iter().all(|(outcome, _)| outcome.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn whatever_a_vault_says_itself_is_an_answer_and_a_sign_in_that_fails_says_nothing() {
    let answers =
        [VaultErrorKind::NotFound, VaultErrorKind::Disabled, VaultErrorKind::Denied(Denial::Rbac), throttled(Some(1))];
    for answer in answers {
        let vault = Asked::new("pay");
        let (budgeted, _) = within(&vault, BudgetOptions::default());
        vault.tell([DOWN, VaultErrorKind::TimedOut, answer.clone(), DOWN, DOWN]);
        for _ in 0..5 {
            get(&budgeted).await.unwrap_err();
            pass(3.0).await;
        }
        get(&budgeted).await.unwrap_or_else(|error| panic!("two in a row are not three, after {answer:?}: {error}"));
    }
    for nothing in [VaultErrorKind::Unauthenticated { code: None }, VaultErrorKind::Malformed] {
        let vault = Asked::new("pay");
        let (budgeted, _) = within(&vault, BudgetOptions::default());
        vault.tell(vec![nothing.clone(); 10]);
        vault.tell([DOWN, nothing.clone(), DOWN, nothing, DOWN]);
        for _ in 0..15 {
            assert_eq!(get(&budgeted).await.unwrap_err().worth_trying_after(), None, "it was asked");
        }
        assert!(get(&budgeted).await.unwrap_err().worth_trying_after().is_some(), "three, with nothing between");
    }
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_is_silent_until_its_callers_give_up_does_not_answer() {
    let vault = Asked::new("pay");
    let (budgeted, metrics) = within(&vault, BudgetOptions::default());
    *vault.latency.lock().unwrap() = Duration::from_secs(86_400);
    for _ in 0..10 {
        // Going away soon says nothing.
        assert!(timeout(Duration::from_secs(1), get(&budgeted)).await.is_err());
    }
    for _ in 0..3 {
        assert!(timeout(Duration::from_secs(10), get(&budgeted)).await.is_err());
    }
    let error = get(&budgeted).await.unwrap_err();
    assert_eq!(error.kind(), &VaultErrorKind::TimedOut);
    let told = metrics.encode();
    for line in [
        "sidekey_upstream_calls_total{vault=\"s:pay\",endpoint=\"get\",outcome=\"given-up\"} 10\n",
        "sidekey_upstream_calls_total{vault=\"s:pay\",endpoint=\"get\",outcome=\"timed-out\"} 3\n",
        "sidekey_calls_held_back_total{vault=\"s:pay\",reason=\"circuit\"} 1\n",
    ] {
        assert!(told.contains(line), "{line} is missing in {told}");
    }
    // One that tried and went away is followed by another.
    pass(30.0).await;
    assert!(timeout(Duration::from_millis(10), get(&budgeted)).await.is_err());
    *vault.latency.lock().unwrap() = Duration::from_millis(1);
    pass(30.0).await;
    get(&budgeted).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_listing_tries_too_and_its_success_lets_all_in() {
    let vault = Asked::new("pay");
    let (budgeted, _) = within(&vault, BudgetOptions::default());
    vault.tell([DOWN, DOWN, DOWN]);
    for _ in 0..3 {
        list(&budgeted).await.unwrap_err();
    }
    assert!(get(&budgeted).await.is_err());
    pass(30.0).await;
    list(&budgeted).await.unwrap();
    assert!(gets(&budgeted, 50).await.iter().all(|(outcome, _)| outcome.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn a_vault_that_hangs_takes_nothing_from_another() {
    let (hung, well) = (Asked::new("hung"), Asked::new("well"));
    let budgets = Budgets::new(BudgetOptions::default(), Metrics::default());
    let [a, b] = [&hung, &well].map(|vault| Arc::new(BudgetedVault::new(Arc::<Asked>::clone(vault), &budgets)));
    hung.held.forget_permits(usize::MAX);
    let mut stuck = JoinSet::new();
    stuck.spawn(async move { gets(&a, 90).await.len() });
    pass(0.1).await;
    let all = gets(&b, 90).await;
    assert!(all.iter().all(|(outcome, took)| outcome.is_ok() && *took < Duration::from_millis(10)));
    assert!(stuck.try_join_next().is_none());
}
