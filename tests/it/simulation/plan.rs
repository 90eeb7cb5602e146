//! A world before it begins, drawn from its seed: what is true when, what goes wrong when, who asks for what when.
//!
//! Seeds are small and dense: one to three vaults of a few names, and several faults that overlap.

use std::time::Duration;

use sidekey::broker::{BrokerOptions, Steer};
use sidekey::budget::BudgetOptions;
use sidekey::cache::CacheOptions;
use sidekey::catalog::CatalogOptions;

use super::dice::Dice;
use super::fault::{Fault, Kind};
use super::truth::{Act, MINUTE, Ms, SECOND, Secret};

/// All that is decided before a world begins.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub broker: BrokerOptions,
    pub catalog: CatalogOptions,
    /// What its sources may ask of a vault.
    pub budget: BudgetOptions,
    /// By vault, then by name.
    pub vaults: Vec<Vec<Secret>>,
    pub views: Vec<View>,
    pub faults: Vec<Fault>,
    /// In the order of time.
    pub deeds: Vec<(Ms, Deed)>,
    /// All is well from then on, and nothing is written.
    pub healed: Ms,
    pub end: Ms,
}

/// A vault as one source sees it: what a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    pub source: usize,
    pub vault: usize,
}

/// What a client does, or is done to.
#[derive(Debug, Clone)]
pub enum Deed {
    Read(Question),
    /// Several at once, in one resolve.
    Resolve(Vec<Question>),
    /// The process stands still.
    Freeze {
        until: Ms,
    },
    /// The machine is suspended.
    Suspend {
        until: Ms,
    },
    /// The process is killed, and another begins with what it has kept, or with nothing.
    Restart {
        warm: bool,
    },
    /// A successor takes the broker's place.
    Reload,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    /// `None`: whichever vault has it.
    pub view: Option<usize>,
    pub name: usize,
    pub version: Option<u32>,
    pub steer: Steer,
    /// The reader goes away after so long.
    pub patience: Option<Ms>,
}

impl Question {
    pub fn of(view: usize, name: usize) -> Self {
        Self { view: Some(view), name, version: None, steer: Steer::default(), patience: None }
    }

    /// Whether whatever is held will do.
    pub fn is_plain(&self) -> bool {
        self.steer == Steer::default() && self.patience.is_none()
    }

    pub fn insists(&self) -> bool {
        self.steer.no_cache || self.steer.max_age == Some(Duration::ZERO)
    }
}

/// Wall time at the beginning, in seconds.
const WALL: i64 = 1_790_000_000;
/// How long all is well in the end, beside the interval of listings.
pub const TAIL: Ms = 110 * SECOND;

