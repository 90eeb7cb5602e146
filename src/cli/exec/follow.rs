//! What `--watch` does when a secret has changed.

use std::convert::Infallible;
use std::time::Duration;

use rustix::process::Signal;
use tokio::sync::mpsc;

use super::{Plan, Ready};
use crate::cli::hydration::News;
use crate::cli::terminal::tell;
use crate::hydrate::Change;

/// What is done when a secret changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    Restart,
    Signal(Signal),
}

impl Watch {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "restart" => Ok(Self::Restart),
            None if text == "signal" => Ok(Self::Signal(Signal::HUP)),
            Some(("signal", name)) => signal(name).map(Self::Signal).ok_or_else(|| format!("no signal {name}")),
            _ => Err("expected restart, signal, or signal=NAME".to_owned()),
        }
    }
}

/// Tells `to` what is to be done, for ever. `ready` is what runs.
pub(super) async fn follow(
    watch: Watch,
    jitter: Duration,
    plan: &Plan<'_>,
    Ready { mut origins, mut mark }: Ready,
    to: mpsc::Sender<Change>,
) -> Infallible {
    let mut news = News::new(&plan.door, jitter);
    let so = "sidekey: what changes cannot be had, and the program goes on with what it has";
    loop {
        let look = async || {
            let (filled, ready) = plan.fill().await?;
            // Nothing is written anywhere for values that are the same.
            let is_same = ready.mark.as_ref() == mark.as_ref();
            let changed = if is_same { None } else { Some((filled.deliver()?, ready.mark)) };
            Ok((changed, ready.origins))
        };
        let (program, now) = news.change(&mut origins, so, look).await;
        mark = now;
        let change = match watch {
            Watch::Restart => {
                tell("sidekey: a secret has changed; restarting the program");
                Change::Restart(Box::new(program))
            }
            Watch::Signal(signal) => Change::Signal(signal),
        };
        // Taken as soon as the one before is done with. When nobody takes it, the program has ended, and so will we.
        let _ = to.send(change).await;
    }
}

/// A signal by its name, with or without SIG, or by its number.
fn signal(text: &str) -> Option<Signal> {
    let name = text.to_ascii_uppercase();
    let by_name = match name.strip_prefix("SIG").unwrap_or(&name) {
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        "TERM" => Signal::TERM,
        "ALRM" => Signal::ALARM,
        "WINCH" => Signal::WINCH,
        "CONT" => Signal::CONT,
        "PWR" => Signal::POWER,
        other => return other.parse().ok().and_then(Signal::from_named_raw),
    };
    Some(by_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_told_in_a_word() {
        assert_eq!(Watch::parse("restart"), Ok(Watch::Restart));
        for hang_up in ["signal", "signal=HUP", "signal=sighup", "signal=1"] {
            assert_eq!(Watch::parse(hang_up), Ok(Watch::Signal(Signal::HUP)));
        }
        for bad in ["", "reload", "signal=", "signal=FROB", "signal=0", "signal=-1", "signal=999", "restart=1"] {
            assert!(Watch::parse(bad).is_err(), "{bad}");
        }
    }
}
