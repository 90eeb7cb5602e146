//! The process of a simulated world: a broker over its sources, and what runs for it, from its start until it is killed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use sidekey::broker::{Broker, Mark};
use sidekey::budget::Budgets;
use sidekey::catalog::Catalog;
use sidekey::clock::Moment;
use sidekey::metrics::Metrics;
use sidekey::snapshot::{Contents, Restored};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::history::{Hand, Kept, Key, Start};
use super::world::{Caller, World, index_of};

/// One process. Clones are the same one.
#[derive(Clone)]
pub struct Process {
    world: Arc<World>,
    life: usize,
    dead: CancellationToken,
    budgets: Budgets,
    began: Moment,
    serves: Arc<Mutex<Sidecar>>,
}

/// A broker and what runs for it.
struct Sidecar {
    broker: Broker,
    stop: CancellationToken,
    run: JoinSet<()>,
}

impl Process {
    /// Starts one; with what the one before has kept, if it is to be warm.
    pub fn start(world: &Arc<World>, warm: bool) -> Self {
        let life = world.history.write().starts.len();
        let (dead, budgets) = (CancellationToken::new(), Budgets::new(world.plan.budget.clone(), Metrics::default()));
        let broker = broker(world, &Caller { hand: Hand { life, broker: life }, dead: dead.clone() }, &budgets);
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
        let mut sidecar = Sidecar { broker, stop: CancellationToken::new(), run: JoinSet::new() };
        sidecar.run();
        sidecar.keep(world, began);
        let serves = Arc::new(Mutex::new(sidecar));
        Self { world: Arc::clone(world), life, dead, budgets, began, serves }
    }

    /// Who serves now.
    pub fn broker(&self) -> Broker {
        self.serves.lock().unwrap().broker.clone()
    }

    pub fn life(&self) -> usize {
        self.life
    }

    /// Resolves when it is killed.
    pub async fn killed(&self) {
        self.dead.cancelled().await;
    }

    /// It is gone at once: what it asked for is cut off, who waits for it is left alone.
    pub async fn kill(&self) {
        self.dead.cancel();
        let mut run = std::mem::take(&mut self.serves.lock().unwrap().run);
        run.shutdown().await;
    }

    /// Ends in good order.
    pub async fn stop(&self) {
        let mut run = {
            let mut serves = self.serves.lock().unwrap();
            serves.stop.cancel();
            std::mem::take(&mut serves.run)
        };
        while run.join_next().await.is_some() {}
    }
}

fn broker(world: &Arc<World>, caller: &Caller, budgets: &Budgets) -> Broker {
    let catalog = Catalog::new(world.sources(caller, budgets), world.plan.catalog.clone());
    Broker::new(catalog, world.plan.broker.clone(), Metrics::default())
}

impl Sidecar {
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