impl Plan {
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::of(seed, &[1]);
        let busy = match dice.below(2_000) {
            0 => 12 * 60 * MINUTE,
            1..20 => dice.within(15 * MINUTE, 60 * MINUTE),
            _ => dice.within(MINUTE, 5 * MINUTE),
        };
        let (vaults, names) = (1 + dice.below(3), 1 + dice.below(3));
        let (broker, catalog, budget) = options(seed, &mut dice);
        let healed = busy;
        let end = healed + TAIL + catalog.listing_interval.as_millis() as Ms;
        let mut plan = Self {
            seed,
            broker,
            catalog,
            budget,
            vaults: Vec::new(),
            views: (0..vaults).map(|vault| View { source: 0, vault }).collect(),
            faults: Vec::new(),
            deeds: Vec::new(),
            healed,
            end,
        };
        if dice.chance(20) {
            // A second identity sees a vault that the first one sees too.
            plan.views.push(View { source: 1, vault: dice.below(vaults) });
        }
        plan.faults = faults(&plan, vaults, &mut dice);
        plan.lengthen();
        plan.vaults = (0..vaults).map(|vault| (0..names).map(|_| life(&plan, vault, &mut dice)).collect()).collect();
        plan.deeds = deeds(&plan, names, &mut dice);
        plan
    }

    /// A suspend may be longer than all the rest: what comes after it is put off by so many minutes.
    fn lengthen(&mut self) {
        let Some(suspend) = self.faults.iter().find(|fault| fault.kind == Kind::Suspend).copied() else { return };
        let by = suspend.level as Ms * MINUTE;
        for fault in &mut self.faults {
            let whole = fault.from > suspend.from;
            fault.from += if whole { by } else { 0 };
            // What stands still for so long is not the process alone.
            fault.to += if whole || fault.to > suspend.from && fault.kind != Kind::Freeze { by } else { 0 };
        }
        self.healed += by;
        self.end += by;
    }

    pub fn truth(&self, view: usize, name: usize) -> &Secret {
        &self.vaults[self.views[view].vault][name]
    }

    pub fn is_active(&self, kind: Kind, vault: usize, at: Ms) -> bool {
        self.faults.iter().any(|fault| fault.is_active(kind, vault, at))
    }

    /// That fault while it is active.
    pub fn active(&self, kind: Kind, vault: usize, at: Ms) -> Option<&Fault> {
        self.faults.iter().find(|fault| fault.is_active(kind, vault, at))
    }

    /// Whether something of that kind happens to that vault at any time.
    pub fn ever(&self, kind: Kind, vault: usize) -> bool {
        self.faults.iter().any(|fault| fault.kind == kind && fault.vault.is_none_or(|of| of == vault))
    }

    /// `s0:v1`.
    pub fn id(&self, view: usize) -> String {
        let View { source, vault } = self.views[view];
        format!("s{source}:v{vault}")
    }
}

fn options(seed: u64, dice: &mut Dice) -> (BrokerOptions, CatalogOptions, BudgetOptions) {
    let seconds = Duration::from_secs;
    let cache = CacheOptions {
        ttl: seconds(dice.pick(&[20, 60, 300])),
        negative_ttl: seconds(dice.pick(&[5, 30, 30])),
        max_stale: seconds(dice.pick(&[120, 600, 600, 3_600, 86_400])),
        reread: seconds(dice.pick(&[120, 600, 3_600])),
        seed,
        ..CacheOptions::default()
    };
    let calls_at_once = dice.pick(&[2, 32, 32]);
    let catalog = CatalogOptions {
        listing_interval: seconds(dice.pick(&[15, 60, 60])),
        discovery_interval: seconds(dice.pick(&[120, 600])),
        seed,
        ..CatalogOptions::default()
    };
    // Of its own dice: a world is what it was before there were budgets. Some are so small that they matter.
    let (reads_per_second, burst) = Dice::of(seed, &[4]).pick(&[(190, 100), (190, 100), (20, 10), (2, 4)]);
    let budget = BudgetOptions { reads_per_second, burst, calls_at_once, seed, ..BudgetOptions::default() };
    (BrokerOptions { cache, ..BrokerOptions::default() }, catalog, budget)
}

