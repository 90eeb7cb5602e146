//! What systemd is told, where it started the sidecar and asked to be told (`Type=notify` or `notify-reload`): that it
//! listens, that it reloads, that it stops, and, with `WatchdogSec=`, that its runtime still runs tasks. Elsewhere,
//! nothing happens. The protocol is a line or two in a datagram, as `sd_notify(3)` has it.
//!
//! Must never happen: a sidecar that waits long for systemd, or ends because it cannot be told.

use std::future::pending;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::SocketAddr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixDatagram;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::config::Vars;

/// While its queue is full. It takes its messages at once; one that does not is not waited for any longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where it is told. A cheap handle.
#[derive(Debug, Clone)]
pub(super) struct Systemd {
    socket: Option<SocketAddr>,
    /// It wants to hear from us at least that often.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// As its variables say.
    pub(super) fn of(vars: &Vars) -> Self {
        let address = |name: &str| match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let ours = vars.get("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let period = vars.get("WATCHDOG_USEC").and_then(|period| period.parse().ok()).filter(|period| *period > 0);
        Self {
            socket: vars.get("NOTIFY_SOCKET").and_then(|name| address(name).ok()),
            watchdog: period.filter(|_| ours).map(Duration::from_micros),
        }
    }

    /// It listens. Whether it is ready is another question, which an outage must not answer with an endless start.
    pub(super) async fn listening(&self) {
        self.tell("READY=1\nSTATUS=listening\n").await;
    }

    /// It reads its configuration again. [`Systemd::listening`] ends that.
    pub(super) async fn reloading(&self) {
        let now = clock_gettime(ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}\n", now.tv_sec * 1_000_000 + now.tv_nsec / 1_000)).await;
    }

    /// It was told to stop.
    pub(super) async fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=finishing what is under way\n").await;
    }

    /// Tells twice in each of systemd's periods that tasks are run. To be run as a task like any other: where those are
    /// not run any more, neither is this.
    pub(super) async fn watchdog(self) {
        let Some(period) = self.watchdog else { return pending().await };
        let mut ticks = interval((period / 2).max(Duration::from_millis(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1\n").await;
        }
    }

    async fn tell(&self, state: &str) {
        let Some(socket) = &self.socket else { return };
        let told = async {
            let to = std::os::unix::net::UnixDatagram::unbound()?;
            to.connect_addr(socket)?;
            to.set_nonblocking(true)?;
            UnixDatagram::from_std(to)?.send(state.as_bytes()).await
        };
        let told = timeout(PATIENCE, told).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        if let Err(error) = told {
            tracing::debug!(reason = %error.kind(), "systemd cannot be told");
        }
    }
}
