//! The routes that tell what exists. Never values.

use axum::Json;
use axum::extract;
use axum::http::Uri;

use crate::access::Caller;
use crate::api::State;
use crate::api::model::{
    SearchAnswer, SecretSummary, SecretsPage, Unanswered, VaultDocument, VaultsAnswer, VersionsAnswer,
};
use crate::api::openapi;
use crate::api::path::{Names, bad_parameter, pairs, parameters};
use crate::api::problem::{Code, Problem};
use crate::broker;
use crate::catalog::{BadQuery, Query};
use crate::secret::VaultName;

/// Every vault: where it is, whether it can be reached and why not, how many secrets it holds.
#[utoipa::path(get, path = "/v1/vaults", tag = "catalog", responses(
    (status = 200, description = "The vaults", body = VaultsAnswer), openapi::CommonResponses
))]
pub(super) async fn vaults(
    extract::State(state): extract::State<State>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<VaultsAnswer>, Problem> {
    if let Some((name, _)) = parameters(uri.query())?.first() {
        return Err(bad_parameter(name, "is not known here"));
    }
    let vaults = state.within(&caller).vaults().into_iter().map(VaultDocument::from).collect();
    let unanswered: Vec<_> = state.unanswered(&caller).iter().map(Unanswered::from).collect();
    Ok(Json(VaultsAnswer { vaults, complete: unanswered.is_empty(), unanswered }))
}

/// One vault's secrets, by name, without their values.
#[utoipa::path(get, path = "/v1/vaults/{vault}/secrets", tag = "catalog", params(openapi::VaultPart, openapi::PageParameters), responses(
    (status = 200, description = "A page of secrets", body = SecretsPage), openapi::LookupResponses
))]
pub(super) async fn secrets(
    extract::State(state): extract::State<State>,
    caller: Caller,
    names: Names,
    uri: Uri,
) -> Result<Json<SecretsPage>, Problem> {
    let vault: VaultName = names.parse("vault")?;
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
    let page = state.within(&caller).secrets(&vault, limit, cursor.as_deref())?;
    let (address, page) = page.map_err(|error| bad_query(&error))?;
    Ok(Json(SecretsPage::new(&address, page)))
}

/// The metadata of every version of a secret, newest first.
#[utoipa::path(
    get, path = "/v1/vaults/{vault}/secrets/{name}/versions", tag = "secrets", params(openapi::VaultPart, openapi::NamePart),
    responses((status = 200, description = "The versions", body = VersionsAnswer), openapi::LookupResponses)
)]
pub(super) async fn versions(
    extract::State(state): extract::State<State>,
    caller: Caller,
    names: Names,
    uri: Uri,
) -> Result<Json<VersionsAnswer>, Problem> {
    let (vault, name): (VaultName, _) = (names.parse("vault")?, names.parse("name")?);
    if let Some((name, _)) = parameters(uri.query())?.first() {
        return Err(bad_parameter(name, "is not known here"));
    }
    let (address, versions) = state.within(&caller).versions(&vault, &name).await?;
    Ok(Json(VersionsAnswer { versions: versions.iter().map(|one| SecretSummary::new(address.clone(), one)).collect() }))
}

/// What matches, over all vaults, and which vaults could not be asked. A `vault` that is a name, not a pattern, must be
/// one that is known.
#[utoipa::path(get, path = "/v1/search", tag = "catalog", params(openapi::SearchParameters), responses(
    (status = 200, description = "A page of hits", body = SearchAnswer), openapi::SearchResponses
))]
pub(super) async fn search(
    extract::State(state): extract::State<State>,
    caller: Caller,
    uri: Uri,
) -> Result<Json<SearchAnswer>, Problem> {
    let pairs = pairs(uri.query())?;
    let query = Query::from_parameters(pairs.iter().map(|(name, value)| (&**name, &**value)));
    let query = query.map_err(|error| bad_query(&error))?;
    let within = state.within(&caller);
    // Of a vault that is named, this is decided from its name, as it is of a listing.
    if let Some(vault) = query.named_vault().and_then(|name| name.parse().ok())
        && !within.may_find_in(&vault)
    {
        return Err(broker::Error::Forbidden.into());
    }
    let page = within.search(&query).map_err(|error| bad_query(&error))?;
    match query.named_vault() {
        // An empty page would say that the vault holds no such secret.
        Some(name) if page.vaults == 0 && page.complete => Err(no_such_vault(name)),
        Some(_) | None => Ok(Json(SearchAnswer::from(page))),
    }
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