/// A few, around two points in time, so that they meet.
fn faults(plan: &Plan, vaults: usize, dice: &mut Dice) -> Vec<Fault> {
    let centres = [dice.within(0, plan.healed), dice.within(0, plan.healed)];
    let how_many = 2 + dice.below(5);
    let draw = |_| {
        let kind = dice.pick(Kind::ALL);
        let longest = match dice.below(4) {
            0 => plan.healed,
            1 => 20 * SECOND,
            _ => 3 * MINUTE,
        };
        let length = dice.within(2 * SECOND, longest);
        let centre = dice.pick(&centres);
        let from = dice.within(centre.saturating_sub(length), centre).min(plan.healed.saturating_sub(SECOND));
        let mut to = (from + length).min(plan.healed);
        let level = match kind {
            Kind::Throttled => dice.pick(&[-1, 0, 1, 10, 60, 1_000_000]),
            Kind::Lag => dice.pick(&[3_000, 20_000, 60_000]),
            Kind::ClockStep => dice.pick(&[-3_600, -30, -5, 5, 3_600, 86_400]),
            Kind::Refused => dice.pick(&[0, 2_000]),
            Kind::Restart => dice.pick(&[0, 1, 1]),
            Kind::Suspend => dice.pick(&[0, 0, 20, 8 * 60]),
            _ => 0,
        };
        match kind {
            // Two whole rounds must not meet the same lie: that would be the truth.
            Kind::DiscoveryLies => to = to.min(from + plan.catalog.discovery_interval.as_millis() as Ms * 8 / 10),
            Kind::Twins | Kind::Stampede => to = to.min(from + 20 * SECOND),
            Kind::Restart | Kind::Reload => to = from + SECOND,
            _ => {}
        }
        let vault = dice
            .chance(70)
            .then(|| dice.below(vaults))
            .filter(|_| !matches!(kind, Kind::Restart | Kind::Reload | Kind::Suspend));
        Fault { kind, vault, from, to, level }
    };
    let mut faults: Vec<Fault> = (0..how_many).map(draw).collect();
    if let Some(twins) = faults.iter().find(|fault| fault.kind == Kind::Twins && fault.from % 3 == 0).copied() {
        // Listings that take their time meanwhile.
        faults.push(Fault { kind: Kind::Slow, from: twins.from.saturating_sub(20 * SECOND), ..twins });
    }
    for once in [Kind::DiscoveryLies, Kind::Freeze, Kind::Suspend] {
        let mut first = true;
        faults.retain(|fault| fault.kind != once || std::mem::take(&mut first));
    }
    faults
}

fn life(plan: &Plan, vault: usize, dice: &mut Dice) -> Secret {
    let skew = dice.pick(&[0, 0, -2, 3, -86_400 * 3_650]);
    let mut acts = Vec::new();
    for _ in 0..dice.below(5) {
        let act = dice.pick(&[Act::Write, Act::Write, Act::Write, Act::Touch]);
        acts.push((dice.within(0, plan.healed), act));
    }
    for fault in plan.faults.iter().filter(|fault| fault.vault.is_none_or(|of| of == vault)) {
        if dice.chance(30) {
            continue;
        }
        match fault.kind {
            Kind::Deleted => {
                acts.push((fault.from, Act::Delete));
                acts.push((fault.to, dice.pick(&[Act::Recover, Act::Write])));
            }
            Kind::Disabled => {
                acts.push((fault.from, Act::Disable));
                acts.push((fault.to, dice.pick(&[Act::Enable, Act::Write])));
            }
            Kind::Twins => {
                for _ in 0..1 + dice.below(3) {
                    let second = dice.within(fault.from, fault.to) / SECOND * SECOND;
                    let (one, two) = (dice.within(0, SECOND), dice.within(0, SECOND));
                    acts.extend([(second + one, Act::Write), (second + two, Act::Write)]);
                }
            }
            // Writes make the most of these.
            Kind::Lag | Kind::ClockStep => {
                for _ in 0..1 + dice.below(3) {
                    acts.push((dice.within(fault.from, fault.to), Act::Write));
                }
            }
            _ => {}
        }
    }
    acts.retain(|(at, _)| *at < plan.healed);
    // Whatever was deleted or disabled is back when all is well.
    acts.push((plan.healed - 1, Act::Recover));
    acts.push((plan.healed, Act::Enable));
    let wall = |at: Ms| {
        let step = plan.active(Kind::ClockStep, vault, at).map_or(0, |fault| fault.level);
        WALL + skew + step + (at / SECOND) as i64
    };
    let present = dice.chance(80);
    let mut wake = dice.clone();
    Secret::live(acts, present, wall, &mut wake)
}

