//! `--all-from`: every enabled secret that a vault and a glob mean, as a variable of its own.

use std::rc::Rc;

use super::{Door, Faults};
use crate::api::model::SearchAnswer;
use crate::catalog::Query;
use crate::cli::Exit;
use crate::cli::client::{Client, Request};
use crate::cli::sidecar::Need;
use crate::cli::warnings;
use crate::hydrate::set::{self, Layer, Naming};
use crate::secret::Reference;

/// `VAULT` or `VAULT/GLOB`, where VAULT may be a glob too.
#[derive(Debug, Clone)]
pub(super) struct Everything {
    vault: String,
    name: String,
}

impl Everything {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let bare = ["secret://", "akv://"].iter().find_map(|scheme| text.strip_prefix(scheme)).unwrap_or(text);
        let (vault, name) = bare.split_once('/').unwrap_or((bare, "*"));
        if vault.is_empty() || name.is_empty() || name.contains('/') {
            return Err("expected VAULT or VAULT/GLOB, such as pay-prod or 'pay-prod/orders-*'");
        }
        Ok(Self { vault: vault.to_owned(), name: name.to_owned() })
    }
}

/// A variable for each secret. What could not be listed whole is a fault: the set would be a part.
pub(super) async fn layer(door: &Door<'_>, places: &[Everything], naming: &Naming) -> Result<Layer, Faults> {
    if places.is_empty() {
        return Ok(Layer::new());
    }
    let listed = door.patiently(async |client| all(client, places).await).await?;
    set::all_of(&listed, naming).map_err(|wrong| {
        let mut faults = Faults::none();
        for one in wrong {
            faults.add(Exit::Usage, format!("--all-from: {one}"));
        }
        faults
    })
}

async fn all(client: Rc<Client>, places: &[Everything]) -> Result<Vec<Reference>, Faults> {
    client.prepare(Need::Everything).await;
    let (mut listed, mut faults) = (Vec::new(), Faults::none());
    for place in places {
        match one(&client, place).await {
            Ok(found) => listed.extend(found),
            Err(wrong) => faults.extend(wrong),
        }
    }
    faults.or(listed)
}

async fn one(client: &Client, Everything { vault, name }: &Everything) -> Result<Vec<Reference>, Faults> {
    let most = Query::MOST.to_string();
    let (mut found, mut cursor): (_, Option<String>) = (Vec::new(), None);
    loop {
        let request = Request::v1(&["search"]).query("q", Some(name)).query("match", Some("glob"));
        let request = request.query("vault", Some(vault)).query("enabled", Some("true"));
        let request = request.query("limit", Some(&most)).query("cursor", cursor.as_deref());
        let page: SearchAnswer = client.document(&request).await?;
        if !page.complete {
            let told: Vec<_> = page.unanswered.iter().map(|one| format!("\n{}", warnings::one(one))).collect();
            let refused = page.unanswered.iter().all(|one| warnings::is_refusal(&one.reason));
            let exit = if refused && !told.is_empty() { Exit::Denied } else { Exit::Unavailable };
            let what = format!("--all-from {vault}/{name}: not every vault could be listed{}", told.concat());
            return Err(Faults::one(exit, what));
        }
        found.extend(page.hits.into_iter().map(|hit| hit.reference));
        match page.next {
            Some(next) => cursor = Some(next),
            None if found.is_empty() => {
                return Err(Faults::one(Exit::NotFound, format!("--all-from {vault}/{name}: nothing matches")));
            }
            None => return Ok(found),
        }
    }
}
