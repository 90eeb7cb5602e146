//! From texts to a checked [`Config`]: the file, the variables over it, the flags over those. Every fault is found in
//! one pass and told by key and place. The only reader of configuration files and of the environment.
//!
//! Every setting of a section but `[[source]]` has a variable, `SIDEKEY_` and its key in capitals with `_` for `.`:
//! `cache.ttl` is `SIDEKEY_CACHE_TTL`. Lists are separated by commas, tables are `KEY=VALUE` pairs separated by
//! commas. Where there is one source, its keys have variables too: `SIDEKEY_SOURCE_CLOUD`. A source without any
//! credential key takes tenant, client and credential from the `AZURE_…` variables that Microsoft's SDKs read.
//!
//! Must never happen: a setting passed over in silence (a misspelled or not yet supported one may be a guard that
//! somebody relies on); a value in a fault (it may be a credential that was put in the wrong place).

mod audit;
mod aws;
mod client;
mod credential;
mod fault;
mod identity;
mod kinds;
mod listen;
mod reader;
mod sandbox;
mod snapshot;
mod source;
mod vars;

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;
use tracing_subscriber::filter::LevelFilter;

pub(crate) use fault::cause;
pub use fault::{Fault, Faults, Place};
pub use listen::{Listen, last_resort, runtime_dir};
pub use reader::Flag;
pub use snapshot::SnapshotFiles;
pub use vars::{Vars, environment};

use crate::access::AccessSettings;
use crate::access::audit::AuditOptions;
use crate::api::{AwsProfile, Capacity};
use crate::broker::BrokerOptions;
use crate::budget::BudgetOptions;
use crate::catalog::CatalogOptions;
use crate::credentials::Rule;
use crate::secret::VaultName;
use crate::vaults::azure::{AzureSettings, WireLimits};
use kinds::{count, duration, interval, positive, size, text, texts, yes_no};
use reader::{Reader, Section};

/// The file that is read where none was named, if it is there.
pub const DEFAULT_FILE: &str = "/etc/sidekey/sidekey.toml";

/// Variables of the command line, which are no settings.
const NOT_SETTINGS: &[&str] = &[
    "SIDEKEY_CONFIG",
    "SIDEKEY_ADDR",
    "SIDEKEY_TOKEN_FILE",
    "SIDEKEY_CA_FILE",
    "SIDEKEY_CLIENT_CERT",
    "SIDEKEY_CLIENT_KEY",
];

/// Everything a configuration is made from. Nothing else is asked: a test fills it by hand.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The file that was named; else [`DEFAULT_FILE`] is read if it exists.
    pub file: Option<PathBuf>,
    /// The environment.
    pub vars: Vars,
    /// What the command line sets.
    pub flags: Vec<Flag>,
    /// Our user's id, which decides where sockets live by default.
    pub uid: u32,
}

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, if there was one.
    pub file: Option<PathBuf>,
    /// Where the sidecar answers.
    pub listen: Listen,
    /// Who may read what.
    pub access: AccessSettings,
    /// Who signs in, and where. Never empty.
    pub sources: Vec<AzureSettings>,
    /// Discovery and listings. Where sources differ in how often they look for new vaults, the most often holds.
    pub catalog: CatalogOptions,
    /// Reads and the cache.
    pub broker: BrokerOptions,
    /// Credentials of AWS.
    pub aws: Vec<AwsProfile>,
    /// What units of systemd are given.
    pub credentials: Vec<Rule>,
    /// Where what is held is kept for the next start; `None`: nowhere.
    pub snapshot: Option<SnapshotFiles>,
    /// Where reads are recorded; `None`: nowhere.
    pub audit: Option<AuditOptions>,
    /// How long what is under way may take to finish once the process was told to stop.
    pub drain: Duration,
    /// Connections at once, over all listeners.
    pub connections: usize,
    /// Requests that wait for vaults at once.
    pub requests: usize,
    /// What may be asked of a vault, and of a subscription.
    pub budget: BudgetOptions,
    /// Whether what is not needed is given up at the start.
    pub sandbox: crate::sandbox::Mode,
    /// What is told on stderr.
    pub log: Log,
}

/// What is told on stderr.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// A level, or directives as `tracing` has them.
    pub level: String,
    /// One JSON object a line.
    pub json: bool,
}

