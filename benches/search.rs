//! Search over 100,000 names in 500 vaults, through the public face: p50 and p99 of the first page per mode, and what a
//! row costs in memory. `cargo bench --bench search [-- WORD]`: only the modes with that word in their names.

#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

use std::sync::Arc;
use std::time::Duration;

use sidekey::catalog::{Catalog, CatalogOptions, Query};
use sidekey::secret::{SecretName, SourceName};
use sidekey::vaults::memory::{Attributes, MemorySource, MemoryVault};
use sidekey::vaults::{Vault, VaultInfo};
use time::OffsetDateTime;
use tokio::time::Instant;

const VAULTS: usize = 500;
const SECRETS: usize = 200;
/// How long each mode is measured.
const BUDGET: Duration = Duration::from_millis(350);

type Parameters<'p> = &'p [(&'p str, &'p str)];

const MODES: &[(&str, Parameters<'_>)] = &[
    ("everything", &[]),
    ("everything, newest first", &[("sort", "-updated")]),
    ("everything, backwards", &[("sort", "-name")]),
    ("substring, rare", &[("q", "00-42-")]),
    ("substring, 2.5 %", &[("q", "redis")]),
    ("substring, 12.5 %", &[("q", "password")]),
    ("substring, none", &[("q", "absent")]),
    ("exact", &[("q", "orders-redis-password-7-42"), ("match", "exact")]),
    ("prefix", &[("q", "orders-re"), ("match", "prefix")]),
    ("glob, prefix", &[("q", "orders-*"), ("match", "glob")]),
    ("glob, two parts", &[("q", "orders-*-password-*"), ("match", "glob")]),
    ("glob, class", &[("q", "orders-*-[0-4]?"), ("match", "glob")]),
    ("glob, vaults", &[("q", "redis"), ("vault", "vault-1*")]),
    ("tag", &[("tag", "team=team-7")]),
    ("tag and substring", &[("tag", "team=team-7"), ("q", "redis")]),
    ("expires within 30 days", &[("expires_within", "30d"), ("sort", "expires")]),
    ("regex", &[("q", "^orders-.*-[0-9]{2}$"), ("match", "regex")]),
    ("regex, unanchored", &[("q", "red.s-(token|key)"), ("match", "regex")]),
    ("fuzzy", &[("q", "redpw"), ("match", "fuzzy")]),
    ("fuzzy, long", &[("q", "ordersredispassword"), ("match", "fuzzy")]),
    ("fuzzy, one letter", &[("q", "e"), ("match", "fuzzy")]),
];

#[tokio::main]
async fn main() {
    let resident_before = resident_kib();
    let before = Instant::now();
    let catalog = Catalog::new(vec![source()], CatalogOptions::default());
    println!("made {} secrets in {VAULTS} vaults in {:?}", VAULTS * SECRETS, before.elapsed());
    let resident_made = resident_kib();
    let before = Instant::now();
    catalog.refresh(None).await;
    println!("listed them in {:?}", before.elapsed());
    println!(
        "the catalog's rows: {} bytes, {} a row; resident KiB: {resident_before} at start, {resident_made} with the vaults, {} listed",
        catalog.heap_bytes(),
        catalog.heap_bytes() / (VAULTS * SECRETS),
        resident_kib(),
    );
    println!("{:26} {:>9} {:>9} {:>9} {:>7}", "first page of 100", "p50 µs", "p99 µs", "hits", "rounds");
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for (mode, parameters) in MODES.iter().filter(|(mode, _)| mode.contains(&word)) {
        measure(&catalog, mode, parameters);
    }
    holders(&catalog);
}

fn measure(catalog: &Catalog, mode: &str, parameters: Parameters<'_>) {
    let mut taken = Vec::new();
    let mut total = 0;
    let start = Instant::now();
    while start.elapsed() < BUDGET {
        let before = Instant::now();
        let query = Query::from_parameters(parameters.iter().copied()).expect("a query");
        let page = catalog.search(&query).expect("an answer");
        taken.push(before.elapsed());
        assert!(page.complete);
        total = page.total;
    }
    print(mode, taken, total);
}

fn holders(catalog: &Catalog) {
    let name: SecretName = "orders-redis-password-7-42".parse().expect("a name");
    let mut taken = Vec::new();
    let mut total = 0;
    let start = Instant::now();
    while start.elapsed() < BUDGET {
        let before = Instant::now();
        total = catalog.holders(&name).held_by.len();
        taken.push(before.elapsed());
    }
    print("which vaults hold it", taken, total);
}

fn print(mode: &str, mut taken: Vec<Duration>, total: usize) {
    taken.sort();
    let at = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    println!("{mode:26} {:>9.1} {:>9.1} {total:>9} {:>7}", at(0.5), at(0.99), taken.len());
}

fn source() -> Arc<MemorySource> {
    const SERVICES: [&str; 10] =
        ["orders", "billing", "search", "mail", "users", "stock", "prices", "audit", "images", "reports"];
    const SYSTEMS: [&str; 40] = [
        "redis", "postgres", "kafka", "s3", "smtp", "stripe", "oauth", "jwt", "ldap", "sentry", "slack", "github",
        "grafana", "vault", "mongo", "mysql", "rabbit", "nats", "consul", "etcd", "sftp", "twilio", "paypal", "adyen",
        "okta", "azure", "gcp", "datadog", "elastic", "kibana", "jira", "npm", "docker", "helm", "argo", "tls", "ssh",
        "gpg", "vpn", "dns",
    ];
    const KINDS: [&str; 8] = ["password", "user", "token", "key", "url", "cert", "salt", "secret"];
    let name: SourceName = "bench".parse().expect("a name");
    let now = OffsetDateTime::now_utc();
    let vaults = (0..VAULTS).map(|v| {
        let info = VaultInfo::new(name.clone(), format!("vault-{v:03}").parse().expect("a name"));
        let vault = MemoryVault::new(info);
        for s in 0..SECRETS {
            // Distinct strides, so that every vault has another mixture.
            let n = v * SECRETS + s;
            let (service, system, kind) = (SERVICES[n * 7 % 10], SYSTEMS[n * 11 / 3 % 40], KINDS[n * 13 / 5 % 8]);
            let secret = format!("{service}-{system}-{kind}-{}-{s}", v % 20);
            let attributes = Attributes {
                expires: (s % 3 == 0).then(|| now + Duration::from_secs(86_400 * (n as u64 % 400))),
                content_type: (s % 4 == 0).then(|| "text/plain".to_owned()),
                tags: [("team".to_owned(), format!("team-{}", n % 25)), ("env".to_owned(), "prod".to_owned())].into(),
                ..Attributes::default()
            };
            vault.set(&secret.parse().expect("a name"), "x", attributes);
        }
        Arc::new(vault) as Arc<dyn Vault>
    });
    Arc::new(MemorySource::new(name.clone(), vaults.collect()))
}

/// What the process holds in memory now; 0 where the system does not tell.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or_default()
}
