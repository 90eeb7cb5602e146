//! The process of a simulated world: a broker over its sources, and what runs for it, from its start until it is killed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidekey::broker::{Broker, Mark};
use sidekey::budget::Budgets;
use sidekey::catalog::Catalog;
use sidekey::clock::Moment;
use sidekey::metrics::Metrics;
use sidekey::snapshot::{Contents, Restored};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::history::{Hand, Kept, Key, Start};
use super::world::{Caller, World, index_of};

/// One process. Clones are the same one.
#[derive(Clone)]
pub struct Process(Arc<Inner>);

struct Inner {
    world: Arc<World>,
    dead: CancellationToken,
    budgets: Budgets,
    began: Moment,
    serves: Mutex<Sidecar>,
    /// One after the other.
    turn: tokio::sync::Mutex<()>,
    reloads: Mutex<JoinSet<()>>,
}

/// A broker and what runs for it.
struct Sidecar {
    broker: Broker,
    hand: Hand,
    stop: CancellationToken,
    run: JoinSet<()>,
}

/// A successor that is not ready by then takes the other's place all the same.
const PATIENCE: Duration = Duration::from_secs(30);
/// Reads under way end sooner.
const LAST_READS: Duration = Duration::from_secs(60);

impl Process {
    /// Starts one; with what the one before has kept, if it is to be warm.
    pub fn start(world: &Arc<World>, warm: bool) -> Self {
        let life = world.history.write().starts.len();
        let (dead, budgets) = (CancellationToken::new(), Budgets::new(world.plan.budget.clone(), Metrics::default()));
        let mut sidecar = Sidecar::idle(world, world.hand(life), &dead, &budgets);
        let broker = &sidecar.broker;
        // Without a snapshot there is no file either.
        let kept = world.disk.lock().unwrap().take().filter(|_| warm);
        world.disk.lock().unwrap().clone_from(&kept);
        let restored = kept.and_then(|kept| kept.within(broker.bounds(), world.wall()).ok());
        if let Some(restored) = &restored {
            broker.take_in(restored, Moment::now());
        }
        let kept = restored.map(|restored| told(world, &restored)).unwrap_or_default();
        world.history.write().starts.push(Start { at: world.now(), warm, kept });
        let began = Moment::now();
        world.history.write().serves.push((world.now(), sidecar.hand));
        sidecar.run();
        sidecar.keep(world, began);
        let (turn, reloads) = (tokio::sync::Mutex::default(), Mutex::default());
        let serves = Mutex::new(sidecar);
        Self(Arc::new(Inner { world: Arc::clone(world), dead, budgets, began, serves, turn, reloads }))
    }

    /// Who serves now.
    pub fn broker(&self) -> Broker {
        self.0.serves.lock().unwrap().broker.clone()
    }

    /// Its number.
    pub fn hand(&self) -> Hand {
        self.0.serves.lock().unwrap().hand
    }

    /// Resolves when it is killed.
    pub async fn killed(&self) {
        self.0.dead.cancelled().await;
    }

    /// It is gone at once: what it asked for is cut off, who waits for it is left alone.
    pub async fn kill(&self) {
        self.0.dead.cancel();
        let mut reloads = std::mem::take(&mut *self.0.reloads.lock().unwrap());
        reloads.shutdown().await;
        let mut run = std::mem::take(&mut self.0.serves.lock().unwrap().run);
        run.shutdown().await;
    }

    /// Ends in good order.
    pub async fn stop(&self) {
        let mut reloads = std::mem::take(&mut *self.0.reloads.lock().unwrap());
        while reloads.join_next().await.is_some() {}
        let run = self.0.serves.lock().unwrap().end();
        run.await;
    }

    /// A successor begins to take the broker's place: what `cli::reload` does, of a configuration that has not changed.
    pub fn reload(&self) {
        let process = self.clone();
        self.0.reloads.lock().unwrap().spawn(async move { process.0.replace().await });
    }
}

