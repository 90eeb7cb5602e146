//! How much a vault is asked.

use std::sync::Arc;
use std::time::Duration;

use sidekey::budget::{BudgetOptions, BudgetedSource, BudgetedVault, Budgets};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::metrics::Metrics;
use sidekey::vaults::memory::MemorySource;
use sidekey::vaults::{Source, Vault, VaultInfo};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::asked::{Asked, get, gets, list, pass, throttled, within};

fn options(reads_per_second: u32, burst: u32) -> BudgetOptions {
    BudgetOptions { reads_per_second, burst, ..BudgetOptions::default() }
}

#[tokio::test(start_paused = true)]
async fn a_vault_sees_its_burst_and_its_rate_and_who_would_wait_longer_than_two_seconds_is_told_when_to_come() {
    let vault = Asked::new("pay");
    let (budgeted, metrics) = within(&vault, BudgetOptions::default());
    let all = gets(&budgeted, 1_000).await;
    let served = all.iter().filter(|(outcome, _)| outcome.is_ok()).count();
    assert!((470..=481).contains(&served), "100 at once and 190 in each of two seconds: {served}");
    assert!(all.iter().all(|(_, took)| *took <= Duration::from_millis(2_010)), "nobody waits longer");
    let refused = all.iter().find_map(|(outcome, _)| outcome.as_ref().err()).unwrap();
    let after = refused.worth_trying_after().expect("it was not asked");
    assert_eq!(refused.reason(), "throttled");
    assert!(after < Duration::from_secs(1), "{after:?}");
    assert_eq!(vault.calls(), served);
    assert!(vault.most_within(Duration::from_millis(100)) <= 100 + 19);
    let told = metrics.encode();
    let line = format!("sidekey_calls_held_back_total{{vault=\"s:pay\",reason=\"rate\"}} {}\n", 1_000 - served);
    assert!(told.contains(&line), "{line} is missing in {told}");
}

