//! The wire between the sidecar and the services behind one address: it can be cut, go silent, or lose what would open a
//! connection, and counts what went through it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// What comes goes on.
    Whole,
    /// Nobody listens, and open connections are reset.
    Cut,
    /// Connections are accepted, and nothing ever comes back on any of them, old or new.
    Silent,
    /// Whatever would open a connection is lost on its way; old connections are silent.
    Lost,
}

/// One wire. Dropping it cuts it.
pub struct Cable {
    address: SocketAddr,
    switch: mpsc::UnboundedSender<(Wire, oneshot::Sender<()>)>,
    counts: Arc<Counts>,
    _task: JoinSet<()>,
}

/// Bytes, and who is awaited.
#[derive(Debug, Default)]
struct Counts {
    /// Taken from the services, on their way to the sidecar.
    from_services: AtomicU64,
    /// Taken from the sidecar, and passed on or not.
    from_sidecar: AtomicU64,
    /// Connections on which the services have the word.
    owed: AtomicU64,
}

impl Cable {
    /// A whole wire to that address.
    pub async fn to(services: SocketAddr) -> Self {
        // An address that nothing else on this machine takes a port of while the wire is cut.
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let own = Ipv4Addr::new(127, 201, high, low);
        let listener = TcpListener::bind((own, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (switch, switched) = mpsc::unbounded_channel();
        let counts = Arc::<Counts>::default();
        let mut task = JoinSet::new();
        task.spawn(run(address, services, listener, switched, Arc::clone(&counts)));
        Self { address, switch, counts, _task: task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on.
    pub async fn set(&self, wire: Wire) {
        let (done, is_done) = oneshot::channel();
        self.switch.send((wire, done)).unwrap();
        is_done.await.unwrap();
    }

    /// Bytes that the services have sent.
    pub fn sent(&self) -> u64 {
        self.counts.from_services.load(Ordering::Relaxed)
    }

    /// Whether the sidecar waits for an answer on a wire that is whole.
    pub fn is_awaited(&self) -> bool {
        self.counts.owed.load(Ordering::Relaxed) > 0
    }

    /// Bytes that the sidecar has sent.
    pub fn asked(&self) -> u64 {
        self.counts.from_sidecar.load(Ordering::Relaxed)
    }
}

async fn run(
    address: SocketAddr,
    services: SocketAddr,
    listener: TcpListener,
    mut switched: mpsc::UnboundedReceiver<(Wire, oneshot::Sender<()>)>,
    counts: Arc<Counts>,
) {
    let (state, _) = watch::channel(Wire::Whole);
    let mut listener = Some(listener);
    let mut lost: Option<(Socket, Vec<Socket>)> = None;
    let mut connections = JoinSet::new();
    loop {
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            switch = switched.recv() => {
                let Some((wire, done)) = switch else { return };
                state.send_replace(wire);
                listener = None;
                lost = None;
                match wire {
                    Wire::Cut => while connections.join_next().await.is_some() {},
                    Wire::Lost => lost = Some(full(address)),
                    Wire::Whole | Wire::Silent => listener = Some(TcpListener::bind(address).await.unwrap()),
                }
                let _ = done.send(());
            }
            Ok((near, _)) = accept => {
                drop(connections.spawn(carry(near, services, state.subscribe(), Arc::clone(&counts))));
            }
            Some(_) = connections.join_next() => {}
        }
        // It lives as long as this wire loses what comes.
        let _ = &lost;
    }
}

/// Carries one connection until an end of it closes, or it is cut.
async fn carry(mut near: TcpStream, services: SocketAddr, mut wire: watch::Receiver<Wire>, counts: Arc<Counts>) {
    let mut owed = Owed { counts: Arc::clone(&counts), now: false };
    owed.set(true);
    let mut far = TcpStream::connect(services).await.unwrap();
    for end in [&near, &far] {
        // Nothing may lie about in the kernel while time leaps ahead.
        end.set_nodelay(true).unwrap();
    }
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        let now = *wire.borrow_and_update();
        if now != Wire::Whole {
            owed.set(false);
        }
        let carried: io::Result<bool> = tokio::select! {
            biased;
            changed = wire.changed() => {
                // A wire that was silent does not speak again of what it has swallowed: such connections stay dead.
                if changed.is_err() { return }
                Ok(true)
            }
            read = near.read(&mut up), if now != Wire::Cut => match read {
                Ok(0) => Ok(false),
                Ok(read) => {
                    counts.from_sidecar.fetch_add(read as u64, Ordering::Relaxed);
                    owed.set(now == Wire::Whole);
                    if now == Wire::Whole { far.write_all(&up[..read]).await.map(|()| true) } else { Ok(true) }
                }
                Err(error) => Err(error),
            },
            read = far.read(&mut down), if now == Wire::Whole => match read {
                Ok(0) => Ok(false),
                Ok(read) => {
                    counts.from_services.fetch_add(read as u64, Ordering::Relaxed);
                    owed.set(false);
                    near.write_all(&down[..read]).await.map(|()| true)
                }
                Err(error) => Err(error),
            },
        };
        let reset = match carried {
            Ok(true) => *wire.borrow() == Wire::Cut,
            Ok(false) => return,
            // What one end does to the other, this wire does too.
            Err(_) => true,
        };
        if reset {
            for end in [&near, &far] {
                SockRef::from(end).set_linger(Some(Duration::ZERO)).ok();
            }
            return;
        }
    }
}

/// Whether one connection is owed an answer.
struct Owed {
    counts: Arc<Counts>,
    now: bool,
}

impl Owed {
    fn set(&mut self, now: bool) {
        if now && !self.now {
            self.counts.owed.fetch_add(1, Ordering::Relaxed);
        } else if !now && self.now {
            self.counts.owed.fetch_sub(1, Ordering::Relaxed);
        }
        self.now = now;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// A listener whose queue is full: Linux drops every SYN that comes.
fn full(address: SocketAddr) -> (Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&address.into()).unwrap();
    listener.listen(0).unwrap();
    let fill = || {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        filler.set_nonblocking(true).unwrap();
        // It is under way, or it is lost: either is what it is for.
        let _ = filler.connect(&address.into());
        filler
    };
    (listener, (0..4).map(|_| fill()).collect())
}