impl Inner {
    async fn replace(&self) {
        let _turn = self.turn.lock().await;
        let (before, life) = {
            let serves = self.serves.lock().unwrap();
            (serves.broker.clone(), serves.hand.life)
        };
        let mut next = Sidecar::idle(&self.world, self.world.hand(life), &self.dead, &self.budgets);
        let heir = next.broker.clone();
        heir.catalog().recall(before.catalog().known());
        before.cache().bequeath(heir.cache(), |_| true);
        next.run();
        let mut progress = heir.catalog().progress();
        let ready = progress.wait_for(|progress| progress.discovery_done && progress.reached);
        let _ = timeout(PATIENCE, ready).await;
        heir.catalog().recall(before.catalog().known());
        before.cache().tell_use();
        let served = (self.world.now(), next.hand);
        self.world.history.write().serves.push(served);
        let ended = std::mem::replace(&mut *self.serves.lock().unwrap(), next).end();
        ended.await;
        self.serves.lock().unwrap().keep(&self.world, self.began);
        let _ = timeout(LAST_READS, before.landed()).await;
    }
}

impl Sidecar {
    /// Asks nobody yet.
    fn idle(world: &Arc<World>, hand: Hand, dead: &CancellationToken, budgets: &Budgets) -> Self {
        let caller = Caller { hand, dead: dead.clone() };
        let catalog = Catalog::new(world.sources(&caller, budgets), world.plan.catalog.clone());
        let broker = Broker::new(catalog, world.plan.broker.clone(), Metrics::default());
        Self { broker, hand, stop: CancellationToken::new(), run: JoinSet::new() }
    }

    /// Ends what runs for it.
    fn end(&mut self) -> impl Future<Output = ()> + use<> {
        self.stop.cancel();
        let mut run = std::mem::take(&mut self.run);
        async move { while run.join_next().await.is_some() {} }
    }

    fn run(&mut self) {
        self.run.spawn(self.broker.catalog().clone().run(self.stop.clone()));
        self.run.spawn(self.broker.clone().run(self.stop.clone()));
    }

    /// What the keeper does, without a disk.
    fn keep(&mut self, world: &Arc<World>, began: Moment) {
        let (broker, world, stop) = (self.broker.clone(), Arc::clone(world), self.stop.clone());
        let write = move |mark: Mark| {
            *world.disk.lock().unwrap() = Some(broker.contents(world.wall()));
            (mark, Moment::now())
        };
        let broker = self.broker.clone();
        self.run.spawn(async move {
            let mut looks = interval(Mark::LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut written, mut at) = (Mark::default(), Moment::now());
            while stop.run_until_cancelled(looks.tick()).await.is_some() {
                let mark = broker.mark(began);
                if mark.is_due(&written, at.elapsed()) {
                    (written, at) = write(mark);
                }
            }
            let mark = broker.mark(began);
            if mark.is_news(&written) {
                write(mark);
            }
        });
    }
}

/// What was restored, as the checker knows it.
fn told(world: &World, restored: &Restored) -> BTreeMap<Key, Kept> {
    let Contents { values, .. } = &restored.contents;
    let one = |value: &sidekey::snapshot::KnownValue| {
        let number = |version: &sidekey::secret::Version| u32::from_str_radix(version.as_str(), 16).unwrap();
        let metadata = &value.secret.metadata;
        let view = (0..world.plan.views.len()).find(|view| world.plan.id(*view) == value.vault.as_str()).unwrap();
        let key = Key { view, name: index_of(&value.name), version: value.version.as_ref().map(number) };
        let kept = Kept {
            number: number(metadata.version.as_ref().unwrap()),
            updated: metadata.updated.unwrap().unix_timestamp(),
            since: world.of_wall(value.confirmed),
        };
        (key, kept)
    };
    values.iter().map(one).collect()
}
