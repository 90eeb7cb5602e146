//! A problem of the API in one or two lines: what, where, what to do.

use super::Answer;
use crate::api::model::ProblemDocument;
use crate::cli::exit::{code_of, exit_of};
use crate::cli::{Exit, Failure};

pub(super) fn failure(answer: &Answer) -> Failure {
    let Ok(problem) = serde_json::from_slice::<ProblemDocument>(&answer.body) else {
        return Failure::new(Exit::Unavailable, format!("the answer is no sidecar's: HTTP {}", answer.status.as_u16()));
    };
    let fault = &problem.fault;
    let mut message = fault.detail.clone();
    let mut exit = code_of(&fault.code).map_or(Exit::Unavailable, exit_of);
    if !fault.candidates.is_empty() {
        message.push_str(&format!("\nit is one of {}", fault.candidates.join(", ")));
    }
    if !fault.unanswered.is_empty() {
        let told: Vec<_> = fault.unanswered.iter().map(crate::cli::warnings::one).collect();
        message.push_str(&format!("\n{}", told.join("; ")));
        // Nobody let us in anywhere: waiting will not mend that.
        if fault.unanswered.iter().all(|unanswered| crate::cli::warnings::is_refusal(&unanswered.reason)) {
            exit = Exit::Denied;
        }
    }
    match fault.code.as_str() {
        "unauthenticated" => message.push_str("\nname the file that holds the token with --token-file"),
        "vault-denied" | "sign-in-failed" => message.push_str("\n'sidekey doctor' tells what is missing and what mends it"),
        _ => {}
    }
    Failure::new(exit, message)
}
