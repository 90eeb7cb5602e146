//! Asking a server at a pace, or as fast as it answers, over connections that stay.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::asking::{Place, ask, connect, read};
use super::table::{at, median};
use super::{CONNECTIONS, ROUND};

/// What those that are timed came to.
#[derive(Default)]
pub(super) struct Load {
    /// In milliseconds, from when the request was due.
    pub(super) times: Vec<f64>,
    /// Answers that were no 200, of all requests.
    pub(super) failed: u64,
}

impl Load {
    pub(super) fn take(&mut self, other: Self) {
        self.times.extend(other.times);
        self.failed += other.failed;
    }
}

/// The same, round by round.
#[derive(Default)]
pub(super) struct Rounds(Vec<Load>);

impl Rounds {
    pub(super) fn push(&mut self, round: Load) {
        self.0.push(round);
    }

    pub(super) fn answers(&self) -> usize {
        self.0.iter().map(|round| round.times.len()).sum()
    }

    pub(super) fn failed(&self) -> u64 {
        self.0.iter().map(|round| round.failed).sum()
    }

    /// What so large a share does not exceed, in the round in the middle: a round in which the machine stood still, as shared
    /// ones do, says nothing of a server.
    pub(super) fn at(&self, share: f64) -> f64 {
        median(&mut self.0.iter().map(|round| at(&mut round.times.clone(), share)).collect::<Vec<_>>())
    }
}

/// So many requests a second over all connections, for one round. What is asked as the `n`th comes with whether it is
/// timed.
pub(super) async fn paced(
    place: &Place,
    rate: f64,
    request: impl Fn(usize) -> (bool, Vec<u8>) + Send + Sync + 'static,
) -> Load {
    let request = Arc::new(request);
    let period = Duration::from_secs_f64(CONNECTIONS as f64 / rate);
    let (mut clients, began) = (JoinSet::new(), Instant::now() + Duration::from_millis(20));
    for first in 0..CONNECTIONS {
        let (mut stream, request) = (connect(place).await, Arc::clone(&request));
        clients.spawn(async move {
            let (mut buffer, mut load) = (vec![0; 256 * 1024], Load::default());
            // Not all at the same moment.
            let mut due = began + period.mul_f64(first as f64 / CONNECTIONS as f64);
            let mut number = first;
            while due - began < ROUND {
                // No timer is as exact as this.
                while Instant::now() < due {
                    tokio::task::yield_now().await;
                }
                let (timed, request) = request(number);
                stream.write_all(&request).await.expect("a request goes out");
                read(&mut *stream, &mut buffer).await;
                load.failed += u64::from(!buffer.starts_with(b"HTTP/1.1 200"));
                if timed {
                    load.times.push(due.elapsed().as_secs_f64() * 1e3);
                }
                number += CONNECTIONS;
                due += period;
            }
            load
        });
    }
    let mut all = Load::default();
    while let Some(done) = clients.join_next().await {
        all.take(done.expect("a client that ends"));
    }
    all
}

/// Requests a second that it answers, for one round.
pub(super) async fn top_rate(place: &Place, requests: &Arc<Vec<Vec<u8>>>) -> f64 {
    let (mut clients, began) = (JoinSet::new(), Instant::now());
    for first in 0..CONNECTIONS {
        let (mut stream, requests) = (connect(place).await, Arc::clone(requests));
        clients.spawn(async move { ask(&mut *stream, &requests, first, |_| began.elapsed() < ROUND).await });
    }
    let mut all = 0;
    while let Some(done) = clients.join_next().await {
        all += done.expect("a client that ends");
    }
    f64::from(all) / began.elapsed().as_secs_f64()
}
