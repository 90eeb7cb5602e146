//! All values that a set refers to, in one request; or every failure, by the names of what wants it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Faults;
use crate::api::model::{ProblemDocument, ResolveAnswer, ResolveRequest, ResolvedFrom};
use crate::cli::client::{Client, Request};
use crate::cli::sidecar::Need;
use crate::cli::{Exit, Failure};
use crate::hydrate::set::Layer;
use crate::secret::{Reference, SecretValue, VaultName};

/// What is to be resolved, and by whom it is wanted.
#[derive(Debug, Default)]
pub(in crate::cli) struct Wanted(HashMap<Reference, BTreeSet<String>>);

/// A value for each reference that was wanted.
#[derive(Default)]
pub(in crate::cli) struct Values(HashMap<Reference, Found>);

/// One value, and where it came from.
struct Found {
    value: SecretValue,
    from: ResolvedFrom,
}

/// So many the API takes at once.
const MOST: usize = 1_000;

impl Wanted {
    /// The references of these variables.
    pub(in crate::cli) fn by(layer: &Layer) -> Self {
        let mut wanted = Self::default();
        for (name, template) in layer {
            for reference in template.references() {
                wanted.add(reference.clone(), name);
            }
        }
        wanted
    }

    /// One more, for `whom`: what its failure is told by.
    pub(in crate::cli) fn add(&mut self, reference: Reference, whom: &str) {
        self.0.entry(reference).or_default().insert(whom.to_owned());
    }

    /// Whether nobody wants anything.
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) async fn ask(&self, client: &Client) -> Result<Values, Faults> {
        self.prepare(client).await;
        let mut by_text: BTreeMap<String, &Reference> =
            self.0.keys().map(|reference| (reference.to_string(), reference)).collect();
        let (mut values, mut faults) = (HashMap::new(), Faults::none());
        while !by_text.is_empty() {
            let rest = by_text.keys().nth(MOST).cloned().map(|first| by_text.split_off(&first)).unwrap_or_default();
            match self.ask_some(client, &by_text).await {
                Ok(found) => values.extend(found),
                Err(wrong) => faults.extend(wrong),
            }
            by_text = rest;
        }
        faults.or(Values(values))
    }

    async fn ask_some(
        &self,
        client: &Client,
        by_text: &BTreeMap<String, &Reference>,
    ) -> Result<Vec<(Reference, Found)>, Faults> {
        let refs = by_text.keys().map(|text| (text.clone(), text.clone())).collect();
        let answer = client.send(&Request::v1(&["resolve"]).send(&ResolveRequest { refs })).await?;
        if !answer.status.is_success() {
            let each = serde_json::from_slice::<ProblemDocument>(&answer.body).map(|problem| problem.errors);
            let each = each.unwrap_or_default();
            let mut told = Vec::new();
            for (text, reference) in by_text {
                let (Some(fault), Some(whom)) = (each.get(text), self.0.get(*reference)) else { continue };
                let Failure { exit, message } = Client::fault_in_words(fault);
                told.extend(whom.iter().map(|name| (format!("{name}: {text}: {message}"), exit)));
            }
            told.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            let mut faults = Faults::none();
            for (line, exit) in told {
                faults.add(exit, line);
            }
            // None of ours: it is the request that was not taken.
            faults.or(())?;
            return Err(Client::in_words(&answer).into());
        }
        let not_understood =
            || Faults::one(Exit::Unavailable, "the sidecar's answer is not understood; is it of another version?");
        let ResolveAnswer { mut values, mut resolved } =
            serde_json::from_slice(&answer.body).map_err(|_| not_understood())?;
        let take = |(text, reference): (&String, &&Reference)| {
            let (value, from) = (values.remove(text)?.into_secret(), resolved.remove(text)?);
            Some(((*reference).clone(), Found { value, from }))
        };
        by_text.iter().map(take).collect::<Option<_>>().ok_or_else(not_understood)
    }

    /// What must be known of the vaults where this process is the sidecar.
    async fn prepare(&self, client: &Client) {
        let vaults: Option<BTreeSet<&VaultName>> = self.0.keys().map(|reference| reference.vault.as_ref()).collect();
        match vaults {
            None => client.prepare(Need::Everything).await,
            Some(vaults) => {
                for vault in vaults {
                    client.prepare(Need::Vault(vault)).await;
                }
            }
        }
    }
}

impl Values {
    /// The value of a reference that was wanted.
    ///
    /// # Panics
    /// Nobody wanted it.
    pub(in crate::cli) fn of(&self, reference: &Reference) -> &SecretValue {
        &self.0.get(reference).expect("all that is wanted is there, or there are no values").value
    }

    /// Where the values came from: with their vaults told, and without versions, as whoever watches them wants it.
    pub(in crate::cli) fn origins(&self) -> BTreeSet<String> {
        self.0.values().map(|found| found.from.reference.to_string()).collect()
    }
}
