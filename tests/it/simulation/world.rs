//! The vaults and sources of a simulated world. What they answer depends on the plan, the virtual time, and how often
//! the same was asked before; on nothing else.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::{self, BoxStream, StreamExt};
use sidekey::budget::{BudgetedSource, Budgets};
use sidekey::secret::{Metadata, Secret, SecretName, SecretValue, SourceName, Version};
use sidekey::snapshot::Contents;
use sidekey::vaults::{Denial, Discovery, Outage, Source, Vault, VaultError, VaultErrorKind, VaultInfo};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::fault::Kind;
use super::history::{Call, Hand, History, Key, Sweep, Told};
use super::plan::Plan;
use super::truth::{Ms, Version as Written};

/// What a panic of the world's own says, so that it can be kept off the terminal.
pub const SCRIPTED: &str = "a scripted panic";

/// What the machine's clock shows when a world begins.
const WALL: OffsetDateTime = time::macros::datetime!(2026-09-21 12:00 UTC);

pub struct World {
    pub plan: Arc<Plan>,
    pub history: History,
    /// What the last process has kept, as on a disk.
    pub disk: Mutex<Option<Contents>>,
    began: Instant,
    /// Time for which the machine was suspended.
    suspended: AtomicU64,
    /// How often each key was asked for, and a listing, by view: whoever asked.
    asked: Mutex<HashMap<(usize, Option<Key>), u64>>,
    /// How many brokers there were.
    brokers: AtomicUsize,
    /// Rounds of discovery, by source.
    rounds: Mutex<HashMap<usize, u64>>,
}

/// The process that asks, as the world knows it.
#[derive(Debug, Clone)]
pub struct Caller {
    pub hand: Hand,
    /// It was killed: what it asked for is cut off, and it asks no more.
    pub dead: CancellationToken,
}

impl World {
    /// To be called on a paused clock.
    pub fn new(plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            plan: Arc::new(plan),
            history: History::default(),
            disk: Mutex::default(),
            began: Instant::now(),
            suspended: AtomicU64::new(0),
            asked: Mutex::default(),
            brokers: AtomicUsize::new(0),
            rounds: Mutex::default(),
        })
    }

    pub fn now(&self) -> Ms {
        self.lived().as_millis() as Ms
    }

    /// When that will be, by the machine's timers, unless it is suspended before.
    pub fn at(&self, at: Ms) -> Instant {
        self.began + Duration::from_millis(at.saturating_sub(self.suspended.load(Ordering::Relaxed)))
    }

    /// The machine is suspended until then.
    pub fn suspend(&self, until: Ms) {
        let long = until.saturating_sub(self.now());
        self.suspended.fetch_add(long, Ordering::Relaxed);
        sidekey::clock::simulated::suspend(Duration::from_millis(long));
    }

    fn lived(&self) -> Duration {
        self.began.elapsed() + Duration::from_millis(self.suspended.load(Ordering::Relaxed))
    }

    /// The number of another broker of that process.
    pub fn hand(&self, life: usize) -> Hand {
        Hand { life, broker: self.brokers.fetch_add(1, Ordering::Relaxed) }
    }

    /// What the machine's own clock shows; it is right.
    pub fn wall(&self) -> OffsetDateTime {
        WALL + self.lived()
    }

    pub fn of_wall(&self, wall: OffsetDateTime) -> Ms {
        Ms::try_from((wall - WALL).whole_milliseconds()).unwrap()
    }

    pub fn sources(self: &Arc<Self>, caller: &Caller, budgets: &Budgets) -> Vec<Arc<dyn Source>> {
        let count = 1 + self.plan.views.iter().map(|view| view.source).max().unwrap_or(0);
        (0..count)
            .map(|source| {
                let name: SourceName = format!("s{source}").parse().unwrap();
                let views = (0..self.plan.views.len()).filter(|view| self.plan.views[*view].source == source);
                let vaults = views.map(|view| Arc::new(Simulated::new(self, view, &name, caller))).collect();
                let finder = Finder { world: Arc::clone(self), source, name, vaults };
                Arc::new(BudgetedSource::new(Arc::new(finder), budgets.clone())) as _
            })
            .collect()
    }
}

/// How a secret of that index is called.
pub fn name_of(name: usize) -> SecretName {
    format!("n{name}").parse().unwrap()
}

pub fn version_of(number: u32) -> Version {
    format!("{number:032x}").parse().unwrap()
}