#[tokio::test(start_paused = true)]
async fn by_default_no_ten_seconds_see_more_than_half_of_what_key_vault_allows() {
    let vault = Asked::new("pay");
    let (budgeted, _) = within(&vault, BudgetOptions::default());
    for _ in 0..30 {
        // More than it may, all the time.
        gets(&budgeted, 500).await;
    }
    assert!(vault.calls() > 5_000, "{}", vault.calls());
    assert!(vault.most_within(Duration::from_secs(10)) <= 2_000, "{}", vault.most_within(Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn neither_a_quiet_day_nor_a_process_that_stood_still_saves_up_more_than_the_burst() {
    let vault = Asked::new("pay");
    let (budgeted, _) = within(&vault, options(10, 5));
    pass(86_400.0).await;
    let before = vault.calls();
    let readers = gets(&budgeted, 100);
    let frozen = async {
        pass(0.05).await;
        // All timers of those who wait are due at once.
        tokio::time::advance(Duration::from_secs(3_600)).await;
    };
    futures::join!(readers, frozen);
    assert!(vault.calls() - before <= 10, "one burst before it, and one after: {}", vault.calls() - before);
}

#[tokio::test(start_paused = true)]
async fn readers_that_go_away_leave_what_they_waited_for_to_others() {
    let vault = Asked::new("pay");
    let (budgeted, _) = within(&vault, options(10, 1));
    get(&budgeted).await.unwrap();
    for _ in 0..5 {
        let gone = tokio::time::timeout(Duration::from_millis(10), get(&budgeted)).await;
        assert!(gone.is_err());
    }
    let began = Instant::now();
    get(&budgeted).await.unwrap();
    assert!(began.elapsed() <= Duration::from_millis(60), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_listing_pays_by_the_page_and_leaves_a_reserve_to_reads() {
    let vault = Asked::new("pay");
    *vault.pages.lock().unwrap() = vec![25; 30];
    let (budgeted, metrics) = within(&vault, options(10, 20));
    let mut listing = JoinSet::new();
    listing.spawn({
        let budgeted = Arc::clone(&budgeted);
        async move { list(&budgeted).await }
    });
    pass(0.05).await;
    assert_eq!(vault.calls(), 15, "a quarter of the burst is kept");
    let began = Instant::now();
    for read in gets(&budgeted, 5).await {
        read.0.unwrap();
    }
    assert!(began.elapsed() <= Duration::from_millis(5), "reads did not wait");
    assert_eq!(listing.join_next().await.unwrap().unwrap().unwrap(), 30 * 25, "and the listing comes to its end");
    assert_eq!(vault.calls(), 35);
    let told = metrics.encode();
    for line in [
        "sidekey_upstream_calls_total{vault=\"s:pay\",endpoint=\"list\",outcome=\"ok\"} 30\n",
        "sidekey_upstream_calls_total{vault=\"s:pay\",endpoint=\"get\",outcome=\"ok\"} 5\n",
    ] {
        assert!(told.contains(line), "{line} is missing in {told}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_are_shorter_than_they_might_be_are_paid_for_too() {
    let vault = Asked::new("pay");
    *vault.pages.lock().unwrap() = vec![10, 0, 3, 10];
    let (budgeted, metrics) = within(&vault, options(1, 12));
    assert_eq!(list(&budgeted).await.unwrap(), 23);
    let line = "sidekey_upstream_calls_total{vault=\"s:pay\",endpoint=\"list\",outcome=\"ok\"} 3\n";
    assert!(metrics.encode().contains(line), "an empty page cannot be seen: {}", metrics.encode());
    let left = gets(&budgeted, 12).await.iter().filter(|(_, took)| *took < Duration::from_millis(500)).count();
    assert_eq!(left, 12 - 3);
}

#[tokio::test(start_paused = true)]
async fn the_vaults_of_a_subscription_share_its_rate_and_no_other_is_touched() {
    let options = BudgetOptions { subscription_per_second: 10, subscription_burst: 6, ..BudgetOptions::default() };
    let budgets = Budgets::new(options, Metrics::default());
    let vault = |name: &str, subscription: &str| {
        let info = VaultInfo::new("s".parse().unwrap(), name.parse().unwrap());
        let asked = Asked::of(VaultInfo { subscription: Some(subscription.to_owned()), ..info });
        (Arc::clone(&asked), BudgetedVault::new(asked, &budgets))
    };
    let ((one, a), (two, b), (other, c)) = (vault("one", "x"), vault("two", "x"), vault("other", "y"));
    futures::join!(gets(&a, 100), gets(&b, 100), gets(&c, 6));
    assert!((25..=26).contains(&(one.calls() + two.calls())), "{} and {}", one.calls(), two.calls());
    assert_eq!(other.between(0.0, 0.001), 6);
    assert!(get(&c).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn few_calls_are_under_way_at_once_and_fewer_after_a_429_for_a_while() {
    let vault = Asked::new("pay");
    let (budgeted, metrics) = within(&vault, BudgetOptions { calls_at_once: 8, ..BudgetOptions::default() });
    *vault.latency.lock().unwrap() = Duration::from_millis(200);
    gets(&budgeted, 40).await;
    assert_eq!(vault.most_at_once.swap(0, std::sync::atomic::Ordering::Relaxed), 8);
    vault.tell([throttled(Some(1))]);
    assert!(get(&budgeted).await.is_err());
    assert!(metrics.encode().contains("sidekey_calls_at_once{vault=\"s:pay\"} 4\n"), "{}", metrics.encode());
    pass(2.0).await;
    gets(&budgeted, 10).await;
    let most = vault.most_at_once.swap(0, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(most, 4, "half of them");
    pass(60.0).await;
    gets(&budgeted, 40).await;
    gets(&budgeted, 40).await;
    assert_eq!(vault.most_at_once.load(std::sync::atomic::Ordering::Relaxed), 8);
}

/// The first listing of 500 vaults of 40 secrets, all in one subscription, on virtual time.
async fn first_listing(budgets: Option<Budgets>) -> Duration {
    let vaults = (0..500).map(|number| {
        let info = VaultInfo::new("s".parse().unwrap(), format!("v{number}").parse().unwrap());
        let vault = Asked::of(VaultInfo { subscription: Some("one".to_owned()), ..info });
        *vault.latency.lock().unwrap() = Duration::from_millis(20);
        *vault.pages.lock().unwrap() = vec![25, 15];
        vault as Arc<dyn Vault>
    });
    let source: Arc<dyn Source> = Arc::new(MemorySource::new("s".parse().unwrap(), vaults.collect()));
    let source = match budgets {
        Some(budgets) => Arc::new(BudgetedSource::new(source, budgets)),
        None => source,
    };
    let catalog = Catalog::new(vec![source], CatalogOptions::default());
    let began = Instant::now();
    catalog.refresh(None).await;
    assert_eq!(catalog.progress().borrow().secrets, 20_000);
    began.elapsed()
}

#[test]
fn a_subscription_is_asked_half_of_what_azure_serves_it_in_any_ten_seconds() {
    let BudgetOptions { subscription_per_second, subscription_burst, .. } = BudgetOptions::default();
    assert_eq!(10 * subscription_per_second + subscription_burst, 20_000 / 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_listing_of_many_vaults_waits_for_nothing_but_what_the_burst_leaves_to_reads() {
    let within = |options| Some(Budgets::new(options, Metrics::default()));
    let unhindered = Duration::from_millis(120);
    assert_eq!(first_listing(None).await, unhindered, "three times 192 vaults at once, two pages each");
    assert_eq!(first_listing(within(BudgetOptions::default())).await, unhindered, "1,000 pages are of the burst");
    // Of 1,000 pages 750 are of the burst, the rest come at 900 a second, and the last one is 20 ms away.
    let less = BudgetOptions { subscription_per_second: 900, subscription_burst: 1_000, ..BudgetOptions::default() };
    assert_eq!(first_listing(within(less)).await, Duration::from_millis(278 + 20));
}
