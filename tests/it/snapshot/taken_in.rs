//! What a broker takes in of a snapshot: the values of the vaults that it asks, and of no others that have their names.

use std::sync::Arc;

use sidekey::broker::{Broker, BrokerOptions};
use sidekey::catalog::{Catalog, CatalogOptions};
use sidekey::clock::Moment;
use sidekey::metrics::Metrics;
use sidekey::secret::{Metadata, Secret, SecretValue};
use sidekey::snapshot::{Contents, KnownValue, KnownVault};
use sidekey::vaults::VaultInfo;

use super::{Place, TAKEN, VALUE, VERSION};
use crate::catalog::estate::{Act, Scripted, ScriptedSource};

fn pay(uri: &str) -> VaultInfo {
    let info = VaultInfo::new("s".parse().unwrap(), "pay".parse().unwrap());
    VaultInfo { uri: Some(uri.to_owned()), configured: true, ..info }
}

#[tokio::test(start_paused = true)]
async fn a_named_vault_is_given_the_values_of_its_own_address_alone() {
    const HERE: &str = "https://pay.vault.azure.net/";
    let metadata =
        Metadata { version: Some(VERSION.parse().unwrap()), ..Metadata::new("db-password".parse().unwrap()) };
    let value = KnownValue {
        vault: "s:pay".parse().unwrap(),
        name: "db-password".parse().unwrap(),
        version: None,
        secret: Arc::new(Secret { metadata, value: SecretValue::new(VALUE) }),
        confirmed: TAKEN,
        settled: true,
    };
    let vaults = vec![KnownVault { info: pay(HERE), listed: Some(TAKEN), secrets: Vec::new() }];
    let restored = Place::holding(&Contents { taken: TAKEN, vaults, values: vec![value] }).read();

    for (now, values) in [(HERE, 1), ("https://pay.vault.elsewhere.example/", 0)] {
        let vault = Scripted::of(pay(now), Act::Hang);
        let catalog = Catalog::new(vec![ScriptedSource::naming("s", [&vault], None)], CatalogOptions::default());
        let broker = Broker::new(catalog, BrokerOptions::default(), Metrics::default());
        broker.take_in(&restored, Moment::now());
        assert_eq!(broker.cache().iter().count(), values, "{now}");
    }
}
