//! The file's shape: which keys there are, what they default to, and what must agree with what.

use std::collections::BTreeSet;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::parts::{
    bad_vault_name, budget, challenge, derived_uuid, federated, grant, graph, paging, paging_default, pem,
    subscription, tenant, tenant_of,
};
use super::section::{Faults, Section};
use super::{
    App, Cloud, Estate, EstateFault, Firewall, Managed, PageEnd, Secret, SecretVersion, Subscription, Tenant, Value,
    Vault,
};
use crate::secret::SecretName;

/// That one `[[vault]]` may stand for, and how many secrets one `[[vault.bulk]]` may and all of them together.
const MOST_VAULTS: u32 = 10_000;
const MOST_SECRETS: u32 = 1_000_000;

pub(super) fn estate(text: &str, now: OffsetDateTime) -> Result<Estate, Vec<EstateFault>> {
    let faults = Faults::default();
    let (document, broken) = toml::de::DeTable::parse_recoverable(text);
    if !broken.is_empty() {
        for error in broken {
            faults.add(text, error.span().map_or(0, |span| span.start), String::new(), error.message().to_owned());
        }
        return Err(faults.into_sorted());
    }
    let span = document.span();
    let estate = {
        let root = Section::new(text, &faults, String::new(), span, document.get_ref());
        Reading { now }.estate(root)
    };
    let faults = faults.into_sorted();
    if faults.is_empty() { Ok(estate) } else { Err(faults) }
}

struct Reading {
    now: OffsetDateTime,
}

impl Reading {
    fn estate(&self, mut root: Section<'_>) -> Estate {
        let token_lifetime = Duration::from_secs(root.number("token_lifetime_s").unwrap_or(3599).into());
        let latency = Duration::from_millis(root.number("latency_ms").unwrap_or(0).into());
        let budget = budget(root.section("budget"));
        let challenge = challenge(root.section("challenge"));
        let arm = root.section("arm").map_or_else(
            || paging_default(50, PageEnd::Absent),
            |mut section| {
                let paging = paging(&mut section, 50, PageEnd::Absent);
                section.finish();
                paging
            },
        );
        let graph = graph(root.section("graph"));
        let tenants: Vec<_> = root.sections("tenant").into_iter().map(tenant).collect();
        let apps: Vec<_> = root.sections("app").into_iter().map(|section| self.app(section, &tenants)).collect();
        let subscriptions: Vec<_> =
            root.sections("subscription").into_iter().map(|section| subscription(section, &tenants)).collect();
        let mut names = BTreeSet::new();
        let mut vaults = Vec::new();
        for section in root.sections("vault") {
            vaults.extend(self.vaults(section, &tenants, &subscriptions, &mut names));
        }
        let grants = root.sections("grant").into_iter().map(|section| grant(section, &apps)).collect();
        if tenants.is_empty() {
            root.fault("tenant", "is missing: an estate has at least one [[tenant]]");
        }
        root.finish();
        Estate {
            now: self.now,
            token_lifetime,
            latency,
            budget,
            challenge,
            arm,
            graph,
            tenants,
            apps,
            subscriptions,
            vaults,
            grants,
        }
    }