/// The value of that version; no other has it.
pub fn value_of(plan: &Plan, view: usize, name: usize, number: u32) -> String {
    format!("v{}/n{name}@{number}", plan.views[view].vault)
}

pub fn index_of(name: &SecretName) -> usize {
    name.as_str()[1..].parse().unwrap()
}

fn metadata(name: usize, written: &Written, with_version: bool) -> Metadata {
    let stamp = |seconds| Some(OffsetDateTime::from_unix_timestamp(seconds).unwrap());
    let tags = (written.tag > 0).then(|| ("touched", written.tag.to_string()));
    Metadata {
        version: with_version.then(|| version_of(written.number)),
        enabled: written.enabled,
        created: stamp(written.created),
        updated: stamp(written.updated),
        tags: tags.into_iter().collect(),
        ..Metadata::new(name_of(name))
    }
}

/// One vault as one source sees it.
struct Simulated {
    world: Arc<World>,
    view: usize,
    info: VaultInfo,
    caller: Caller,
}

impl Simulated {
    fn new(world: &Arc<World>, view: usize, source: &SourceName, caller: &Caller) -> Self {
        let vault = world.plan.views[view].vault;
        let name = format!("v{vault}");
        let uri = Some(format!("https://{name}.vault.example"));
        let info = VaultInfo { uri, ..VaultInfo::new(source.clone(), name.parse().unwrap()) };
        Self { world: Arc::clone(world), view, info, caller: caller.clone() }
    }

    /// Chance for the next call of that kind.
    fn dice(&self, key: Option<Key>) -> Dice {
        let number = {
            let mut asked = self.world.asked.lock().unwrap();
            let count = asked.entry((self.view, key)).or_default();
            *count += 1;
            *count
        };
        let words = key.map_or([99, 99], |key| [key.name as u64, key.version.map_or(98, u64::from)]);
        Dice::of(self.world.plan.seed, &[2, self.view as u64, words[0], words[1], number])
    }

    fn vault(&self) -> usize {
        self.world.plan.views[self.view].vault
    }

    /// How long an answer that begins now takes, and how far behind the truth its replica is.
    fn pace(&self, now: Ms, dice: &mut Dice) -> (Ms, Ms) {
        let plan = &self.world.plan;
        let slow = plan.is_active(Kind::Slow, self.vault(), now);
        let latency = if slow { dice.within(500, 13_000) } else { dice.within(1, 120) };
        let lag = plan.active(Kind::Lag, self.vault(), now).filter(|_| dice.chance(60));
        (latency, lag.map_or(0, |fault| dice.within(0, fault.level as u64 + 1)))
    }

    /// What is wrong with every call now.
    fn trouble(&self, now: Ms, dice: &mut Dice) -> Option<(Ms, VaultErrorKind)> {
        let (plan, vault) = (&self.world.plan, self.vault());
        for fault in plan.faults.iter().filter(|fault| fault.is_active(fault.kind, vault, now)) {
            let told = match fault.kind {
                Kind::Refused => (fault.level as u64, VaultErrorKind::Unavailable(Outage::Connection)),
                Kind::BlackHole => (u64::MAX, VaultErrorKind::TimedOut),
                Kind::Garbage if dice.chance(70) => (30, VaultErrorKind::Malformed),
                Kind::Throttled if dice.chance(80) => {
                    let retry_after = u64::try_from(fault.level).ok().map(Duration::from_secs);
                    (5, VaultErrorKind::Throttled { retry_after })
                }
                Kind::Flapping if dice.chance(50) => (20, VaultErrorKind::Unavailable(Outage::Server(500))),
                Kind::Firewall => (10, VaultErrorKind::Unavailable(Outage::Firewall)),
                Kind::SignIn => (40, VaultErrorKind::Unauthenticated { code: None }),
                Kind::Dns => (1, VaultErrorKind::Unavailable(Outage::Dns)),
                _ => continue,
            };
            return Some(told);
        }
        None
    }

