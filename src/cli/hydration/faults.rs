//! All that keeps a set from being whole, told together, so that it is mended in one go.

use crate::cli::terminal::harmless;
use crate::cli::{Exit, Failure};

/// What is wrong, line by line, and how the process ends for it.
#[derive(Debug)]
pub(in crate::cli) struct Faults {
    exit: Exit,
    told: Vec<String>,
}

impl Faults {
    /// None yet.
    pub(in crate::cli) fn none() -> Self {
        Self { exit: Exit::Ok, told: Vec::new() }
    }

    /// This one alone.
    pub(in crate::cli) fn one(exit: Exit, told: impl Into<String>) -> Self {
        let mut faults = Self::none();
        faults.add(exit, told);
        faults
    }

    /// One more. The process ends as for what lasts longest: a refusal, then what waiting does not mend, and else with
    /// 'unavailable'.
    pub(in crate::cli) fn add(&mut self, exit: Exit, told: impl Into<String>) {
        if matches!(self.exit, Exit::Ok | Exit::Unavailable) || exit == Exit::Denied {
            self.exit = exit;
        }
        self.told.push(told.into());
    }

    /// All of the others too.
    pub(in crate::cli) fn extend(&mut self, others: Self) {
        for told in others.told {
            self.add(others.exit, told);
        }
    }

    /// What was to be had, if nothing was wrong.
    pub(in crate::cli) fn or<T>(self, whole: T) -> Result<T, Self> {
        if self.told.is_empty() { Ok(whole) } else { Err(self) }
    }

    /// Whether waiting may mend all of it.
    pub(in crate::cli) fn may_pass(&self) -> bool {
        self.exit == Exit::Unavailable
    }

    /// The first line, for who wants to know in short.
    pub(in crate::cli) fn first(&self) -> &str {
        self.told.first().and_then(|told| told.lines().next()).unwrap_or_default()
    }

    /// For the user: what did not happen, such as "nothing was started", and every reason.
    pub(in crate::cli) fn so(self, consequence: &str) -> Failure {
        let lines = self.told.iter().flat_map(|told| {
            let indented = told.lines().enumerate();
            indented.map(|(at, line)| format!("{}{}", if at == 0 { "  " } else { "    " }, harmless(line)))
        });
        let lines: Vec<_> = lines.collect();
        Failure::new(self.exit, format!("{consequence}:\n{}", lines.join("\n")))
    }
}

impl From<Failure> for Faults {
    fn from(failure: Failure) -> Self {
        Self::one(failure.exit, failure.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_and_the_one_that_lasts_longest_decides() {
        let mut faults = Faults::one(Exit::Unavailable, "A: throttled");
        assert!(faults.may_pass());
        faults.add(Exit::NotFound, "B: none\nit is one of \u{1b}[2J");
        faults.add(Exit::Usage, "C: x");
        faults.extend(Faults::one(Exit::Unavailable, "D: y"));
        assert!(!faults.may_pass());
        let failure = faults.so("nothing was started");
        assert_eq!(failure.exit, Exit::NotFound);
        let told = "nothing was started:\n  A: throttled\n  B: none\n    it is one of \\u{1b}[2J\n  C: x\n  D: y";
        assert_eq!(failure.message, told);
        let mut faults = Faults::one(Exit::NotFound, "A");
        faults.extend(Faults::one(Exit::Denied, "B"));
        assert_eq!(faults.so("").exit, Exit::Denied);
    }

    #[test]
    fn what_has_no_fault_is_whole() {
        assert_eq!(Faults::none().or(1).ok(), Some(1));
        assert!(Faults::one(Exit::Usage, "A").or(1).is_err());
    }
}
