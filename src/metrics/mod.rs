//! What is counted, for `GET /metrics`. Imports nothing of ours, so that every layer can count.
//!
//! No label ever holds a secret's name, a caller's words or anything else that an outsider could make many of.

mod labels;
mod levels;
mod often;
mod told;

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use labels::{
    AuditLabels, EndedLabels, HeldBackLabels, ListingLabels, ReadLabels, RefusedLabels, ReloadLabels, RequestLabels,
    RoundLabels, SignInLabels, SnapshotLabels, TaskLabels, TokenLabels, UpstreamLabels, VaultLabels, WatchLabels,
};
use levels::GAUGES;
pub use levels::Level;
use often::Often;
use told::Told;

/// The counters of one sidecar. A cheap handle.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    reads: Often<ReadLabels>,
    upstream: Family<UpstreamLabels, Counter>,
    held_back: Family<HeldBackLabels, Counter>,
    waited: Family<VaultLabels, Counter>,
    vaults: [Family<VaultLabels, Gauge<i64, Told>>; 3],
    listings: Family<ListingLabels, Counter>,
    rounds: Family<RoundLabels, Counter>,
    requests: Often<RequestLabels>,
    ended: Family<EndedLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    sign_ins: Family<SignInLabels, Counter>,
    snapshots: Family<SnapshotLabels, Counter>,
    restarts: Family<TaskLabels, Counter>,
    reloads: Family<ReloadLabels, Counter>,
    audited: Family<AuditLabels, Counter>,
    watched: Family<WatchLabels, Counter>,
    tokens: [Family<TokenLabels, Gauge<i64, Told>>; 2],
    /// In the order of `GAUGES`.
    gauges: Vec<Gauge>,
}

/// Why a call did not go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The vault said 429 a while ago.
    Gate,
    /// The budget is spent.
    Rate,
    /// The vault does not answer.
    Circuit,
}

/// How a vault may be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VaultState {
    /// How long it is left alone because of a 429; zero if it is not.
    pub gate_closed_for: Duration,
    /// It does not answer, and is tried by one call at a time.
    pub circuit_open: bool,
    /// Calls that may be under way at the same time.
    pub calls_at_once: usize,
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
        let all = &mut registry;
        let inner = Inner {
            reads: Often::of(family(all, "reads", "Reads of a secret by what became of them")),
            upstream: family(all, "upstream_calls", "Calls to vaults by endpoint and outcome"),
            held_back: family(
                all,
                "calls_held_back",
                "Calls that did not go: the vault's gate is closed, its budget spent, or its circuit open",
            ),
            waited: family(all, "budget_waits", "Calls that waited for their vault's budget"),
            vaults: [
                family(all, "gate_closed_seconds", "How long a vault is left alone because of a 429; 0: it is not"),
                family(all, "circuit_open", "1 while a vault does not answer, and one call at a time tries it"),
                family(
                    all,
                    "calls_at_once",
                    "Calls that a vault may see at the same time; fewer for a while after a 429",
                ),
            ],
            listings: family(all, "listings", "Listings of vaults, of all their pages, by outcome"),
            rounds: family(all, "discovery_rounds", "Rounds of discovery by source and outcome"),
            requests: Often::of(family(all, "http_requests", "HTTP requests by route and status")),
            ended: family(all, "connections_ended", "Connections that were ended before their time, by reason"),
            refused: family(
                all,
                "refused",
                "Requests that got nowhere, by the problem they were answered with; unknown-peer: connections closed unread",
            ),
            sign_ins: family(all, "sign_ins", "Tokens that a source asked for, by outcome"),
            snapshots: family(all, "snapshots", "Reads and writes of the snapshot by outcome"),
            restarts: family(
                all,
                "task_restarts",
                "Background tasks that failed by a fault of sidekey's own and were begun again",
            ),
            reloads: family(all, "reloads", "Reloads of the configuration by what became of them"),
            audited: family(
                all,
                "audit_lines",
                "Lines of the audit: written, lost, or refused together with the read that they tell of",
            ),
            watched: family(
                all,
                "watch_events",
                "Events for watchers by kind, however many watch; resync: for one watcher",
            ),
            tokens: [
                family(all, "token_age_seconds", "Since a source's token came; 0 if there is none"),
                family(all, "token_left_seconds", "While a source's token is still used; 0 if there is none"),
            ],
            gauges: GAUGES.iter().map(|(_, name, help)| register(all, name, help, Gauge::default())).collect(),
            registry,
        };
        Self(Arc::new(inner))
    }
}

/// One number for each set of labels.
fn family<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    L: Clone + Hash + Eq + EncodeLabelSet + fmt::Debug + Send + Sync + 'static,
    M: EncodeMetric + TypedMetric + Default + fmt::Debug + Send + Sync + 'static,
{
    register(registry, name, help, Family::default())
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(format!("sidekey_{name}"), help, metric.clone());
    metric
}

impl Metrics {
    /// A read ended: `hit` (held and fresh), `stale` (held), `miss` (a call was made for it), `collapsed` (it joined a call
    /// under way), or the reason why it failed.
    pub fn read(&self, outcome: &'static str) {
        self.0.reads.inc(&ReadLabels { outcome });
    }

    /// A call to a vault ended: `get`, `versions` or `list` (a page of it), `ok` or the reason why it failed. `vault` is
    /// `source:vault`, one that was discovered. Told where budgets are kept, and nowhere else.
    pub fn upstream(&self, vault: &str, endpoint: &'static str, outcome: &'static str) {
        self.0.upstream.get_or_create(&UpstreamLabels { vault: vault.to_owned(), endpoint, outcome }).inc();
    }

