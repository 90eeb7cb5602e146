use std::collections::VecDeque;

use time::OffsetDateTime;
use tokio::sync::Notify;

use super::*;

const VAULT: &str = "https://vault.azure.net/.default";
const ARM: &str = "https://management.azure.com/.default";

/// Answers from a list, then with tokens of an hour; counts what it was asked.
#[derive(Debug, Default)]
struct Scripted {
    answers: Mutex<VecDeque<Result<u64, VaultErrorKind>>>,
    asked: Mutex<Vec<String>>,
    /// While it is set, sign-ins for it wait.
    held_up: Option<(&'static str, Notify)>,
}

impl Scripted {
    fn calls(&self) -> usize {
        lock(&self.asked).len()
    }
}

#[async_trait]
impl Issuer for Scripted {
    async fn issue(&self, scope: &str) -> Result<Issued, VaultError> {
        let number = {
            let mut asked = lock(&self.asked);
            asked.push(scope.to_owned());
            asked.len()
        };
        if let Some((which, notify)) = &self.held_up
            && *which == scope
        {
            notify.notified().await;
        }
        let answer = lock(&self.answers).pop_front().unwrap_or(Ok(3600));
        let life = answer.map_err(|kind| VaultError::new(kind, "scripted"))?;
        let expires = OffsetDateTime::now_utc() + Duration::from_secs(life);
        Ok(Issued::new(&AccessToken::new(format!("token-{number}"), expires), 0))
    }
}

fn tokens(answers: impl IntoIterator<Item = Result<u64, VaultErrorKind>>) -> (Arc<Scripted>, Arc<Tokens>) {
    with(Scripted { answers: Mutex::new(answers.into_iter().collect()), ..Scripted::default() })
}

fn with(issuer: Scripted) -> (Arc<Scripted>, Arc<Tokens>) {
    let issuer = Arc::new(issuer);
    (Arc::clone(&issuer), tokens_of(issuer))
}

pub(super) fn tokens_of(issuer: Arc<dyn Issuer>) -> Arc<Tokens> {
    let resources = ["https://vault.azure.net", "https://management.azure.com"].map(|url| Url::parse(url).unwrap());
    let limits = Limits { call: Duration::from_secs(10), look_every: Duration::from_secs(2) };
    Tokens::new(issuer, Scopes::of(resources), limits, (Metrics::default(), "prod".into()))
}

async fn secret(tokens: &Tokens, scope: &str) -> String {
    tokens.get(scope).await.expect("a token").open().to_string()
}

/// Lets spawned sign-ins run to their end.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn outage() -> VaultErrorKind {
    VaultErrorKind::Unavailable(Outage::Server(503))
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_sign_in_and_later_ones_need_none() {
    let (issuer, tokens) = tokens([]);
    let all = futures::future::join_all((0..100).map(|_| tokens.get(VAULT))).await;
    assert!(all.iter().all(|token| token.as_ref().unwrap().is("token-1")));
    secret(&tokens, VAULT).await;
    assert_eq!(issuer.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_behind_the_callers_between_half_and_three_quarters_of_its_life() {
    let (issuer, tokens) = tokens([]);
    secret(&tokens, VAULT).await;
    tokio::time::advance(Duration::from_secs(1790)).await;
    assert_eq!(secret(&tokens, VAULT).await, "token-1");
    settle().await;
    assert_eq!(issuer.calls(), 1, "not before half of its life");
    tokio::time::advance(Duration::from_secs(930)).await;
    assert_eq!(secret(&tokens, VAULT).await, "token-1", "the caller does not wait for the renewal");
    settle().await;
    assert_eq!(secret(&tokens, VAULT).await, "token-2");
    assert_eq!(issuer.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_keeps_the_token_until_it_expires_and_does_not_hammer() {
    let (issuer, tokens) = tokens([Ok(3600)].into_iter().chain((0..100).map(|_| Err(outage()))));
    secret(&tokens, VAULT).await;
    tokio::time::advance(Duration::from_secs(2701)).await;
    for _ in 0..880 {
        assert_eq!(secret(&tokens, VAULT).await, "token-1");
        settle().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!((20..50).contains(&(issuer.calls() - 1)), "{} renewals tried in 15 min", issuer.calls() - 1);
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(tokens.get(VAULT).await.unwrap_err().kind(), &outage(), "an expired token is not given out");
}

#[tokio::test(start_paused = true)]
async fn a_token_of_five_minutes_or_less_is_not_asked_for_on_every_call() {
    let (issuer, tokens) = tokens([Ok(300), Ok(300)]);
    for _ in 0..140 {
        secret(&tokens, VAULT).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(issuer.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_replaced_once_by_all_its_bearers_together() {
    let (issuer, tokens) = tokens([]);
    let bearer = secret(&tokens, VAULT).await;
    for _ in 0..20 {
        tokens.refused(&bearer, None);
    }
    let all = futures::future::join_all((0..20).map(|_| secret(&tokens, VAULT))).await;
    assert!(all.iter().all(|token| token == "token-2"));
    tokens.refused(&bearer, None);
    assert_eq!(secret(&tokens, VAULT).await, "token-2", "a late refusal of the old token does not cost the new one");
    assert_eq!(issuer.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_persists_does_not_become_a_loop_of_sign_ins() {
    let (issuer, tokens) = tokens([]);
    for _ in 0..600 {
        let bearer = secret(&tokens, VAULT).await;
        tokens.refused(&bearer, Some("AKV10046"));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(issuer.calls() <= 11, "{} sign-ins in 10 min", issuer.calls());
}

#[tokio::test(start_paused = true)]
async fn a_vault_of_another_tenant_does_not_cost_the_others_their_token() {
    let (issuer, tokens) = tokens([]);
    let bearer = secret(&tokens, VAULT).await;
    tokens.refused(&bearer, Some("AKV10032"));
    assert_eq!(secret(&tokens, VAULT).await, bearer);
    assert_eq!(issuer.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_that_cannot_be_replaced_is_kept() {
    let (_, tokens) = tokens([Ok(3600), Err(outage())]);
    let bearer = secret(&tokens, VAULT).await;
    tokens.refused(&bearer, None);
    assert_eq!(secret(&tokens, VAULT).await, bearer);
}

#[tokio::test(start_paused = true)]
async fn scopes_do_not_wait_for_one_another() {
    let (issuer, tokens) = with(Scripted { held_up: Some((VAULT, Notify::new())), ..Scripted::default() });
    let mut waiting = Box::pin(secret(&tokens, VAULT));
    assert!(waiting.as_mut().now_or_never().is_none());
    settle().await;
    assert_eq!(secret(&tokens, ARM).await, "token-2");
    issuer.held_up.as_ref().unwrap().1.notify_one();
    assert_eq!(waiting.await, "token-1");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_does_not_take_the_sign_in_with_it() {
    let (issuer, tokens) = with(Scripted { held_up: Some((VAULT, Notify::new())), ..Scripted::default() });
    assert!(tokens.get(VAULT).now_or_never().is_none());
    settle().await;
    issuer.held_up.as_ref().unwrap().1.notify_one();
    assert_eq!(secret(&tokens, VAULT).await, "token-1");
    assert_eq!(issuer.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_sign_in_that_hangs_ends_at_its_limit() {
    let (_, tokens) = with(Scripted { held_up: Some((VAULT, Notify::new())), ..Scripted::default() });
    assert_eq!(tokens.get(VAULT).await.unwrap_err().kind(), &VaultErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_failed_sign_in_is_remembered_for_moments_only() {
    let wrong = VaultErrorKind::Unauthenticated { code: Some("AADSTS7000215".into()) };
    let (issuer, tokens) = tokens([Err(wrong.clone())]);
    for _ in 0..50 {
        assert_eq!(tokens.get(VAULT).await.unwrap_err().kind(), &wrong);
    }
    assert_eq!(issuer.calls(), 1);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(secret(&tokens, VAULT).await, "token-2");
}

#[tokio::test(start_paused = true)]
async fn only_this_clouds_resources_get_a_token_and_slashes_do_not_make_a_second_one() {
    let (issuer, tokens) = tokens([]);
    for foreign in [
        "https://evil.example/.default",
        "https://graph.microsoft.com/.default",
        "https://vault.azure.net/other/.default",
        "https://vault.azure.net.evil.example/.default",
        "http://vault.azure.net/.default",
        "https://vault.azure.net",
        "",
    ] {
        assert_eq!(tokens.get(foreign).await.unwrap_err().kind(), &VaultErrorKind::Malformed, "{foreign}");
    }
    assert_eq!(issuer.calls(), 0);
    secret(&tokens, VAULT).await;
    secret(&tokens, "https://vault.azure.net//.default").await;
    assert_eq!(lock(&issuer.asked).as_slice(), [VAULT]);
}

#[test]
fn a_clock_that_is_wrong_makes_no_token_useless_and_none_eternal() {
    let life = |offset: time::Duration| Issued::new(&AccessToken::new("t", OffsetDateTime::now_utc() + offset), 0).life;
    let hour = life(time::Duration::HOUR).as_secs();
    assert!((3599..=3600).contains(&hour), "{hour}");
    assert_eq!(life(time::Duration::days(-3650)), Duration::from_secs(60), "it is tried, and not asked for in a loop");
    assert_eq!(life(time::Duration::days(3650)), Duration::from_secs(28 * 3600));
}
