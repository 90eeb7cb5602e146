//! The fake Azure: Entra, Resource Manager, Resource Graph, IMDS and every vault of an [`Estate`], on one port.
//!
//! It speaks for the real host names, so that a client runs the code that it runs in production: names are sent here by
//! an override in the client's resolver, the certificates of an authority made at start are trusted, and the 401
//! challenge is verified. The first byte of a connection tells TLS from plain HTTP; the latter gets IMDS only, as in
//! Azure. What a service answers is taken from recorded answers of the real one where there are any (`tests/golden`).
//!
//! Faults and changes are scripted through `/_emulator/` or [`Control`], which also tell how often everything was
//! asked. These routes need no credentials and the secrets are made up: it is a test tool, to be bound to loopback,
//! and must never face a network.
//!
//! A request goes `server` (connection, fault) → `route` (host → service) → `entra`, `arm` or `key_vault` → `answer`.

mod answer;
mod arm;
mod budget;
mod ca;
mod calls;
mod certificate;
mod change;
mod control;
mod entra;
mod estate;
mod fault;
mod inject;
mod key_vault;
mod paging;
mod request;
mod rights;
mod route;
mod serve;
mod server;
mod token;
mod world;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use calls::{Calls, Endpoint, VaultCalls};
pub use change::{Change, ChangeError};
pub use control::Control;
pub use estate::{
    App, Budget, Challenge, Cloud, Estate, EstateFault, Federated, Firewall, Grant, Graph, Managed, PageEnd, Paging,
    Right, Scope, Secret, SecretVersion, Subscription, Tenant, Value, Vault,
};
pub use fault::{Effect, Fault, Respond};
pub use serve::{ServeError, ServeOptions, serve};

use ca::Ca;
use world::World;

/// A running fake Azure. Dropping it stops it at once.
pub struct Emulator {
    addr: SocketAddr,
    ca: Arc<Ca>,
    world: Arc<World>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Emulator {
    /// Serves an estate on a bound listener until it is stopped or dropped. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the listener is not usable, or keys cannot be made.
    pub fn start(estate: Estate, listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let addr = listener.local_addr()?;
        let ca = Arc::new(Ca::new()?);
        let tls = Arc::new(ca.server_config()?);
        let world = Arc::new(World::new(estate)?);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let connections = server::Connections { tls, world: world.clone(), stop: stop.clone(), tasks: tasks.clone() };
        tasks.spawn(connections.accept(listener));
        Ok(Self { addr, ca, world, stop, tasks })
    }

    /// Serves an estate on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// As [`Emulator::start`].
    pub fn start_on_loopback(estate: Estate) -> io::Result<Self> {
        Self::start(estate, std::net::TcpListener::bind(("127.0.0.1", 0))?)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The certificate, in PEM, of the authority that its clients must trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.ca.pem()
    }

    /// Scripts faults, makes changes and reads counters, in the same process.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(self.world.clone())
    }

    /// Stops: no new connection, every open one closed after the answer it is giving.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
    }
}

impl fmt::Debug for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emulator").field("addr", &self.addr).finish_non_exhaustive()
    }
}

/// The text form of an id.
fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// An id for one request.
fn random_uuid() -> String {
    uuid(&random())
}

fn random<const N: usize>() -> [u8; N] {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    bytes
}
