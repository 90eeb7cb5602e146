use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Credentials, Given, Refusal, UnitAndId};
use crate::access::Peer;
use crate::access::audit::{Line, Operation};
use crate::api::Listener;
use crate::api::problem::request_id;
use crate::metrics::Metrics;
use crate::sparing::Sparing;

/// Answered at once. More wait in the socket's queue: at a machine's start many units come together.
const AT_ONCE: usize = 256;
/// For systemd to take what it is given.
const STALL: Duration = Duration::from_secs(10);
/// When the system has no more descriptors, and the like.
const PAUSE: Duration = Duration::from_millis(100);
/// systemd takes a mebibyte for a credential, and an eighth more for an encrypted one.
const TOO_MUCH: usize = 2 * 1024 * 1024;

/// Answers systemd on that unix socket until it is told to stop. Who waits then is refused, so that no unit is started
/// without its credential; `grace` is what they may take.
pub async fn serve(
    listener: Listener,
    credentials: Credentials,
    metrics: Metrics,
    grace: Duration,
    shutdown: CancellationToken,
) {
    let (tasks, places) = (TaskTracker::new(), Arc::new(Semaphore::new(AT_ONCE)));
    let begin = |stream, peer, place| {
        let (credentials, metrics, shutdown) = (credentials.clone(), metrics.clone(), shutdown.clone());
        tasks.spawn(async move {
            answer(stream, peer, &credentials, &metrics, &shutdown).await;
            drop(place);
        });
    };
    loop {
        let accepted = shutdown.run_until_cancelled(async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            listener.accept_unix().await.map(|(stream, peer)| (stream, peer, place))
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, peer, place))) => begin(stream, peer, Some(place)),
            Some(Err(_)) => sleep(PAUSE).await,
        }
    }
    for (stream, peer) in listener.close_unix() {
        begin(stream, peer, None);
    }
    tasks.close();
    // They end at once, but for a peer that takes nothing of what it is sent.
    let _ = timeout(grace, tasks.wait()).await;
}

async fn answer(
    mut stream: UnixStream,
    peer: Option<Peer>,
    credentials: &Credentials,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) {
    // What is said there is systemd's word only if it is root's: everybody can connect from any such address.
    let address = stream.peer_addr().ok();
    let asked = address.as_ref().and_then(|address| UnitAndId::of_address(address.as_abstract_name()?));
    let (Some(asked), Some(peer)) = (asked, peer.clone().filter(|peer| peer.is_user(0))) else {
        return turn_away(peer.as_ref(), credentials, metrics).await;
    };
    let refusal = match shutdown.run_until_cancelled(credentials.get(&asked, &peer)).await {
        Some(Ok(given)) => {
            let (unit, id) = (asked.unit(), asked.id());
            match timeout(STALL, give(&mut stream, &given)).await {
                Ok(Ok(())) => tracing::debug!(unit, id, "a unit was given its credential"),
                Ok(Err(_)) | Err(_) => {
                    tracing::warn!(unit, id, "systemd did not take the credential that it asked for")
                }
            }
            return;
        }
        Some(Err(refusal)) => Some(refusal),
        None => None,
    };
    let required = credentials.is_required(&asked);
    tell(&asked, refusal.as_ref(), required);
    metrics.refused(refusal.as_ref().map_or("not-ready", Refusal::reason));
    if required {
        // It stops reading somewhere in between.
        let _ = timeout(STALL, overfill(&mut stream)).await;
    }
}

async fn give(stream: &mut UnixStream, given: &Given) -> std::io::Result<()> {
    stream.write_all(&given.0.value().expose()).await?;
    stream.shutdown().await
}

/// More than can be a credential.
async fn overfill(stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
    static ZEROS: [u8; 4096] = [0; 4096];
    for _ in 0..=TOO_MUCH / ZEROS.len() {
        stream.write_all(&ZEROS).await?;
    }
    stream.shutdown().await
}

fn tell(asked: &UnitAndId, refusal: Option<&Refusal>, required: bool) {
    let (unit, id) = (asked.unit(), asked.id());
    let then = if required { "its start fails" } else { "it is started with an empty one" };
    let Some(refusal) = refusal else {
        return tracing::warn!(unit, id, then, "a unit does not get its credential: sidekey is stopping");
    };
    tracing::warn!(unit, id, reason = refusal.reason(), then, "a unit does not get its credential: {refusal}");
}

/// Somebody who is not systemd: closed upon, without a byte.
async fn turn_away(peer: Option<&Peer>, credentials: &Credentials, metrics: &Metrics) {
    static TOLD: LazyLock<Sparing<()>> = LazyLock::new(Sparing::default);
    metrics.refused("unknown-peer");
    // Who comes again and again fills neither the log nor the audit.
    let Some(untold) = TOLD.tell(()) else { return };
    let uid = peer.map(|peer| peer.uid);
    tracing::warn!(uid, untold, "a connection to the socket for credentials was closed: it is not systemd's");
    let line = Line {
        request: &request_id(),
        caller: None,
        peer,
        from: None,
        operation: Operation::Credential,
        vault: None,
        name: None,
        version: None,
        outcome: "unauthenticated",
        served: None,
        searched: None,
    };
    // It gets nothing either way.
    let _ = credentials.audit().record(&line).await;
}