    /// A call did not go.
    pub fn held_back(&self, vault: &str, why: Refusal) {
        let reason = match why {
            Refusal::Gate => "gate",
            Refusal::Rate => "rate",
            Refusal::Circuit => "circuit",
        };
        self.0.held_back.get_or_create(&HeldBackLabels { vault: vault.to_owned(), reason }).inc();
    }

    /// A call waited for its budget before it went.
    pub fn waited(&self, vault: &str) {
        self.0.waited.get_or_create(&VaultLabels { vault: vault.to_owned() }).inc();
    }

    /// From now on, `state` is asked whenever the metrics are, for that vault.
    pub fn vault(&self, vault: &str, state: impl Fn() -> VaultState + Send + Sync + 'static) {
        let (labels, state) = (VaultLabels { vault: vault.to_owned() }, Arc::new(state));
        let parts: [fn(VaultState) -> u64; 3] = [
            |state| state.gate_closed_for.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX),
            |state| u64::from(state.circuit_open),
            |state| state.calls_at_once as u64,
        ];
        for (family, part) in self.0.vaults.iter().zip(parts) {
            let state = Arc::clone(&state);
            let number = move || i64::try_from(part(state())).unwrap_or(i64::MAX);
            family.get_or_create(&labels).inner().by(Box::new(number));
        }
    }

    /// A vault was listed to its end, or was not: `ok`, or the reason why.
    pub fn listing(&self, outcome: &'static str) {
        self.0.listings.get_or_create(&ListingLabels { outcome }).inc();
    }

    /// A source has looked for its vaults: `ok`, or the first reason why it may not have found all.
    pub fn round(&self, source: &str, outcome: &'static str) {
        self.0.rounds.get_or_create(&RoundLabels { source: source.to_owned(), outcome }).inc();
    }

    /// An HTTP request was answered; `route` is the route's pattern, never the path.
    pub fn request(&self, route: &'static str, status: u16) {
        self.0.requests.inc(&RequestLabels { route, status });
    }

    /// A connection was ended before its time: `displaced` (it brought nothing, and others needed its place), `cut` (with
    /// its request, as its party had more than its share), `refused` (there was no place), `handshake` (TLS failed).
    pub fn connection_ended(&self, reason: &'static str) {
        self.0.ended.get_or_create(&EndedLabels { reason }).inc();
    }

    /// Somebody was turned away before anything was looked up: the problem's code, or `unknown-peer`.
    pub fn refused(&self, reason: &'static str) {
        self.0.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// A source asked for a token: `ok`, or the reason why there is none. `source` is a configured name.
    pub fn sign_in(&self, source: &str, outcome: &'static str) {
        self.0.sign_ins.get_or_create(&SignInLabels { source: source.to_owned(), outcome }).inc();
    }

    /// The snapshot was read or written (`read`, `write`): `ok`, or the reason why not.
    pub fn snapshot(&self, operation: &'static str, outcome: &'static str) {
        self.0.snapshots.get_or_create(&SnapshotLabels { operation, outcome }).inc();
    }

    /// A background task of that name panicked and is begun again.
    pub fn task_restarted(&self, task: &'static str) {
        self.0.restarts.get_or_create(&TaskLabels { task }).inc();
    }

    /// The configuration was read again: `ok`, or `refused` where the old one stays.
    pub fn reloaded(&self, outcome: &'static str) {
        self.0.reloads.get_or_create(&ReloadLabels { outcome }).inc();
    }

    /// So many lines of the audit were `written`, are `lost`, or were `refused` together with their reads.
    pub fn audited(&self, outcome: &'static str, lines: u64) {
        if lines > 0 {
            self.0.audited.get_or_create(&AuditLabels { outcome }).inc_by(lines);
        }
    }

    /// Something was told to watchers, of that kind; `resync` to one that had missed something.
    pub fn watch(&self, kind: &'static str) {
        self.0.watched.get_or_create(&WatchLabels { kind }).inc();
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

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        metrics.upstream("prod:pay", "get", "throttled");
        metrics.held_back("prod:pay", Refusal::Gate);
        let state = VaultState { gate_closed_for: Duration::from_millis(6_001), circuit_open: true, calls_at_once: 16 };
        metrics.vault("prod:pay", move || state);
        metrics.listing("throttled");
        metrics.round("prod", "ok");
        metrics.request("/v1/secrets/{name}", 200);
        metrics.set(Level::Secrets, 7);
        metrics.sign_in("prod", "sign-in-failed");
        metrics.watch("changed");
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
            "sidekey_upstream_calls_total{vault=\"prod:pay\",endpoint=\"get\",outcome=\"throttled\"} 1",
            "sidekey_calls_held_back_total{vault=\"prod:pay\",reason=\"gate\"} 1",
            "sidekey_gate_closed_seconds{vault=\"prod:pay\"} 7",
            "sidekey_circuit_open{vault=\"prod:pay\"} 1",
            "sidekey_calls_at_once{vault=\"prod:pay\"} 16",
            "sidekey_listings_total{outcome=\"throttled\"} 1",
            "sidekey_discovery_rounds_total{source=\"prod\",outcome=\"ok\"} 1",
            "sidekey_http_requests_total{route=\"/v1/secrets/{name}\",status=\"200\"} 1",
            "sidekey_catalog_secrets 7",
            "sidekey_watch_events_total{kind=\"changed\"} 1",
            "sidekey_sign_ins_total{source=\"prod\",outcome=\"sign-in-failed\"} 1",
            "sidekey_token_age_seconds{source=\"prod\",audience=\"vault.azure.net\"} 5",
            "sidekey_token_left_seconds{source=\"prod\",audience=\"vault.azure.net\"} 60",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is missing in:\n{text}");
        }
    }
}
