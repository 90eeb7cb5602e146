//! What the routes answer from: the broker, which they are given within a caller's rights alone.

use std::sync::Arc;

use super::aws::AwsProfile;
use super::model::{self, Readiness};
use crate::access::audit::Audit;
use crate::access::{Caller, Rights};
use crate::broker::{Broker, Within};
use crate::catalog::{Query, Unanswered};
use crate::metrics::{Level, Metrics};

/// What the routes answer from. A cheap handle.
#[derive(Debug, Clone)]
pub struct State(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    broker: Broker,
    metrics: Metrics,
    audit: Audit,
    aws: Arc<[AwsProfile]>,
}

impl State {
    /// The routes answer from that broker, and tell these metrics.
    #[must_use]
    pub fn new(broker: Broker, metrics: Metrics) -> Self {
        Self::audited(broker, metrics, Audit::default())
    }

    /// The same, and what is read is recorded there.
    #[must_use]
    pub fn audited(broker: Broker, metrics: Metrics, audit: Audit) -> Self {
        Self(Arc::new(Inner { broker, metrics, audit, aws: Arc::default() }))
    }

    /// The same, and clients of AWS are told these credentials.
    #[must_use]
    pub fn with_aws(self, profiles: impl Into<Arc<[AwsProfile]>>) -> Self {
        Self(Arc::new(Inner { aws: profiles.into(), ..Arc::unwrap_or_clone(self.0) }))
    }

    /// Whether `/readyz` says so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.waiting_for().is_none()
    }

    /// What keeps it from being ready, in words for whoever may ask.
    #[must_use]
    pub fn waiting_for(&self) -> Option<String> {
        let broker = self.broker();
        let progress = *broker.catalog().progress().borrow();
        // What could not be asked matters only where nothing was ever listed.
        let unanswered = if progress.listed == 0 { unanswered(broker.within(&Rights::all())) } else { Vec::new() };
        let unanswered: Vec<_> = unanswered.iter().map(model::Unanswered::from).collect();
        model::waiting_for(progress, &broker.missing(), &unanswered)
    }

    /// Whether it is ready without a snapshot in the place of what its sources tell: they were asked, well or not.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.broker().catalog().progress().borrow().discovery_done && self.is_ready()
    }

    /// The broker, as it is to that caller: routes have no other.
    pub(super) fn within<'s>(&'s self, caller: &'s Caller) -> Within<'s> {
        self.0.broker.within(caller.rights())
    }

    /// Why it is ready, or not yet, as that caller may see it.
    pub(super) fn readiness(&self, caller: &Caller) -> Readiness {
        let within = self.within(caller);
        let unanswered = self.unanswered(caller).iter().map(model::Unanswered::from).collect();
        let progress = *self.broker().catalog().progress().borrow();
        let all = caller.rights().is_all();
        Readiness::new(progress, self.waiting_for(), &within.vaults(), &within.missing(), unanswered, all)
    }

    /// Whatever an answer about everything does without.
    pub(super) fn unanswered(&self, caller: &Caller) -> Vec<Unanswered> {
        unanswered(self.within(caller))
    }

    /// Where what is read is recorded.
    pub(super) fn audit(&self) -> &Audit {
        &self.0.audit
    }

    /// The credentials of AWS of that name.
    pub(super) fn aws(&self, name: &str) -> Option<&AwsProfile> {
        self.0.aws.iter().find(|profile| profile.name == name)
    }

    fn broker(&self) -> &Broker {
        &self.0.broker
    }

    /// The metrics, with the levels as they are now.
    pub(super) fn metrics_text(&self) -> String {
        let Inner { broker, metrics, .. } = &*self.0;
        let vaults = broker.catalog().vaults();
        let level = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
        metrics.set(Level::Vaults, level(vaults.len()));
        let unreachable = vaults.iter().filter(|vault| !matches!(vault.reach, crate::catalog::Reach::Listed)).count();
        metrics.set(Level::VaultsUnreachable, level(unreachable));
        metrics.set(Level::Secrets, level(broker.catalog().progress().borrow().secrets));
        let oldest = vaults.iter().filter_map(|vault| vault.known).filter(|known| known.whole).map(|known| known.age);
        metrics.set(Level::ListingOldest, oldest.max().unwrap_or_default().as_secs());
        metrics.set(Level::DeclaredMissing, level(broker.missing().len()));
        let census = broker.cache().census();
        metrics.set(Level::CacheValues, census.values);
        metrics.set(Level::CacheStale, census.stale);
        metrics.set(Level::CacheOldest, census.oldest.as_secs());
        metrics.set(Level::CacheRefusals, census.refusals);
        metrics.set(Level::WatchStreams, level(broker.watchers()));
        metrics.encode()
    }
}

fn unanswered(within: Within<'_>) -> Vec<Unanswered> {
    let everything = Query { limit: Some(1), ..Query::default() };
    within.search(&everything).map(|page| page.unanswered).unwrap_or_default()
}
