//! Azure Resource Graph: one query over everything that an identity sees.

use std::sync::PoisonError;
use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::Caller;
use super::body::vault_body;
use super::query::{Confused, Query};
use crate::emulator::answer::Answer;
use crate::emulator::paging::Mark;
use crate::emulator::random_uuid;
use crate::emulator::request::Request;

#[derive(Deserialize)]
struct Asked {
    query: String,
    subscriptions: Option<Vec<String>>,
    #[serde(default)]
    options: Options,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Options {
    result_format: Option<String>,
    #[serde(rename = "$top")]
    top: Option<usize>,
    #[serde(rename = "$skip")]
    skip: Option<usize>,
    #[serde(rename = "$skipToken")]
    skip_token: Option<String>,
}

/// Rows of a page if nothing is asked for, and the most that may be asked for.
const DEFAULT_TOP: usize = 100;
const MOST: usize = 1000;
/// The quota's window.
const WINDOW: Duration = Duration::from_secs(5);

pub(super) fn answer(caller: &Caller<'_>, request: &Request) -> Answer {
    let left = match quota(caller) {
        Ok(left) => left,
        Err(resets) => {
            let seconds = resets.as_secs() + 1;
            let answer = Answer::error(
                StatusCode::TOO_MANY_REQUESTS,
                "RateLimiting",
                "Client application has been throttled and should not attempt to repeat the request until an amount \
                 of time has elapsed. Please see https://aka.ms/resourcegraph-throttling for help.",
            );
            return with_quota(answer.with("retry-after", seconds.to_string()), 0, seconds);
        }
    };
    with_quota(ask(caller, request), left, WINDOW.as_secs())
}

fn ask(caller: &Caller<'_>, request: &Request) -> Answer {
    let Ok(asked) = serde_json::from_slice::<Asked>(&request.body) else {
        return refused("InvalidPayload", "The request payload is invalid.", None);
    };
    let mut query = match Query::parse(&asked.query) {
        Ok(query) => query,
        Err(confused) => {
            let text = "Query is invalid. Please refer to the documentation for the Azure Resource Graph service and \
                        fix the error before retrying.";
            return refused("InvalidQuery", text, Some(&confused));
        }
    };
    query.numeric_booleans = caller.world.graph.numeric_booleans;
    if asked.options.result_format.as_deref().is_some_and(|format| format != "objectArray") {
        return refused("InvalidOptions", "The emulator answers resultFormat objectArray only.", None);
    }
    let top = asked.options.top.unwrap_or(DEFAULT_TOP);
    if !(1..=MOST).contains(&top) {
        return refused("InvalidOptions", "The value of $top must be between 1 and 1000.", None);
    }
    let seen = caller.seen();
    if let Some(wanted) = &asked.subscriptions
        && !wanted.iter().any(|id| seen.iter().any(|one| one.id.eq_ignore_ascii_case(id)))
    {
        return Answer::error(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "Access is denied to the requested resources. The user might not have enough permission.",
        );
    }
    let wanted = |id: &str| {
        asked.subscriptions.as_ref().is_none_or(|wanted| wanted.iter().any(|one| one.eq_ignore_ascii_case(id)))
    };
    let rows = caller.vaults().filter(|vault| wanted(&vault.facts.subscription)).map(|vault| {
        let mut row = vault_body(vault);
        row["type"] = "microsoft.keyvault/vaults".into();
        row["subscriptionId"] = vault.facts.subscription.clone().into();
        row["resourceGroup"] = vault.facts.resource_group.clone().into();
        row["tenantId"] = vault.facts.tenant.clone().into();
        row["kind"] = "".into();
        row
    });
    let rows = query.select(rows);
    let start = match asked.options.skip_token.as_deref().map(Mark::from_text) {
        None => asked.options.skip.unwrap_or(0),
        Some(Some(mark)) => mark.page,
        Some(None) => return refused("InvalidSkipToken", "The skip token is not valid.", None),
    };
    let total = rows.len();
    let page: Vec<_> =
        rows.iter().skip(start).take(top.min(caller.world.graph.page_size)).map(|row| query.project(row)).collect();
    let end = start + page.len();
    let more = end < total;
    let mut body = Map::new();
    body.insert("totalRecords".to_owned(), total.into());
    body.insert("count".to_owned(), page.len().into());
    body.insert("data".to_owned(), page.into());
    body.insert("facets".to_owned(), json!([]));
    // Rows that can be paged are not "truncated": there is a token beside the string "false".
    body.insert("resultTruncated".to_owned(), if more && !query.keeps_id() { "true" } else { "false" }.into());
    if more && query.keeps_id() {
        body.insert("$skipToken".to_owned(), Mark { page: end, after: None }.to_text().into());
    }
    Answer::ok(Value::Object(body))
}

/// Takes one query of the caller's quota: how many are left, or when it comes back.
fn quota(caller: &Caller<'_>) -> Result<u32, Duration> {
    let most = caller.world.graph.quota;
    let mut queries = caller.world.queries.lock().unwrap_or_else(PoisonError::into_inner);
    let now = Instant::now();
    let (since, used) = queries.entry(caller.app.name.clone()).or_insert((now, 0));
    if now.duration_since(*since) >= WINDOW {
        (*since, *used) = (now, 0);
    }
    if *used >= most {
        return Err(WINDOW.saturating_sub(now.duration_since(*since)));
    }
    *used += 1;
    Ok(most - *used)
}

fn with_quota(answer: Answer, left: u32, resets: u64) -> Answer {
    answer
        .with("x-ms-ratelimit-remaining-tenant-resource-requests", left.to_string())
        .with("x-ms-user-quota-remaining", left.to_string())
        .with("x-ms-user-quota-resets-after", format!("00:00:{:02}", resets.min(59)))
}

fn refused(code: &str, message: &str, confused: Option<&Confused>) -> Answer {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    let support = format!(
        "Please provide below info when asking for support: timestamp = {now}, correlationId = {}.",
        random_uuid()
    );
    let mut details = vec![json!({"code": code, "message": message})];
    if let Some(confused) = confused {
        details.push(json!({
            "code": "ParserFailure",
            "message": "ParserFailure",
            "line": 1,
            "characterPositionInLine": confused.at,
            "token": confused.token,
            "expectedToken": "",
        }));
    }
    let body = json!({"error": {"code": "BadRequest", "message": support, "details": details}});
    Answer::json(StatusCode::BAD_REQUEST, body)
}