    /// What a read tells, once it may be told.
    async fn answer(&self, key: Key) -> Result<Written, VaultErrorKind> {
        let (world, vault) = (&self.world, self.vault());
        let plan = &world.plan;
        let (now, mut dice) = (world.now(), self.dice(Some(key)));
        let (latency, lag) = self.pace(now, &mut dice);
        let looked = now + dice.within(0, latency + 1);
        let trouble = self.trouble(now, &mut dice);
        let panics = plan.is_active(Kind::ReadPanics, vault, now) && dice.chance(60);
        let false_miss = plan.is_active(Kind::FalseMiss, vault, now) && dice.chance(25);
        pause(trouble.as_ref().map_or(latency, |(pause, _)| *pause)).await;
        if panics {
            std::panic::panic_any(SCRIPTED);
        }
        if let Some((_, kind)) = trouble {
            return Err(kind);
        }
        if plan.is_active(Kind::ReadDenied, vault, now) {
            return Err(VaultErrorKind::Denied(Denial::Rbac));
        }
        if false_miss {
            return Err(VaultErrorKind::NotFound);
        }
        let state = plan.truth(self.view, key.name).at(looked.saturating_sub(lag));
        let written = match key.version {
            Some(number) => state.iter().find(|written| written.number == number),
            None => state.last(),
        };
        match written {
            None => Err(VaultErrorKind::NotFound),
            Some(written) if !written.enabled => Err(VaultErrorKind::Disabled),
            Some(written) => Ok(*written),
        }
    }
}

async fn pause(long: Ms) {
    if long == u64::MAX {
        std::future::pending().await
    } else {
        sleep(Duration::from_millis(long)).await;
    }
}

const LISTING_LIMIT: Ms = 15_000;

/// Notes when a call ends, however it does.
struct Noted<'a> {
    world: &'a World,
    number: usize,
    told: Told,
}

impl<'a> Noted<'a> {
    fn begin(world: &'a World, hand: Hand, key: Key) -> Self {
        let mut book = world.history.write();
        book.calls.push(Call { key, hand, start: world.now(), end: None, told: Told::Nothing });
        Self { world, number: book.calls.len() - 1, told: Told::Nothing }
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let now = self.world.now();
        if let Some(call) = self.world.history.write().calls.get_mut(self.number) {
            (call.end, call.told) = (Some(now), self.told);
        }
    }
}

#[async_trait]
impl Vault for Simulated {
    fn info(&self) -> &VaultInfo {
        &self.info
    }

    async fn get(&self, name: &SecretName, version: Option<&Version>) -> Result<Secret, VaultError> {
        let number = version.map(|version| u32::from_str_radix(version.as_str(), 16).unwrap());
        let key = Key { view: self.view, name: index_of(name), version: number };
        let cut = || VaultError::new(VaultErrorKind::Unavailable(Outage::Internal), "its process was killed");
        if self.caller.dead.is_cancelled() {
            return Err(cut());
        }
        let mut noted = Noted::begin(&self.world, self.caller.hand, key);
        let answer = tokio::select! {
            biased;
            () = self.caller.dead.cancelled() => return Err(cut()),
            answer = self.answer(key) => answer,
        };
        match answer {
            Ok(written) => {
                let Written { number, updated, tag, enabled, .. } = written;
                noted.told = Told::Value { number, updated, tag, enabled };
                let value = SecretValue::new(value_of(&self.world.plan, self.view, key.name, number));
                Ok(Secret { metadata: metadata(key.name, &written, true), value })
            }
            Err(kind) => {
                let reason = kind.reason();
                noted.told = if kind.is_authoritative() { Told::Word(reason) } else { Told::Outage(reason) };
                Err(VaultError::new(kind, "as scripted"))
            }
        }
    }

    fn list(&self) -> BoxStream<'_, Result<Metadata, VaultError>> {
        let number = {
            let mut book = self.world.history.write();
            let (view, hand, start) = (self.view, self.caller.hand, self.world.now());
            book.sweeps.push(Sweep { view, hand, start, end: None, whole: false, failure: None, rows: Vec::new() });
            book.sweeps.len() - 1
        };
        let (names, dice) = (self.world.plan.vaults[self.vault()].len(), self.dice(None));
        let page = Sweeping { vault: self, number, names, next: 0, dice, over: false };
        stream::unfold(page, Sweeping::row).boxed()
    }

    fn versions(&self, _name: &SecretName) -> BoxStream<'_, Result<Metadata, VaultError>> {
        stream::empty().boxed()
    }
}

/// A listing under way: every name takes its own look at the truth.
struct Sweeping<'a> {
    vault: &'a Simulated,
    number: usize,
    names: usize,
    next: usize,
    dice: Dice,
    over: bool,
}

