//! What can go wrong in a simulated world, and for how long.

use super::truth::Ms;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $name:literal,)*) => {
        /// One thing that goes wrong; the rows of the threat table that the core has to do with.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// F1: no connection, for reads and listings.
    Refused "F1 refused",
    /// F2: what is asked is never answered.
    BlackHole "F2 black hole",
    /// Answers take up to 13 s.
    Slow "F2 slow",
    /// F3.
    Garbage "F3 garbage",
    /// F4, with and without Retry-After, absurd ones too.
    Throttled "F4 throttled",
    /// F5: every other call fails with a 500.
    Flapping "F5 flapping",
    /// F7: gone in truth, and perhaps back later.
    Deleted "F7 deleted",
    /// F7: disabled in truth, and enabled later.
    Disabled "F7 disabled",
    /// F7: some reads are told that nothing is there, falsely.
    FalseMiss "F7 false miss",
    /// F8: reads are refused, listings not.
    ReadDenied "F8 reads denied",
    /// F8: listings are refused, reads not.
    ListDenied "F8 lists denied",
    /// F8: an outage, not a denial.
    Firewall "F8 firewall",
    /// F9, F11: signing in is refused.
    SignIn "F9 sign-in",
    /// F12.
    Dns "F12 DNS",
    /// F14: the process is killed, and starts again with the state that it has kept, or with none (level 0).
    Restart "F14 restart",
    /// F22, F28: a successor takes the broker's place while readers come.
    Reload "F22 reload",
    /// F20: many readers of one name at once.
    Stampede "F20 stampede",
    /// F21: the vault's clock is stepped.
    ClockStep "F21 clock step",
    /// F21: the machine is suspended, for up to hours: its timers stand still, the world does not.
    Suspend "F21 suspend",
    /// F23: a read of our own panics.
    ReadPanics "F23 read panics",
    /// F23: a listing of our own panics.
    ListPanics "F23 list panics",
    /// F24: the process stands still for a while.
    Freeze "F24 freeze",
    /// F26: replicas answer with what was true up to a minute ago.
    Lag "F26 lag",
    /// F27: rounds of discovery fail, or bring a part and say so.
    DiscoveryFails "F27 discovery fails",
    /// F27: a round that says that it is whole lacks a vault.
    DiscoveryLies "F27 discovery lies",
    /// F27: discovery hangs.
    DiscoveryHangs "F27 discovery hangs",
    /// Listings break off, and reads work.
    ListBreaks "list breaks off",
    /// A listing that ends well lacks names.
    ListShort "list short",
    /// Two writes in one second.
    Twins "two in a second",
    /// Readers go away while they wait.
    Impatience "impatient readers",
}

/// A kind, where and when.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    pub kind: Kind,
    /// Of which vault; `None`: of all.
    pub vault: Option<usize>,
    pub from: Ms,
    pub to: Ms,
    /// Something of the kind: the Retry-After in seconds, the longest lag in milliseconds, the step in seconds.
    pub level: i64,
}

impl Fault {
    pub fn is_active(&self, kind: Kind, vault: usize, at: Ms) -> bool {
        self.kind == kind && self.from <= at && at < self.to && self.vault.is_none_or(|of| of == vault)
    }
}
