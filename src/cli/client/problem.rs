//! A problem of the API in one or two lines: what, where, what to do.

use super::Answer;
use crate::api::model::{Fault, ProblemDocument};
use crate::cli::exit::{code_of, exit_of};
use crate::cli::{Exit, Failure};

/// Of those who could not be asked, so many are told in full.
const SHOWN: usize = 3;

pub(super) fn failure(answer: &Answer) -> Failure {
    match serde_json::from_slice::<ProblemDocument>(&answer.body) {
        Ok(problem) => of_fault(&problem.fault),
        Err(_) => {
            Failure::new(Exit::Unavailable, format!("the answer is no sidecar's: HTTP {}", answer.status.as_u16()))
        }
    }
}

pub(super) fn of_fault(fault: &Fault) -> Failure {
    let mut message = fault.detail.clone();
    let mut exit = code_of(&fault.code).map_or(Exit::Unavailable, exit_of);
    if !fault.candidates.is_empty() {
        message.push_str(&format!("\nit is one of {}", fault.candidates.join(", ")));
    }
    if !fault.unanswered.is_empty() {
        let mut told: Vec<_> = fault.unanswered.iter().take(SHOWN).map(crate::cli::warnings::one).collect();
        if fault.unanswered.len() > SHOWN {
            told.push("'sidekey vaults' tells of all".to_owned());
        }
        message.push_str(&format!("\n  {}", told.join("\n  ")));
        // Nobody let us in anywhere: waiting will not mend that.
        if fault.unanswered.iter().all(|unanswered| crate::cli::warnings::is_refusal(&unanswered.reason)) {
            exit = Exit::Denied;
        }
    }
    match fault.code.as_str() {
        "unauthenticated" => message.push_str("\nname the file that holds the token with --token-file"),
        "vault-denied" | "sign-in-failed" => {
            message.push_str("\n'sidekey doctor' tells what is missing and what mends it")
        }
        "vault-not-found" => message.push_str("\n'sidekey vaults' lists those that are"),
        _ => {}
    }
    Failure::new(exit, message)
}