impl Sweeping<'_> {
    async fn row(mut self) -> Option<(Result<Metadata, VaultError>, Self)> {
        let world = &self.vault.world;
        let (plan, vault) = (&world.plan, self.vault.vault());
        while !self.over {
            let now = world.now();
            let (latency, lag) = self.vault.pace(now, &mut self.dice);
            let trouble = self.vault.trouble(now, &mut self.dice);
            let breaks = plan.is_active(Kind::ListBreaks, vault, now) && self.dice.chance(50);
            let short = plan.is_active(Kind::ListShort, vault, now) && self.dice.chance(40);
            let panics = plan.is_active(Kind::ListPanics, vault, now) && self.dice.chance(40);
            // A backend gives a listing up at its own limit.
            pause(trouble.as_ref().map_or(latency, |(pause, _)| (*pause).min(LISTING_LIMIT))).await;
            if panics {
                std::panic::panic_any(SCRIPTED);
            }
            let denied = plan.is_active(Kind::ListDenied, vault, now);
            let failure = trouble.map(|(_, kind)| kind);
            let failure = failure.or(breaks.then_some(VaultErrorKind::Unavailable(Outage::Connection)));
            if let Some(kind) = failure.or(denied.then_some(VaultErrorKind::Denied(Denial::Rbac))) {
                self.end(Some(kind.reason()));
                return Some((Err(VaultError::new(kind, "as scripted")), self));
            }
            if self.next == self.names {
                self.end(None);
                return None;
            }
            let name = self.next;
            self.next += 1;
            let state = plan.truth(self.vault.view, name).at(world.now().saturating_sub(lag));
            if let Some(written) = state.last().filter(|_| !short) {
                let row = (name, written.number, written.updated, written.tag, written.enabled);
                if let Some(sweep) = world.history.write().sweeps.get_mut(self.number) {
                    sweep.rows.push(row);
                }
                return Some((Ok(metadata(name, written, false)), self));
            }
        }
        None
    }

    fn end(&mut self, failure: Option<&'static str>) {
        self.over = true;
        let world = &self.vault.world;
        let now = world.now();
        if let Some(sweep) = world.history.write().sweeps.get_mut(self.number) {
            (sweep.end, sweep.whole, sweep.failure) = (Some(now), failure.is_none(), failure);
        }
    }
}

impl Drop for Sweeping<'_> {
    /// It was given up, or fell.
    fn drop(&mut self) {
        let world = &self.vault.world;
        let now = world.now();
        if let (false, Some(sweep)) = (self.over, world.history.write().sweeps.get_mut(self.number)) {
            sweep.end = Some(now);
        }
    }
}

impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulated").field("view", &self.view).finish_non_exhaustive()
    }
}

/// Finds vaults, or does not.
struct Finder {
    world: Arc<World>,
    source: usize,
    name: SourceName,
    vaults: Vec<Arc<Simulated>>,
}

#[async_trait]
impl Source for Finder {
    fn name(&self) -> &SourceName {
        &self.name
    }

    async fn discover(&self) -> Discovery {
        let plan = &self.world.plan;
        let now = self.world.now();
        let round = {
            let mut rounds = self.world.rounds.lock().unwrap();
            let count = rounds.entry(self.source).or_default();
            *count += 1;
            *count
        };
        let mut dice = Dice::of(plan.seed, &[3, self.source as u64, round]);
        let during = |kind| plan.faults.iter().find(|fault| fault.is_active(kind, fault.vault.unwrap_or(0), now));
        if during(Kind::DiscoveryHangs).is_some() {
            pause(u64::MAX).await;
        }
        pause(dice.within(1, 300)).await;
        let mut found = Discovery::default();
        let failing = during(Kind::DiscoveryFails).is_some();
        if failing {
            found.faults.push(VaultError::new(VaultErrorKind::Unavailable(Outage::Server(503)), "as scripted"));
        }
        let missing = |vault: usize| plan.is_active(Kind::DiscoveryLies, vault, now);
        for vault in &self.vaults {
            if missing(vault.vault()) || failing && dice.chance(60) {
                continue;
            }
            found.vaults.push(Arc::<Simulated>::clone(vault));
        }
        found
    }

    fn recall(&self, info: &VaultInfo) -> Option<Arc<dyn Vault>> {
        let vault = self.vaults.iter().find(|vault| vault.info().name == info.name)?;
        Some(Arc::<Simulated>::clone(vault))
    }
}

impl fmt::Debug for Finder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finder").field("source", &self.source).finish_non_exhaustive()
    }
}