    fn app(&self, mut section: Section<'_>, tenants: &[Tenant]) -> App {
        let name = section.required("name");
        let tenant = tenant_of(&mut section, tenants);
        let id = section.required("id");
        let object_id = section.text("object_id").unwrap_or_else(|| derived_uuid(&format!("object of {id}")));
        let mut secrets = Vec::new();
        for mut item in section.sections("secret") {
            secrets.push((item.required("value"), item.when("expires", self.now)));
            item.finish();
        }
        let mut certificates = Vec::new();
        for source in section.words("certificates").unwrap_or_default() {
            match pem::<CertificateDer<'_>>(&source) {
                Ok(certificate) => certificates.push(certificate.to_vec()),
                Err(reason) => section.fault("certificates", reason),
            }
        }
        let federated = section.sections("federated").into_iter().map(federated).collect();
        let managed = section.choice("managed_identity", &[("system", Managed::System), ("user", Managed::User)]);
        section.finish();
        App { name, tenant, id, object_id, secrets, certificates, federated, managed }
    }

    /// One vault, or as many as its `count` says.
    fn vaults(
        &self,
        mut section: Section<'_>,
        tenants: &[Tenant],
        subscriptions: &[Subscription],
        names: &mut BTreeSet<String>,
    ) -> Vec<Vault> {
        let pattern = section.required("name");
        let subscription = section.required("subscription");
        let found = subscriptions.iter().find(|known| known.id == subscription || known.name == subscription);
        if found.is_none() && !subscription.is_empty() {
            section.fault("subscription", format!("{subscription:?} is no [[subscription]]'s id or name"));
        }
        let home = found.map(|found| found.tenant.clone()).unwrap_or_default();
        let tenant = if section.has("tenant") { tenant_of(&mut section, tenants) } else { home.clone() };
        let cloud = tenants.iter().find(|known| known.id == home).map_or(Cloud::Public, |tenant| tenant.cloud);
        let vault = Vault {
            name: String::new(),
            subscription: found.map(|found| found.id.clone()).unwrap_or_default(),
            resource_group: section.text("resource_group").unwrap_or_else(|| "default".to_owned()),
            location: section.text("location").unwrap_or_else(|| "westeurope".to_owned()),
            tenant,
            cloud,
            rbac: section.choice("access", &[("rbac", true), ("policy", false)]).unwrap_or(true),
            firewall: section
                .choice(
                    "firewall",
                    &[("open", Firewall::Open), ("closed", Firewall::Closed), ("private", Firewall::Private)],
                )
                .unwrap_or(Firewall::Open),
            hidden: section.flag("hidden").unwrap_or(false),
            throttled: section.flag("throttled").unwrap_or(false),
            recovery_level: section.text("recovery_level").unwrap_or_else(|| "Recoverable+Purgeable".to_owned()),
            recoverable_days: match section.number("recoverable_days") {
                Some(0) => None,
                Some(days) => Some(days),
                None => Some(90),
            },
            tags: section.map("tags"),
            paging: paging(&mut section, 25, PageEnd::Null),
            secrets: self.secrets(&mut section),
        };
        let wanted: Vec<String> = match section.count("count", MOST_VAULTS) {
            None => vec![pattern.to_ascii_lowercase()],
            Some(count) => {
                if !pattern.contains("{}") {
                    section.fault("name", "must have {} where the number goes, as there is a count");
                }
                (0..count).map(|at| pattern.to_ascii_lowercase().replacen("{}", &at.to_string(), 1)).collect()
            }
        };
        for name in &wanted {
            if let Some(reason) = bad_vault_name(name) {
                section.fault("name", format!("{name:?} {reason}"));
                break;
            }
            if !names.insert(name.clone()) {
                section.fault("name", format!("{name:?} is taken: vault names are unique in all of Azure"));
                break;
            }
        }
        if wanted.len().saturating_mul(vault.secrets.len()) > MOST_SECRETS as usize {
            section.fault("count", format!("makes more than {MOST_SECRETS} secrets of them all"));
            section.finish();
            return Vec::new();
        }
        section.finish();
        wanted.into_iter().map(|name| Vault { name, ..vault.clone() }).collect()
    }

    fn secrets(&self, section: &mut Section<'_>) -> Vec<Secret> {
        let mut secrets: Vec<_> = section.sections("secret").into_iter().filter_map(|item| self.secret(item)).collect();
        for item in section.sections("bulk") {
            secrets.extend(self.bulk(item));
        }
        let mut seen = BTreeSet::new();
        for secret in &secrets {
            if !seen.insert(&secret.name) {
                section.fault("secret", format!("{} is there twice; use versions", secret.name));
            }
        }
        secrets
    }

    fn secret(&self, mut section: Section<'_>) -> Option<Secret> {
        let spelling = section.required("name");
        let name = name_of(&section, &spelling);
        let deleted = section.flag("deleted").unwrap_or(false);
        let attributes = self.attributes(&mut section);
        let mut versions = Vec::new();
        for mut item in section.sections("versions") {
            let mut version = self.attributes(&mut item);
            version.value = value_of(&mut item);
            item.finish();
            if version.content_type.is_none() {
                version.content_type.clone_from(&attributes.content_type);
            }
            if version.tags.is_empty() {
                version.tags.clone_from(&attributes.tags);
            }
            versions.push(version);
        }
        let own = value_of(&mut section);
        if versions.is_empty() || section.has("value") {
            versions.push(SecretVersion { value: own, ..attributes });
        }
        section.finish();
        Some(Secret { name: name?, spelling, versions, deleted })
    }

    fn bulk(&self, mut section: Section<'_>) -> Vec<Secret> {
        let pattern = section.required("pattern");
        let count = section.count("count", MOST_SECRETS).unwrap_or(0);
        let version = self.attributes(&mut section);
        if !pattern.contains("{}") {
            section.fault("pattern", "must have {} where the number goes");
        }
        let named = (0..count).map_while(|at| {
            let spelling = pattern.replacen("{}", &at.to_string(), 1);
            let name = name_of_key(&section, "pattern", &spelling)?;
            Some(Secret { name, spelling, versions: vec![version.clone()], deleted: false })
        });
        let secrets = named.collect();
        section.finish();
        secrets
    }

    fn attributes(&self, section: &mut Section<'_>) -> SecretVersion {
        SecretVersion {
            value: Value::Generated,
            enabled: section.flag("enabled").unwrap_or(true),
            expires: section.when("expires", self.now),
            not_before: section.when("not_before", self.now),
            created: section.when("created", self.now),
            content_type: section.text("content_type"),
            tags: section.map("tags"),
        }
    }
}

