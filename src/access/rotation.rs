//! Tokens that change on disk: what a file holds now is taken over without a restart.
//!
//! The files are read again at an interval, whatever the file system tells of them: a mounted secret is changed by moving
//! a link far above it. A file that is empty, cut short, open to others, gone, or holds another client's token changes
//! nothing: the token from before is good on, and the log says so, once for each trouble.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::rules::{Rules, TokenOf};
use super::{Access, Token, TokenDigest, TokenError};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// What was told of each file that cannot be used.
#[derive(Debug, Default)]
pub struct Troubles(HashMap<PathBuf, String>);

impl Access {
    /// Looks at the tokens' files until it is told to stop.
    pub async fn keep_current(&self, shutdown: CancellationToken) {
        let mut troubles = Troubles::default();
        while shutdown.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            troubles = self.look(troubles).await;
        }
    }

    /// Looks at them once. What it is given, and gives back, is what was told already.
    pub async fn look(&self, mut troubles: Troubles) -> Troubles {
        let rules = self.rules().load_full();
        let files: Vec<_> = rules.tokens.iter().map(|token| token.path.clone()).collect();
        // A file on a share that hangs must not hold a worker.
        let read = tokio::task::spawn_blocking(move || {
            let load = |path: &PathBuf| Token::load(path).map(|token| token.digest());
            files.iter().map(|path| path.as_ref().map(load)).collect::<Vec<_>>()
        });
        let Ok(read) = read.await else { return troubles };
        let mut tokens: Vec<TokenOf> = rules.tokens.clone();
        let mut changed = Vec::new();
        for (at, read) in read.into_iter().enumerate() {
            let (Some(path), Some(read)) = (tokens[at].path.clone(), read) else { continue };
            match taken(&rules, &tokens, at, read) {
                Ok(digest) => {
                    if troubles.0.remove(&path).is_some() {
                        tracing::info!(file = %path.display(), "the token file can be used again");
                    }
                    if let Some(digest) = digest {
                        changed.push(at);
                        tokens[at] = tokens[at].renewed(digest);
                    }
                }
                Err(trouble) => {
                    if troubles.0.get(&path) != Some(&trouble) {
                        tracing::warn!("{trouble}; the token from before is good on");
                        troubles.0.insert(path, trouble);
                    }
                }
            }
        }
        if changed.is_empty() {
            return troubles;
        }
        let next = Arc::new(rules.with(tokens));
        // If others are in force by now, the next look is at theirs.
        if Arc::ptr_eq(&self.rules().compare_and_swap(&rules, Arc::clone(&next)), &rules) {
            next.end_others(&rules);
            for at in changed {
                tracing::info!(
                    client = next.owner(&next.tokens[at]),
                    "its token has changed; the new one is good from now on"
                );
            }
        }
        troubles
    }
}

/// The token that takes the place of the one before; `None`: it is the same.
fn taken(
    rules: &Rules,
    tokens: &[TokenOf],
    at: usize,
    read: Result<TokenDigest, TokenError>,
) -> Result<Option<TokenDigest>, String> {
    let digest = read.map_err(|error| error.to_string())?;
    let same = |other: &TokenOf| bool::from(other.digest.is(&digest));
    if same(&tokens[at]) {
        return Ok(None);
    }
    match tokens.iter().enumerate().find(|(other, token)| *other != at && same(token)) {
        Some((_, other)) => {
            let (whose, other) = (rules.owner(&tokens[at]), rules.owner(other));
            Err(format!("the token file of client {whose} holds the token of client {other}"))
        }
        None => Ok(Some(digest)),
    }
}
