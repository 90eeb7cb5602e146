//! The routes that tell what exists. Never values.

use axum::Json;
use axum::extract;
use axum::http::Uri;

use crate::access::Caller;
use crate::access::audit::{Line, Operation, Searched};
use crate::api::State;
use crate::api::model::{
    SearchAnswer, SecretSummary, SecretsPage, Unanswered, VaultDocument, VaultsAnswer, VersionsAnswer,
};
#[cfg(test)]
use crate::api::openapi;
use crate::api::path::{Names, bad_parameter, pairs, parameters};
use crate::api::problem::{Code, Problem};
use crate::api::trail::Trail;
use crate::broker;
use crate::catalog::{BadQuery, Query};
use crate::secret::{SecretName, VaultName};

/// Every vault: where it is, whether it can be reached and why not, how many secrets it holds.
#[cfg_attr(test, utoipa::path(get, path = "/v1/vaults", tag = "catalog", responses(
    (status = 200, description = "The vaults", body = VaultsAnswer), openapi::CommonResponses
)))]
pub(super) async fn vaults(
    extract::State(state): extract::State<State>,
    trail: Trail,
    caller: Caller,
    uri: Uri,
) -> Result<Json<VaultsAnswer>, Problem> {
    let answer = all_vaults(&state, &caller, &uri);
    let told = answer.as_ref().ok().map(|answer| answer.vaults.len());
    let line = Line { searched: told_of(told), ..trail.line(Operation::Vaults) };
    trail.settle(state.audit(), line, answer.map(Json)).await
}

fn all_vaults(state: &State, caller: &Caller, uri: &Uri) -> Result<VaultsAnswer, Problem> {
    if let Some((name, _)) = parameters(uri.query())?.first() {
        return Err(bad_parameter(name, "is not known here"));
    }
    let vaults = state.within(caller).vaults().into_iter().map(VaultDocument::from).collect();
    let unanswered: Vec<_> = state.unanswered(caller).iter().map(Unanswered::from).collect();
    Ok(VaultsAnswer { vaults, complete: unanswered.is_empty(), unanswered })
}

/// One vault's secrets, by name, without their values.
#[cfg_attr(test, utoipa::path(get, path = "/v1/vaults/{vault}/secrets", tag = "catalog", params(openapi::VaultPart, openapi::PageParameters), responses(
    (status = 200, description = "A page of secrets", body = SecretsPage), openapi::LookupResponses
)))]
pub(super) async fn secrets(
    extract::State(state): extract::State<State>,
    trail: Trail,
    caller: Caller,
    names: Names,
    uri: Uri,
) -> Result<Json<SecretsPage>, Problem> {
    let vault = names.parse::<VaultName>("vault");
    let asked = vault.as_ref().ok().cloned();
    let answer = vault.and_then(|vault| page(&state, &caller, &vault, &uri));
    let told = answer.as_ref().ok().map(|answer| answer.secrets.len());
    let line = Line { vault: asked.as_ref(), searched: told_of(told), ..trail.line(Operation::List) };
    trail.settle(state.audit(), line, answer.map(Json)).await
}

fn page(state: &State, caller: &Caller, vault: &VaultName, uri: &Uri) -> Result<SecretsPage, Problem> {
    let (mut limit, mut cursor) = (Query::USUAL, None);
    for (name, value) in parameters(uri.query())? {
        match &*name {
            "limit" => {
                let told = value.parse().ok().filter(|limit| (1..=Query::MOST).contains(limit));
                let wrong = || bad_parameter("limit", &format!("must be a number from 1 to {}", Query::MOST));
                limit = told.ok_or_else(wrong)?;
            }
            "cursor" => cursor = Some(value),
            _ => return Err(bad_parameter(&name, "is not known here")),
        }
    }
    let page = state.within(caller).secrets(vault, limit, cursor.as_deref())?;
    let (address, page) = page.map_err(|error| bad_query(&error))?;
    Ok(SecretsPage::new(&address, page))
}