fn name_of(section: &Section<'_>, spelling: &str) -> Option<SecretName> {
    if spelling.is_empty() { None } else { name_of_key(section, "name", spelling) }
}

fn name_of_key(section: &Section<'_>, key: &str, spelling: &str) -> Option<SecretName> {
    spelling.parse().map_err(|error| section.fault(key, format!("{error}"))).ok()
}

/// Without a `value` or `certificate`, one is made up.
fn value_of(section: &mut Section<'_>) -> Value {
    let text = section.text("value").map(Value::Text);
    let certificate = section.text("certificate").map(Value::Certificate);
    if text.is_some() && certificate.is_some() {
        section.fault("certificate", "stands beside a value; a secret has one or the other");
    }
    text.or(certificate).unwrap_or(Value::Generated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        Estate::parse(text)
            .map(|_| Vec::new())
            .unwrap_or_else(|faults| faults.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_demo_parses_and_is_what_it_promises() {
        let now = OffsetDateTime::now_utc();
        let demo = Estate::demo(now);
        let in_sight: Vec<_> = demo.vaults.iter().filter(|vault| !vault.hidden).collect();
        assert_eq!(demo.subscriptions.len(), 3);
        let own = in_sight.iter().filter(|vault| vault.tenant == demo.tenants[0].id);
        assert_eq!((in_sight.len(), own.count()), (9, 8), "eight, and one of another tenant");
        let secrets: Vec<_> = demo.vaults.iter().flat_map(|vault| &vault.secrets).collect();
        assert!((200..1000).contains(&secrets.len()), "{} secrets", secrets.len());
        let redis: Vec<_> = secrets.iter().filter(|secret| secret.name.as_str() == "redis-password").collect();
        assert!(redis.len() > 3 && redis.iter().any(|secret| !secret.versions[0].enabled));
        let soon = secrets.iter().filter_map(|secret| secret.versions.last()?.expires);
        let soon = soon.filter(|expires| (now..now + time::Duration::days(30)).contains(expires));
        assert!(soon.count() >= 5);
    }

    #[test]
    fn every_fault_is_told_at_once_with_its_key_and_line() {
        let told = faults(
            r#"
latency = 3
[[tenant]]
id = "t"
[[app]]
name = "a"
id = "1"
tennant = "t"
[[subscription]]
id = "s"
name = "s"
state = 7
[[vault]]
name = "x"
subscription = "nowhere"
[[vault.secret]]
name = "db/password"
expires = "soon"
[[grant]]
app = "b"
vaults = ["[", "ok"]
rights = ["read"]
"#,
        );
        let expected = [
            "line 2: latency: is not a known key; did you mean \"latency_ms\"?",
            "line 8: app[0].tennant: is not a known key; did you mean \"tenant\"?",
            "line 12: subscription[0].state: must be a text",
            "line 14: vault[0].name: \"x\" must have 3 to 24 characters",
            "line 15: vault[0].subscription: \"nowhere\" is no [[subscription]]'s id or name",
            "line 17: vault[0].secret[0].name: secret name has '/' at character 3; allowed are letters, digits and '-'",
            "line 18: vault[0].secret[0].expires: is no time",
            "line 20: grant[0].app: \"b\" is no [[app]]'s name",
            "line 21: grant[0].vaults: \"[\" is no glob",
            "line 22: grant[0].rights: \"read\" is no right",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}\n{expected}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_by_its_line() {
        assert_eq!(faults("[[tenant]]\nid = \n").len(), 1);
        assert!(faults("[[tenant]]\nid = \n")[0].starts_with("line 2: "));
        assert_eq!(faults(""), ["line 1: tenant: is missing: an estate has at least one [[tenant]]"]);
    }

    #[test]
    fn one_entry_can_stand_for_many_vaults_and_many_secrets() {
        let estate = Estate::parse(
            "[[tenant]]\nid = \"t\"\n[[subscription]]\nid = \"s\"\nname = \"s\"\n\
             [[vault]]\nname = \"bench-{}\"\ncount = 500\nsubscription = \"s\"\n[[vault.bulk]]\npattern = \"n-{}\"\ncount = 40\n",
        )
        .unwrap();
        assert_eq!(estate.vaults.len(), 500);
        assert!(estate.vaults.iter().all(|vault| vault.secrets.len() == 40));
        assert_eq!(estate.vaults[499].name, "bench-499");
    }
}
