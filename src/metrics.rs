//! What is counted, for `GET /metrics`. Imports nothing of ours, so that every layer can count.
//!
//! No label ever holds a secret's name, a caller's words or anything else that an outsider could make many of.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{Atomic, Gauge};
use prometheus_client::registry::Registry;

/// The counters of one sidecar. A cheap handle.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    reads: Family<ReadLabels, Counter>,
    upstream: Family<OperationLabels, Counter>,
    requests: Family<RequestLabels, Counter>,
    sign_ins: Family<SignInLabels, Counter>,
    restarts: Family<TaskLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    snapshots: Family<OperationLabels, Counter>,
    tokens: [Family<TokenLabels, Gauge<i64, Told>>; 2],
    gauges: [Gauge; GAUGES.len()],
}

/// A level that is set when it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Vaults in the catalog.
    Vaults,
    /// Vaults whose last listing failed or that were never listed.
    VaultsUnreachable,
    /// Secrets in the catalog.
    Secrets,
    /// Values held.
    CacheValues,
    /// Of them, those that are stale.
    CacheStale,
    /// The age of the oldest, in seconds.
    CacheOldest,
    /// Vaults' own words, held, that they do not give a secret.
    CacheRefusals,
    /// Since the vault that was listed the longest ago was, in seconds; vaults that never were do not count.
    ListingOldest,
    /// Declared secrets that are not held.
    DeclaredMissing,
    /// Bytes of the snapshot that this process wrote last.
    SnapshotBytes,
    /// When that was, in seconds since 1970.
    SnapshotWritten,
}

const GAUGES: [(Level, &str, &str); 11] = [
    (Level::Vaults, "sidekey_vaults", "Vaults in the catalog"),
    (Level::VaultsUnreachable, "sidekey_vaults_unreachable", "Vaults whose last listing failed, or never listed"),
    (Level::Secrets, "sidekey_catalog_secrets", "Secrets in the catalog"),
    (Level::CacheValues, "sidekey_cache_values", "Values held"),
    (Level::CacheStale, "sidekey_cache_stale_values", "Values held that are stale"),
    (Level::CacheOldest, "sidekey_cache_oldest_seconds", "Since the value that was confirmed the longest ago was"),
    (Level::CacheRefusals, "sidekey_cache_refusals", "Secrets held to be missing, disabled or denied"),
    (Level::ListingOldest, "sidekey_catalog_oldest_seconds", "Since the vault that was listed the longest ago was"),
    (Level::DeclaredMissing, "sidekey_declared_missing", "Declared secrets that are not held"),
    (Level::SnapshotBytes, "sidekey_snapshot_bytes", "Size of the snapshot written last; 0 if none was"),
    (Level::SnapshotWritten, "sidekey_snapshot_written_timestamp_seconds", "When it was written; 0 if none was"),
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReadLabels {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignInLabels {
    source: String,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    source: String,
    audience: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    task: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    outcome: &'static str,
}

/// Where a token is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenTimes {
    /// Since it came.
    pub age: Duration,
    /// While it is still used; zero when it has expired.
    pub left: Duration,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let reads = Family::default();
        registry.register("sidekey_reads", "Reads of a secret by what became of them", reads.clone());
        let upstream = Family::default();
        registry.register(
            "sidekey_upstream_calls",
            "Reads, listings and rounds of discovery by outcome",
            upstream.clone(),
        );
        let requests = Family::default();
        registry.register("sidekey_http_requests", "HTTP requests by route and status", requests.clone());
        let sign_ins = Family::default();
        registry.register("sidekey_sign_ins", "Tokens that a source asked for, by outcome", sign_ins.clone());
        let restarts = Family::default();
        let help = "Background tasks that failed by a fault of sidekey's own and were begun again";
        registry.register("sidekey_task_restarts", help, restarts.clone());
        let reloads = Family::default();
        registry.register("sidekey_reloads", "Reloads of the configuration by what became of them", reloads.clone());
        let snapshots = Family::default();
        registry.register("sidekey_snapshots", "Reads and writes of the snapshot by outcome", snapshots.clone());
        let tokens = [
            ("sidekey_token_age_seconds", "Since a source's token came; 0 if there is none"),
            ("sidekey_token_left_seconds", "While a source's token is still used; 0 if there is none"),
        ];
        let tokens = tokens.map(|(name, help)| {
            let family = Family::default();
            registry.register(name, help, family.clone());
            family
        });
        let gauges = GAUGES.map(|(_, name, help)| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        });
        Self(Arc::new(Inner {
            registry,
            reads,
            upstream,
            requests,
            sign_ins,
            restarts,
            reloads,
            snapshots,
            tokens,
            gauges,
        }))
    }
}

impl Metrics {
    /// A read ended: `hit` (held and fresh), `stale` (held), `miss` (a call was made for it), `collapsed` (it joined a call
    /// under way), or the reason why it failed.
    pub fn read(&self, outcome: &'static str) {
        self.0.reads.get_or_create(&ReadLabels { outcome }).inc();
    }