fn deeds(plan: &Plan, names: usize, dice: &mut Dice) -> Vec<(Ms, Deed)> {
    let mut deeds = Vec::new();
    let mut read = |at: Ms, question: Question| deeds.push((at, Deed::Read(question)));
    let views = plan.views.len();
    // Steady readers, as an application has them.
    for view in 0..views {
        for name in 0..names {
            if !dice.chance(70) {
                continue;
            }
            let every = dice.within(3 * SECOND, 25 * SECOND) * if plan.end > 2 * 60 * MINUTE { 8 } else { 1 };
            let mut at = dice.within(0, every);
            while at < plan.end {
                read(at, Question::of(view, name));
                at += every;
            }
        }
    }
    // And those who come now and then, most of them while something is wrong.
    for _ in 0..20 + dice.below(40) {
        let at = if plan.faults.is_empty() || dice.chance(30) {
            dice.within(0, plan.end)
        } else {
            let fault = plan.faults[dice.below(plan.faults.len())];
            dice.within(fault.from, (fault.to + 20 * SECOND).min(plan.end))
        };
        read(at, question(views, names, dice));
    }
    // Readers that insist, faster than they may.
    for _ in 0..dice.below(3) {
        let (mut at, view, name) = (dice.within(0, plan.end), dice.below(views), dice.below(names));
        for _ in 0..4 + dice.below(12) {
            let steer = Steer { no_cache: true, ..Steer::default() };
            read(at, Question { steer, ..Question::of(view, name) });
            at += dice.within(0, 700);
        }
    }
    // Between two writes of one second: nothing but a later read tells them apart.
    for view in 0..views {
        for name in 0..names {
            let states = &plan.truth(view, name).states;
            for pair in states.windows(2) {
                let second = |state: &(Ms, Vec<_>)| (!state.1.is_empty()).then_some(state.0 / SECOND);
                if second(&pair[0]).is_some() && second(&pair[0]) == second(&pair[1]) && dice.chance(60) {
                    let steer = Steer { no_cache: true, ..Steer::default() };
                    let steer = dice.pick(&[steer, Steer::default()]);
                    let at = dice.within(pair[0].0.saturating_sub(100), pair[1].0);
                    read(at, Question { steer, ..Question::of(view, name) });
                }
            }
        }
    }
    for fault in &plan.faults {
        match fault.kind {
            Kind::Stampede => {
                let at = dice.within(fault.from, fault.to);
                let mut asked = question(views, names, dice);
                asked.patience = None;
                for _ in 0..20 {
                    read(at, asked);
                }
            }
            Kind::Impatience => {
                for _ in 0..10 {
                    let patience = Some(dice.within(0, 150));
                    read(dice.within(fault.from, fault.to), Question { patience, ..question(views, names, dice) });
                }
            }
            _ => {}
        }
    }
    for fault in &plan.faults {
        match fault.kind {
            Kind::Freeze => deeds.push((fault.from, Deed::Freeze { until: fault.to })),
            Kind::Suspend => {
                let (from, until) = (fault.from, fault.to);
                // Who would have asked meanwhile does so when it wakes, a reader of each.
                deeds.retain(|(at, deed)| !(from..until).contains(at) || !matches!(deed, Deed::Read(_)));
                let all = (0..views).flat_map(|view| (0..names).map(move |name| Question::of(view, name)));
                deeds.extend(all.map(|question| (until, Deed::Read(question))));
                deeds.push((from, Deed::Suspend { until }));
            }
            Kind::Restart => deeds.push((fault.from, Deed::Restart { warm: fault.level > 0 })),
            Kind::Reload => deeds.push((fault.from, Deed::Reload)),
            _ => {}
        }
    }
    for _ in 0..dice.below(4) {
        let all = (0..2 + dice.below(3)).map(|_| Question::of(dice.below(views), dice.below(names))).collect();
        deeds.push((dice.within(0, plan.end), Deed::Resolve(all)));
    }
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}

fn question(views: usize, names: usize, dice: &mut Dice) -> Question {
    let mut question = Question::of(dice.below(views), dice.below(names));
    match dice.below(10) {
        0 => question.version = Some(dice.below(4) as u32),
        1 | 2 => question.view = None,
        _ => {}
    }
    match dice.below(10) {
        0 | 1 => question.steer.no_cache = true,
        2 => question.steer.max_age = Some(Duration::from_secs(dice.pick(&[0, 1, 10, 100]))),
        3 => question.steer.only_if_cached = true,
        4 => question.patience = Some(dice.within(0, 300)),
        _ => {}
    }
    question
}