/// The metadata of every version of a secret, newest first.
#[cfg_attr(test, utoipa::path(
    get, path = "/v1/vaults/{vault}/secrets/{name}/versions", tag = "secrets", params(openapi::VaultPart, openapi::NamePart),
    responses((status = 200, description = "The versions", body = VersionsAnswer), openapi::LookupResponses)
))]
pub(super) async fn versions(
    extract::State(state): extract::State<State>,
    trail: Trail,
    caller: Caller,
    names: Names,
    uri: Uri,
) -> Result<Json<VersionsAnswer>, Problem> {
    let (vault, name) = (names.parse::<VaultName>("vault"), names.parse::<SecretName>("name"));
    let (asked_vault, asked_name) = (vault.as_ref().ok().cloned(), name.as_ref().ok().cloned());
    let answer = match (vault, name) {
        (Ok(vault), Ok(name)) => all_versions(&state, &caller, &vault, &name, &uri).await,
        (Err(problem), _) | (_, Err(problem)) => Err(problem),
    };
    let told = answer.as_ref().ok().map(|answer| answer.versions.len());
    let (vault, name, searched) = (asked_vault.as_ref(), asked_name.as_ref(), told_of(told));
    let line = Line { vault, name, searched, ..trail.line(Operation::Versions) };
    trail.settle(state.audit(), line, answer.map(Json)).await
}

async fn all_versions(
    state: &State,
    caller: &Caller,
    vault: &VaultName,
    name: &SecretName,
    uri: &Uri,
) -> Result<VersionsAnswer, Problem> {
    if let Some((name, _)) = parameters(uri.query())?.first() {
        return Err(bad_parameter(name, "is not known here"));
    }
    let (address, versions) = state.within(caller).versions(vault, name).await?;
    Ok(VersionsAnswer { versions: versions.iter().map(|one| SecretSummary::new(address.clone(), one)).collect() })
}

/// What matches, over all vaults, and which vaults could not be asked. A `vault` that is a name, not a pattern, must be
/// one that is known.
#[cfg_attr(test, utoipa::path(get, path = "/v1/search", tag = "catalog", params(openapi::SearchParameters), responses(
    (status = 200, description = "A page of hits", body = SearchAnswer), openapi::SearchResponses
)))]
pub(super) async fn search(
    extract::State(state): extract::State<State>,
    trail: Trail,
    caller: Caller,
    uri: Uri,
) -> Result<Json<SearchAnswer>, Problem> {
    let query = query(&uri);
    let asked = query.as_ref().ok().map(|query| (query.text.clone(), query.matching.as_str()));
    let answer = query.and_then(|query| hits(&state, &caller, &query));
    let hits = answer.as_ref().ok().map(|answer| answer.hits.len());
    let searched = asked.as_ref().map(|(text, matching)| Searched { text, matching: Some(matching), hits });
    let line = Line { searched, ..trail.line(Operation::Search) };
    trail.settle(state.audit(), line, answer.map(Json)).await
}

fn query(uri: &Uri) -> Result<Query, Problem> {
    let pairs = pairs(uri.query())?;
    let query = Query::from_parameters(pairs.iter().map(|(name, value)| (&**name, &**value)));
    query.map_err(|error| bad_query(&error))
}

fn hits(state: &State, caller: &Caller, query: &Query) -> Result<SearchAnswer, Problem> {
    let within = state.within(caller);
    // Of a vault that is named, this is decided from its name, as it is of a listing.
    if let Some(vault) = query.named_vault().and_then(|name| name.parse().ok())
        && !within.may_find_in(&vault)
    {
        return Err(broker::Error::Forbidden.into());
    }
    let page = within.search(query).map_err(|error| bad_query(&error))?;
    match query.named_vault() {
        // An empty page would say that the vault holds no such secret.
        Some(name) if page.vaults == 0 && page.complete => Err(no_such_vault(name)),
        Some(_) | None => Ok(SearchAnswer::from(page)),
    }
}

/// So many of what there is.
fn told_of(hits: Option<usize>) -> Option<Searched<'static>> {
    Some(Searched { text: "", matching: None, hits })
}

fn no_such_vault(name: &str) -> Problem {
    match name.parse() {
        Ok(vault) => broker::Error::UnknownVault { vault }.into(),
        Err(error) => bad_parameter("vault", &format!("is neither a vault's name nor a pattern: {error}")),
    }
}

fn bad_query(error: &BadQuery) -> Problem {
    Problem::new(Code::BadQuery, format!("the parameter {error}"))
}