impl Config {
    /// Reads the file that [`Inputs`] name, and checks everything.
    ///
    /// # Errors
    /// Every fault there is, at once.
    pub fn load(inputs: &Inputs) -> Result<Self, Faults> {
        let default = Path::new(DEFAULT_FILE);
        let path = inputs.file.as_deref().or_else(|| default.exists().then_some(default));
        let Some(path) = path else { return Self::parse(None, "", inputs) };
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(Some(path), &text, inputs),
            Err(error) => {
                let what = match error.kind() {
                    std::io::ErrorKind::InvalidData => "the file is not UTF-8".to_owned(),
                    _ => format!("the file cannot be read: {}", cause(&error)),
                };
                Err(Faults(vec![Fault { place: Place::WholeFile(path.to_owned()), key: String::new(), what }]))
            }
        }
    }

    /// Checks the text of a file, with variables and flags over it.
    ///
    /// # Errors
    /// Every fault there is, at once.
    pub fn parse(path: Option<&Path>, text: &str, inputs: &Inputs) -> Result<Self, Faults> {
        let (root, syntax) = DeTable::parse_recoverable(text);
        let shown = path.unwrap_or(Path::new(""));
        let reader = Reader::new(shown, text, &inputs.vars, &inputs.flags);
        let broken = !syntax.is_empty();
        for error in syntax {
            let place =
                error.span().map_or_else(|| Place::WholeFile(shown.to_owned()), |span| reader.place(span.start));
            reader.fault(place, "", error.message());
        }
        for name in NOT_SETTINGS {
            reader.know_variable(name);
        }
        let config = read(&reader, root.get_ref(), path, inputs);
        let mut faults = reader.finish();
        if broken {
            // What seems to be missing may stand in the part that could not be read.
            faults.retain(|fault| fault.place != Place::Unset);
        }
        match config {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(Faults(faults)),
        }
    }

    /// Whether the environment holds what a source needs to sign in.
    #[must_use]
    pub fn credentials_in(vars: &Vars) -> bool {
        identity::in_environment(vars)
    }
}

/// `None` only after a fault was told.
fn read<'r>(reader: &'r Reader<'r>, root: &'r DeTable<'r>, path: Option<&Path>, inputs: &Inputs) -> Option<Config> {
    let top = Section::new(reader, "", None, Some((root, 0..0)));
    let section = |name: &'static str| {
        let table = top.tables(name).into_iter().next();
        Section::new(reader, name, Some(&format!("SIDEKEY_{}_", name.to_ascii_uppercase())), table)
    };
    let clients = client::clients(reader, &top.tables("client"));
    let listen = listen::listen(reader, section("listen"), &runtime_dir(&inputs.vars, inputs.uid), !clients.is_empty());
    let token_file =
        listen.tcp.filter(|_| clients.is_empty() && listen.takes_token()).map(|_| listen.token_file.clone());
    let access = AccessSettings { clients, token_file };
    let credentials = credential::rules(reader, &top.tables("credential"), listen.credentials.is_some());
    let aws = aws::profiles(reader, &top.tables("aws"));
    let cache = section("cache");
    let snapshot = snapshot::snapshot(reader, &cache);
    let audit = audit::audit(reader, section("audit"));
    let Tuning { broker, mut catalog, budget, wire, drain, connections, requests } =
        tuning(cache, section("limits"), section("search"));
    let log = log(section("log"));
    let sandbox = sandbox::sandbox(section("sandbox"));
    let (sources, discovery_interval) = source::sources(reader, &top.tables("source"), &wire);
    catalog.discovery_interval = discovery_interval.unwrap_or(catalog.discovery_interval);
    (!sources.is_empty()).then(|| Config {
        file: path.map(Path::to_owned),
        listen,
        access,
        sources,
        catalog,
        broker,
        budget,
        aws,
        credentials,
        snapshot,
        audit,
        drain,
        connections,
        requests,
        sandbox,
        log,
    })
}

/// How hard everything works.
struct Tuning {
    broker: BrokerOptions,
    catalog: CatalogOptions,
    budget: BudgetOptions,
    wire: WireLimits,
    /// How long what is under way may take once the process was told to stop.
    drain: Duration,
    connections: usize,
    requests: usize,
}

