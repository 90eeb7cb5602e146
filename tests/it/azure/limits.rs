//! The wire at its worst: what does not answer, answers too much, or sends elsewhere.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use sidekey::catalog::{Catalog, CatalogOptions, Reach};
use sidekey::vaults::azure::{AzureSource, Cloud, ConfiguredVault, SetupError, WireLimits};
use sidekey::vaults::{Outage, Source, VaultErrorKind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::stage::{Asked, Reply, Stage, VERSION, impatient};

async fn kind_of(stage: &Stage, limits: WireLimits) -> VaultErrorKind {
    let vault = stage.vault_with(|settings| settings.wire = limits);
    vault.get(&"a".parse().unwrap(), None).await.expect_err("a failure").kind().clone()
}

/// A stage whose vaults always answer alike, token or not.
async fn vaults(reply: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Stage {
    Stage::new(move |asked| asked.host.contains(".vault.").then(|| reply(asked))).await
}

fn few_retries() -> WireLimits {
    WireLimits { retries: 2, ..WireLimits::default() }
}

#[tokio::test]
async fn a_failure_that_may_pass_is_tried_again_a_few_times_in_one_layer() {
    for (reply, expected) in [
        (Reply::text(503, ""), VaultErrorKind::Unavailable(Outage::Server(503))),
        (Reply::text(500, ""), VaultErrorKind::Unavailable(Outage::Server(500))),
        (Reply::Cut, VaultErrorKind::Unavailable(Outage::Connection)),
    ] {
        let stage = vaults(move |_| reply.clone()).await;
        assert_eq!(kind_of(&stage, few_retries()).await, expected);
        assert_eq!(stage.count("pay.vault.azure.net"), 3, "one try and two more: {expected:?}");
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_not_seen_by_the_caller() {
    let calls = AtomicUsize::new(0);
    let stage = Stage::new(move |asked| {
        let ours = asked.host.contains(".vault.") && asked.authorization.is_some();
        ours.then(|| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::Cut,
            1 => Reply::text(502, "bad gateway"),
            _ => Reply::secret(&asked.host, "a", VERSION, "good"),
        })
    })
    .await;
    let vault = stage.vault();
    assert_eq!(vault.get(&"a".parse().unwrap(), None).await.unwrap().value.expose(), b"good");
}

#[tokio::test]
async fn a_retry_after_beyond_the_limit_of_a_call_is_told_and_not_waited_for() {
    for (status, wait) in [(429, "3600"), (503, "3600"), (429, "99999999999999999")] {
        let stage = vaults(move |_| Reply::text(status, "").header("retry-after", wait)).await;
        let expected = match status {
            429 => VaultErrorKind::Throttled { retry_after: Some(Duration::from_secs(wait.parse().unwrap())) },
            status => VaultErrorKind::Unavailable(Outage::Server(status)),
        };
        assert_eq!(kind_of(&stage, few_retries()).await, expected);
        assert_eq!(stage.count("pay.vault.azure.net"), 1, "there was no time for a second try");
    }
}

#[tokio::test]
async fn a_throttled_vault_keeps_nobody_waiting_for_long_whatever_the_limit_of_a_call() {
    let hour = Duration::from_secs(3600);
    let wire = WireLimits { call: hour, attempt: hour, ..few_retries() };
    let stage = vaults(|_| Reply::text(429, "").header("retry-after", "30")).await;
    let throttled = VaultErrorKind::Throttled { retry_after: Some(Duration::from_secs(30)) };
    let source = stage.source_with(|settings| settings.wire = wire.clone());
    let catalog = Catalog::new(vec![Arc::new(source)], CatalogOptions::default());
    stage.forget();
    let mut running = JoinSet::new();
    running.spawn(catalog.clone().run(CancellationToken::new()));
    catalog.first_round().await;
    let pay = catalog.status(&"pay".parse().unwrap()).unwrap();
    let Reach::ListingFailed(error) = pay.reach else { panic!("{:?}", pay.reach) };
    assert_eq!(error.kind(), &throttled);
    assert_eq!(stage.count("pay.vault.azure.net"), 1, "the catalog comes back when the vault wants it, not this layer");
    drop(running);

    stage.forget();
    assert_eq!(kind_of(&stage, wire).await, throttled);
    assert_eq!(stage.count("pay.vault.azure.net"), 1);
}

#[tokio::test]
async fn entra_and_resource_manager_are_not_waited_for_without_end_either() {
    let hour = Duration::from_secs(3600);
    for busy in ["login.microsoftonline.com", "management.azure.com"] {
        let stage =
            Stage::new(move |asked| (asked.host == busy).then(|| Reply::text(429, "").header("retry-after", "30")))
                .await;
        let source = stage.source_with(|settings| {
            settings.wire = WireLimits { call: hour, attempt: hour, ..few_retries() };
        });
        let round = source.discover().await;
        assert!(round.faults.iter().any(|fault| fault.reason() == "throttled"), "{busy}: {:?}", round.faults);
        assert_eq!(round.vaults.len(), 1, "what the configuration names needs neither");
    }
}

#[tokio::test]
async fn a_429_is_told_at_once_however_short_the_pause_it_asks_for() {
    for header in [None, Some("0"), Some("1")] {
        let stage = vaults(move |_| {
            let reply = Reply::text(429, "");
            if let Some(wait) = header { reply.header("retry-after", wait) } else { reply }
        })
        .await;
        let retry_after = header.map(|wait| Duration::from_secs(wait.parse().unwrap()));
        assert_eq!(kind_of(&stage, few_retries()).await, VaultErrorKind::Throttled { retry_after });
        assert_eq!(stage.count("pay.vault.azure.net"), 1, "the vault's budget is kept elsewhere: {header:?}");
    }
}

#[tokio::test]
async fn a_vault_that_fails_for_all_is_not_asked_twice_as_often_for_it() {
    let stage = vaults(|_| Reply::text(500, "")).await;
    let vault = stage.vault_with(|settings| settings.wire = few_retries());
    for n in 0..40 {
        vault.get(&format!("a{n}").parse().unwrap(), None).await.expect_err("a failure");
    }
    assert_eq!(stage.count("pay.vault.azure.net"), 40 + 4, "a tenth is tried again");
}

#[tokio::test]
async fn a_server_that_never_answers_is_a_time_out() {
    let stage = vaults(|_| Reply::Hang).await;
    assert_eq!(kind_of(&stage, impatient()).await, VaultErrorKind::TimedOut);
}

#[tokio::test]
async fn a_connection_that_idles_is_closed_soon_as_its_buffers_hold_what_went_over_it() {
    let stage = vaults(|asked| match asked.authorization {
        Some(_) => Reply::secret(&asked.host, "a", VERSION, "value"),
        None => Reply::challenge(),
    })
    .await;
    let vault = stage.vault();
    vault.get(&"a".parse().unwrap(), None).await.unwrap();
    let mut open = stage.open();
    assert!(*open.borrow() > 0, "it is kept for a while");
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    open.wait_for(|open| *open == 0).await.unwrap();
    // The pool looks as often as it lets idle.
    assert!((4..=11).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_nothing_goes_to_its_target() {
    for target in ["https://evil.example/secrets/a", "https://other.vault.azure.net/secrets/a"] {
        let stage = Stage::new(move |asked| {
            let ours = asked.host == "pay.vault.azure.net" && asked.authorization.is_some();
            ours.then(|| Reply::text(307, "").header("location", target))
        })
        .await;
        assert_eq!(kind_of(&stage, few_retries()).await, VaultErrorKind::Malformed);
        assert_eq!(stage.count("evil.example") + stage.count("other.vault.azure.net"), 0);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_cut_off_before_and_after_decompression() {
    let large = bytes::Bytes::from(vec![b' '; 3 * 1024 * 1024]);
    let bomb = bytes::Bytes::from(gzip_of_zeros());
    assert!(bomb.len() < 1024 * 1024, "by itself it would be let through: {}", bomb.len());
    for reply in [Reply::text(200, large), Reply::text(200, bomb).header("content-encoding", "gzip")] {
        let stage = vaults(move |_| reply.clone()).await;
        let vault = stage.vault_with(|settings| settings.wire = few_retries());
        let error = vault.get(&"a".parse().unwrap(), None).await.expect_err("too large");
        assert_eq!(error.kind(), &VaultErrorKind::Malformed);
        assert!(error.to_string().contains("larger than"), "it was read no further: {error}");
        assert_eq!(stage.count("pay.vault.azure.net"), 1, "it is not asked for again");
    }
}

/// 100 MiB of zeros as a gzip stream of one deflate block with the fixed code: a zero, then matches of 258 bytes at
/// distance 1. Written by hand, as no compressor is among the dependencies.
fn gzip_of_zeros() -> Vec<u8> {
    const LENGTH: usize = 100 * 1024 * 1024;
    let (mut bits, mut filled, mut out) = (0u64, 0, vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let mut put = |value: u64, count: u32, out: &mut Vec<u8>| {
        bits |= value << filled;
        filled += count;
        while filled >= 8 {
            out.push((bits & 0xff) as u8);
            bits >>= 8;
            filled -= 8;
        }
    };
    put(0b011, 3, &mut out); // last block, fixed code
    put(u64::from(0b0011_0000u8.reverse_bits()), 8, &mut out); // the literal 0
    for _ in 0..LENGTH / 258 {
        put(u64::from(0b1100_0101u8.reverse_bits()), 8, &mut out); // length 258
        put(0, 5, &mut out); // distance 1
    }
    put(0, 7, &mut out); // end of block
    put(0, 7, &mut out); // the last byte's rest
    out.extend([0; 8]); // a check that is never reached
    out
}

#[tokio::test]
async fn a_peer_that_is_not_trusted_is_a_tls_failure() {
    let (stage, stranger) = (Stage::new(|_| None).await, Stage::new(|_| None).await);
    let vault = stage.vault_with(|settings| settings.extra_ca = Some(stranger.path("ca.pem")));
    let error = vault.get(&"a".parse().unwrap(), None).await.expect_err("a foreign CA");
    assert_eq!(error.kind(), &VaultErrorKind::Unavailable(Outage::Tls));
    assert!(stage.asked().is_empty());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_a_tls_failure() {
    let stage = Stage::new(|_| None).await;
    let vault = stage.vault_with(|settings| {
        settings.cloud.vault_suffixes = vec![".vault.elsewhere.example".into()];
        settings.resolve.push(("*.vault.elsewhere.example".into(), stage.address()));
    });
    let error = vault.get(&"a".parse().unwrap(), None).await.expect_err("another name's certificate");
    assert_eq!(error.kind(), &VaultErrorKind::Unavailable(Outage::Tls));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_a_connection_failure() {
    let stage = Stage::new(|_| None).await;
    // A port that was free a moment ago, on a loopback address that nothing else binds.
    let listener = std::net::TcpListener::bind((Ipv4Addr::new(127, 255, 1, 1), 0)).unwrap();
    let closed: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    let vault = stage.vault_with(|settings| settings.resolve.push(("pay.vault.azure.net".into(), closed)));
    let error = vault.get(&"a".parse().unwrap(), None).await.expect_err("nobody listens");
    assert_eq!(error.kind(), &VaultErrorKind::Unavailable(Outage::Connection));
}

#[tokio::test]
async fn five_hundred_vaults_share_one_client_and_one_look_at_the_roots() {
    let stage = Stage::new(|_| None).await;
    let source = stage.source_with(|settings| {
        settings.vaults = (0..500).map(|n| ConfiguredVault::Name(format!("v-{n}").parse().unwrap())).collect();
    });
    // Nothing can be loaded any more: a vault with a client of its own could not trust this server.
    std::fs::remove_file(stage.path("ca.pem")).unwrap();
    let vaults = source.discover().await.vaults;
    assert_eq!(vaults.len(), 500);
    for vault in &vaults[..3] {
        let error = vault.list().try_collect::<Vec<_>>().await.expect_err("the stage holds nothing");
        assert_eq!(error.kind(), &VaultErrorKind::NotFound, "it was reached over trusted TLS");
    }
}

/// Set in the child process of the test below.
const CHILD: &str = "SIDEKEY_TEST_WITHOUT_ROOTS";

#[test]
fn without_any_ca_certificate_set_up_fails_in_words_and_does_not_panic() {
    if std::env::vars_os().any(|(name, _)| name == CHILD) {
        let source = AzureSource::new(super::stage::settings_at(SocketAddr::from(([127, 0, 0, 1], 1)), None));
        assert!(matches!(source, Err(SetupError::NoRoots)), "{source:?}");
        return;
    }
    let name = "azure::limits::without_any_ca_certificate_set_up_fails_in_words_and_does_not_panic";
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name])
        .env(CHILD, "1")
        .env("SSL_CERT_FILE", "/nonexistent/bundle.pem")
        .env("SSL_CERT_DIR", "/nonexistent")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_by_their_key() {
    let stage = Stage::new(|_| None).await;
    let refuse = |change: &dyn Fn(&mut sidekey::vaults::azure::AzureSettings)| {
        let mut settings = stage.settings();
        change(&mut settings);
        AzureSource::new(settings).expect_err("cannot work").to_string()
    };
    let uri = |text: &str| vec![ConfiguredVault::Uri(text.parse().unwrap())];
    assert!(refuse(&|s| s.vaults = uri("https://pay.vault.azure.net.evil.example")).contains("evil.example"));
    assert!(refuse(&|s| s.vaults = uri("https://u:p@pay.vault.azure.net")).contains("vaults"));
    assert!(refuse(&|s| s.cloud.vault_suffixes.clear()).contains("vault_suffixes"));
    assert!(refuse(&|s| s.cloud.vault_suffixes = vec!["vault.azure.net".into()]).contains("vault_suffixes"));
    assert!(refuse(&|s| s.cloud.vault_suffixes = vec![".".into()]).contains("vault_suffixes"));
    assert!(refuse(&|s| s.cloud.vault_suffixes = vec![".net".into()]).contains("vault_suffixes"));
    assert!(refuse(&|s| s.include = vec!["a[".into()]).contains("include"));
    assert!(refuse(&|s| s.resolve.push(("*x".into(), stage.address()))).contains("resolve"));
    assert!(refuse(&|s| s.extra_ca = Some("/nonexistent".into())).contains("ca_file"));
    let http = |url: &str| Cloud { authority_host: url.parse().unwrap(), ..Cloud::public() };
    assert!(refuse(&|s| s.cloud = http("http://login.example")).contains("authority_host"));
}
