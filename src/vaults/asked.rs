//! When a vault was really asked. What a vault tells is true from the moment its question went out, and a decorator may
//! make the question wait: whoever counts an age learns from here when the wait was over, and not earlier.
//!
//! It travels beside the call, within its task, so that no backend and no trait has to carry it.

use std::cell::Cell;
use std::future::Future;

use crate::clock::Moment;

tokio::task_local! {
    static ASKED: Cell<Option<Moment>>;
}

/// Runs a call, and tells when its first question went out: when it began, unless somebody on the way knows better.
pub async fn timed<T>(call: impl Future<Output = T>) -> (Moment, T) {
    let began = Moment::now();
    let scoped = async {
        let told = call.await;
        (ASKED.with(Cell::get).unwrap_or(began), told)
    };
    ASKED.scope(Cell::new(None), scoped).await
}

/// The call that this task makes goes out now. Its first question counts; the further ones change nothing.
pub(crate) fn goes_out() {
    // Without anybody who wants to know, there is nobody to tell.
    let _nobody = ASKED.try_with(|asked| asked.set(asked.get().or_else(|| Some(Moment::now()))));
}