fn tuning(cache: Section<'_>, limits: Section<'_>, search: Section<'_>) -> Tuning {
    let mut broker = BrokerOptions::default();
    broker.cache.ttl = cache.read_or("ttl", duration, broker.cache.ttl);
    broker.cache.negative_ttl = cache.read_or("negative_ttl", duration, broker.cache.negative_ttl);
    broker.cache.max_entries = cache.read_or("max_entries", positive, broker.cache.max_entries);
    broker.cache.max_bytes = cache.read_or("max_bytes", size, broker.cache.max_bytes);
    broker.cache.max_stale = cache.read_or("max_stale", duration, broker.cache.max_stale);
    if let Some(patterns) = cache.read("prefetch", texts) {
        for (at, pattern) in patterns.value.iter().enumerate() {
            match pattern.parse() {
                Ok(pattern) => broker.prefetch.push(pattern),
                Err(why) => {
                    let what = format!("entry {}: {why}", at + 1);
                    cache.fault_at(patterns.place.clone(), "prefetch", what);
                }
            }
        }
    }
    let mut catalog = CatalogOptions::default();
    catalog.listing_interval = cache.read_or("listing_interval", interval, catalog.listing_interval);
    cache.finish(&[]);

    let mut wire = WireLimits::default();
    let whole = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mut budget = BudgetOptions::default();
    let number = |key: &'static str, default: u32| {
        limits.read(key, positive).map_or(default, |at| u32::try_from(at.value).unwrap_or(u32::MAX))
    };
    budget.reads_per_second = number("reads_per_second", budget.reads_per_second);
    budget.burst = number("burst", budget.burst);
    budget.calls_at_once = at_once(&limits, budget.calls_at_once);
    broker.reads_in_all = whole(limits.read_or("reads_in_all", positive, broker.reads_in_all as u64));
    broker.read_limit = limits.read_or("read_timeout", interval, broker.read_limit);
    wire.connect = limits.read_or("connect_timeout", interval, wire.connect);
    wire.attempt = limits.read_or("attempt_timeout", interval, wire.attempt);
    wire.call = limits.read_or("call_timeout", interval, wire.call);
    wire.max_body = whole(limits.read_or("max_body", size, wire.max_body as u64));
    let drain = limits.read_or("drain_timeout", interval, Duration::from_secs(5));
    let connections = whole(limits.read_or("connections", positive, Capacity::CONNECTIONS as u64));
    let requests = whole(limits.read_or("requests", positive, Capacity::REQUESTS as u64));
    if let Some(retries) = limits.read("retries", count) {
        match u32::try_from(retries.value) {
            Ok(retries) if retries <= 10 => wire.retries = retries,
            _ => limits.fault_at(retries.place, "retries", "must be at most 10"),
        }
    }
    limits.finish(&[]);

    if let Some(order) = search.read("order", texts) {
        for (at, vault) in order.value.iter().enumerate() {
            match vault.parse::<VaultName>() {
                Ok(vault) => broker.order.push(vault),
                Err(_) => {
                    let what = format!("entry {}: expected a vault's name, or source:vault", at + 1);
                    search.fault_at(order.place.clone(), "order", what);
                }
            }
        }
    }
    search.finish(&[]);
    Tuning { broker, catalog, budget, wire, drain, connections, requests }
}

/// More would be more than a vault serves, and more than one sidecar has sockets for.
const MOST_AT_ONCE: u64 = 1_000;

fn at_once(limits: &Section<'_>, default: usize) -> usize {
    let Some(at) = limits.read("calls_at_once", positive) else { return default };
    if at.value > MOST_AT_ONCE {
        limits.fault_at(at.place, "calls_at_once", format!("must be at most {MOST_AT_ONCE}"));
    }
    usize::try_from(at.value.min(MOST_AT_ONCE)).unwrap_or(default)
}

fn log(section: Section<'_>) -> Log {
    let level = section.read_or("level", level, "info".to_owned());
    let json = section.read_or("json", yes_no, false);
    section.finish(&[]);
    Log { level, json }
}

/// A level, or directives. `tracing` itself would take any word for a target to be traced.
fn level(raw: kinds::Raw<'_>) -> Result<String, String> {
    let directives = text(raw)?;
    let is_level = |level: &str| level.trim().parse::<LevelFilter>().is_ok();
    let good = directives.split(',').all(|directive| match directive.split_once('=') {
        None => is_level(directive),
        Some((target, level)) => target.trim().starts_with("sidekey") && is_level(level),
    });
    if good {
        return Ok(directives);
    }
    Err("expected \"error\", \"warn\", \"info\", \"debug\", \"trace\", or with directives \"warn,sidekey::api=debug\""
        .to_owned())
}