    /// A vault was read (`get`, `versions`) or listed to its end (`list`), or a source has looked for its vaults
    /// (`discover`): `ok`, or the reason why it failed. A listing of many pages counts once.
    pub fn upstream(&self, operation: &'static str, outcome: &'static str) {
        self.0.upstream.get_or_create(&OperationLabels { operation, outcome }).inc();
    }

    /// An HTTP request was answered; `route` is the route's pattern, never the path.
    pub fn request(&self, route: &'static str, status: u16) {
        self.0.requests.get_or_create(&RequestLabels { route, status }).inc();
    }

    /// A source asked for a token: `ok`, or the reason why there is none. `source` is a configured name.
    pub fn sign_in(&self, source: &str, outcome: &'static str) {
        self.0.sign_ins.get_or_create(&SignInLabels { source: source.to_owned(), outcome }).inc();
    }

    /// A background task of that name panicked and is begun again.
    pub fn task_restarted(&self, task: &'static str) {
        self.0.restarts.get_or_create(&TaskLabels { task }).inc();
    }

    /// The configuration was read again: `ok`, or `refused` where the old one stays.
    pub fn reloaded(&self, outcome: &'static str) {
        self.0.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }

    /// The snapshot was read or written (`read`, `write`): `ok`, or the reason why not.
    pub fn snapshot(&self, operation: &'static str, outcome: &'static str) {
        self.0.snapshots.get_or_create(&OperationLabels { operation, outcome }).inc();
    }

    /// From now on, `times` is asked whenever the metrics are, for that source's token for that audience. Both are
    /// configured names.
    pub fn token(&self, source: &str, audience: &str, times: impl Fn() -> Option<TokenTimes> + Send + Sync + 'static) {
        let (labels, times) =
            (TokenLabels { source: source.to_owned(), audience: audience.to_owned() }, Arc::new(times));
        let parts: [fn(TokenTimes) -> Duration; 2] = [|times| times.age, |times| times.left];
        for (family, part) in self.0.tokens.iter().zip(parts) {
            let times = Arc::clone(&times);
            let seconds = move || times().map_or(0, |times| i64::try_from(part(times).as_secs()).unwrap_or(i64::MAX));
            family.get_or_create(&labels).inner().by(Box::new(seconds));
        }
    }

    /// Tells a level as it is now.
    pub fn set(&self, level: Level, value: u64) {
        let at = GAUGES.iter().position(|(gauge, ..)| *gauge == level).expect("every level has a gauge");
        self.0.gauges[at].set(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// All of it in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.0.registry).expect("writing to a String does not fail");
        text
    }
}

/// A number that somebody tells when it is asked for.
#[derive(Default)]
struct Told(Mutex<Option<Box<dyn Fn() -> i64 + Send + Sync>>>);

impl Told {
    fn by(&self, teller: Box<dyn Fn() -> i64 + Send + Sync>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(teller);
    }
}

impl Atomic<i64> for Told {
    fn get(&self) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, |teller| teller())
    }

    // Nobody counts here.
    fn inc(&self) -> i64 {
        self.get()
    }

    fn inc_by(&self, _: i64) -> i64 {
        self.get()
    }

    fn dec(&self) -> i64 {
        self.get()
    }

    fn dec_by(&self, _: i64) -> i64 {
        self.get()
    }

    fn set(&self, _: i64) -> i64 {
        self.get()
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn counts_are_told_with_their_labels() {
        let metrics = Metrics::default();
        metrics.read("hit");
        metrics.read("hit");
        metrics.upstream("get", "throttled");
        metrics.request("/v1/secrets/{name}", 200);
        metrics.set(Level::Secrets, 7);
        metrics.sign_in("prod", "sign-in-failed");
        let left = Arc::new(AtomicU64::new(0));
        let asked = Arc::clone(&left);
        let times = move || {
            let left = Duration::from_secs(asked.load(Ordering::Relaxed));
            Some(TokenTimes { age: Duration::from_secs(5), left })
        };
        metrics.token("prod", "vault.azure.net", times);
        left.store(60, Ordering::Relaxed);
        let text = metrics.encode();
        for line in [
            "sidekey_reads_total{outcome=\"hit\"} 2",
            "sidekey_upstream_calls_total{operation=\"get\",outcome=\"throttled\"} 1",
            "sidekey_http_requests_total{route=\"/v1/secrets/{name}\",status=\"200\"} 1",
            "sidekey_catalog_secrets 7",
            "sidekey_sign_ins_total{source=\"prod\",outcome=\"sign-in-failed\"} 1",
            "sidekey_token_age_seconds{source=\"prod\",audience=\"vault.azure.net\"} 5",
            "sidekey_token_left_seconds{source=\"prod\",audience=\"vault.azure.net\"} 60",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is missing in:\n{text}");
        }
    }
}
