//! Whoever answers: found once, waited for while it may still be starting, and asked as long as the command runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Faults, Values, Wanted};
use crate::cli::args::Connect;
use crate::cli::client::Client;
use crate::cli::lengths::length;
use crate::cli::pauses::Pauses;
use crate::cli::terminal::tell;
use crate::cli::{Context, Failure};

/// Whom to ask, and for how long.
#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct Asking {
    /// How long to wait at most for a sidecar that is still starting, such as 30s or 2m; 0s asks once
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = length)]
    wait: Duration,
    #[command(flatten)]
    connect: Connect,
}

/// The way to a sidecar that runs, or to the one in this process.
pub(in crate::cli) struct Door<'a> {
    context: &'a Context,
    connect: &'a Connect,
    /// Until then, what is unavailable may be starting.
    until: Instant,
    /// Who answered last.
    known: RefCell<Option<Rc<Client>>>,
}

/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Who waits longer is told for what.
const SILENCE: Duration = Duration::from_secs(2);

impl<'a> Door<'a> {
    /// Nobody is asked yet, but the time runs.
    pub(in crate::cli) fn new(context: &'a Context, asking: &'a Asking) -> Self {
        let until = Instant::now() + asking.wait;
        Self { context, connect: &asking.connect, until, known: RefCell::new(None) }
    }

    /// A value for all that is wanted, or every failure.
    pub(in crate::cli) async fn resolve(&self, wanted: &Wanted) -> Result<Values, Faults> {
        if wanted.is_empty() {
            return Ok(Values::default());
        }
        self.patiently(async |client| wanted.ask(&client).await).await
    }

    /// Asks, and asks again for as long as it may be that the sidecar is only starting.
    pub(super) async fn patiently<T>(&self, ask: impl AsyncFn(Rc<Client>) -> Result<T, Faults>) -> Result<T, Faults> {
        let why = RefCell::new("no answer yet".to_owned());
        let tries = async {
            let mut pauses = Pauses::between(FIRST_PAUSE, LONGEST_PAUSE);
            loop {
                match self.once(&ask).await {
                    Err(faults) if faults.may_pass() && !self.connect.direct && Instant::now() < self.until => {
                        faults.first().clone_into(&mut why.borrow_mut());
                        sleep_until(self.until.min(Instant::now() + pauses.next())).await;
                    }
                    outcome => return outcome,
                }
            }
        };
        let mut tries = std::pin::pin!(tries);
        tokio::select! {
            outcome = &mut tries => return outcome,
            () = sleep(SILENCE) => {}
        }
        if !self.connect.direct {
            tell(&format!("sidekey: still waiting: {}", why.borrow()));
        }
        tries.await
    }

    /// Asks once whoever answers.
    pub(super) async fn once<T>(&self, ask: impl AsyncFn(Rc<Client>) -> Result<T, Faults>) -> Result<T, Faults> {
        let outcome = ask(self.client()?).await;
        if outcome.as_ref().is_err_and(Faults::may_pass) {
            self.forget();
        }
        outcome
    }

    /// Who answers, as far as is known.
    fn client(&self) -> Result<Rc<Client>, Failure> {
        if let Some(known) = &*self.known.borrow() {
            return Ok(known.clone());
        }
        let client = Rc::new(Client::connect(self.context, self.connect)?);
        Ok(self.known.borrow_mut().insert(client).clone())
    }

    /// It may be another one that answers next, but for the one in this process, which holds what it has read.
    fn forget(&self) {
        let mut known = self.known.borrow_mut();
        if known.as_ref().is_some_and(|client| !client.is_in_process()) {
            *known = None;
        }
    }
}
