//! The clients of a simulated world, and the world's course from its first moment to its last.

use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};
use std::time::Duration;

use futures::FutureExt as _;
use sidekey::broker::{Ask, Broker, Error, Origin, Reading as Told};
use sidekey::secret::{Reference, VaultName};
use tokio::task::JoinSet;
use tokio::time::{advance, sleep, sleep_until, timeout};

use super::history::{Answer, Book, Reading};
use super::plan::{Deed, Plan, Question};
use super::process::Process;
use super::truth::Ms;
use super::world::{SCRIPTED, World, name_of, value_of, version_of};

/// Lives that world through, and tells what happened.
pub fn live(plan: Plan) -> Book {
    quiet();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(plan);
        course(&world).await;
        world.history.close()
    })
}

async fn course(world: &Arc<World>) {
    let plan = &world.plan;
    let mut process = Process::start(world, false);
    let mut waiting = JoinSet::new();
    for (deed, (at, what)) in plan.deeds.iter().enumerate() {
        sleep_until(world.at(*at)).await;
        while waiting.try_join_next().is_some() {}
        match what {
            Deed::Freeze { until } => advance(Duration::from_millis(until.saturating_sub(world.now()))).await,
            Deed::Suspend { until } => world.suspend(*until),
            Deed::Restart { warm } => {
                process.kill().await;
                process = Process::start(world, *warm);
            }
            Deed::Reload => process.reload(),
            Deed::Read(question) => {
                let mut reader = Box::pin(read(Arc::clone(world), process.clone(), *question, deed));
                // What need not wait is over here and now.
                if futures::poll!(&mut reader).is_pending() {
                    waiting.spawn(reader);
                }
            }
            Deed::Resolve(questions) => {
                let mut reader = Box::pin(resolve(Arc::clone(world), process.clone(), questions.clone(), deed));
                if futures::poll!(&mut reader).is_pending() {
                    waiting.spawn(reader);
                }
            }
        }
    }
    sleep_until(world.at(plan.end)).await;
    process.stop().await;
    // The longest that a reader can be kept waiting: several vaults, one after the other.
    sleep(Duration::from_secs(200)).await;
    while waiting.try_join_next().is_some() {}
    let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    world.history.write().left = left;
}

async fn read(world: Arc<World>, process: Process, question: Question, deed: usize) {
    let (asked, broker, hand) = (world.now(), process.broker(), process.hand());
    let ask = ask(&world.plan, &question);
    let get = AssertUnwindSafe(broker.get(&ask)).catch_unwind();
    let told = async {
        match question.patience {
            Some(long) => timeout(Duration::from_millis(long), get).await.ok(),
            None => Some(get.await),
        }
    };
    let told = tokio::select! {
        biased;
        () = process.killed() => None,
        told = told => told,
    };
    let answer = match told {
        Some(Ok(told)) => answer(&world.plan, &broker, &question, told.as_ref()),
        Some(Err(_)) => Answer::Failed("panicked"),
        None => Answer::WentAway,
    };
    let done = world.now();
    world.history.write().readings.push(Reading { question, asked, done, answer, deed, hand });
}

async fn resolve(world: Arc<World>, process: Process, questions: Vec<Question>, deed: usize) {
    let (asked, broker, hand) = (world.now(), process.broker(), process.hand());
    let reference = |question: &Question| {
        let ask = ask(&world.plan, question);
        Reference { version: ask.version, ..Reference::new(ask.vault.unwrap(), ask.name) }
    };
    let references: BTreeMap<String, Reference> =
        questions.iter().enumerate().map(|(n, question)| (n.to_string(), reference(question))).collect();
    let told = tokio::select! {
        biased;
        () = process.killed() => None,
        told = broker.resolve(&references) => Some(told),
    };
    let done = world.now();
    for (n, question) in questions.into_iter().enumerate() {
        let one = match &told {
            Some(Ok(all)) => Some(Ok(&all[&n.to_string()].reading)),
            Some(Err(failed)) => match failed.get(&n.to_string()) {
                Some(error) => Some(Err(error)),
                None => continue,
            },
            None => None,
        };
        let answer = one.map_or(Answer::WentAway, |one| answer(&world.plan, &broker, &question, one));
        world.history.write().readings.push(Reading { question, asked, done, answer, deed, hand });
    }
}

fn ask(plan: &Plan, question: &Question) -> Ask {
    Ask {
        vault: question.view.map(|view| plan.id(view).parse().unwrap()),
        name: name_of(question.name),
        version: question.version.map(version_of),
        steer: question.steer,
    }
}

fn answer(plan: &Plan, broker: &Broker, question: &Question, told: Result<&Told, &Error>) -> Answer {
    match told {
        Ok(reading) => {
            let view = question.view.unwrap_or_else(|| view_of(plan, broker, &reading.vault));
            let metadata = &reading.secret.metadata;
            let version = metadata.version.as_ref().unwrap();
            let number = u32::from_str_radix(version.as_str(), 16).unwrap();
            let value = value_of(plan, view, question.name, number);
            let true_value =
                reading.secret.value.expose() == value.as_bytes() && metadata.name == name_of(question.name);
            Answer::Secret {
                view,
                number,
                age: reading.age.as_millis() as Ms,
                stale: reading.stale,
                held: reading.origin == Origin::Held,
                true_value,
            }
        }
        Err(error) => Answer::Failed(error.reason()),
    }
}

/// Which view that address means; a bare name is the vault's that was found first.
fn view_of(plan: &Plan, broker: &Broker, address: &VaultName) -> usize {
    let id = broker.entry(address).map_or_else(|_| address.clone(), |entry| entry.id().clone());
    let bare = |view: usize| plan.id(view).split_once(':').is_some_and(|(_, name)| name == id.as_str());
    let views = || 0..plan.views.len();
    views().find(|view| plan.id(*view) == id.as_str()).or_else(|| views().find(|view| bare(*view))).unwrap()
}

/// Keeps scripted panics off the terminal.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&SCRIPTED) {
                before(info);
            }
        }));
    });
}
