use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::secret::VaultName;
use crate::vaults::azure::SetupError;

/// Which discovered vaults are wanted: `include` (empty: all) without `exclude`. Vaults that the configuration names are
/// not asked about: naming one is stronger than any pattern.
#[derive(Debug)]
pub(in crate::vaults::azure) struct Filter {
    include: Option<GlobSet>,
    exclude: GlobSet,
}

impl Filter {
    pub(in crate::vaults::azure) fn new(include: &[String], exclude: &[String]) -> Result<Self, SetupError> {
        let included = globs("include", include)?;
        Ok(Self { include: (!include.is_empty()).then_some(included), exclude: globs("exclude", exclude)? })
    }

    pub(in crate::vaults::azure) fn wants(&self, name: &VaultName) -> bool {
        self.include.as_ref().is_none_or(|include| include.is_match(name.as_str()))
            && !self.exclude.is_match(name.as_str())
    }
}

fn globs(key: &'static str, patterns: &[String]) -> Result<GlobSet, SetupError> {
    let bad = |glob: &str, error: &globset::Error| SetupError::Glob {
        key,
        glob: glob.to_owned(),
        reason: error.kind().to_string(),
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // Names are kept lower-cased, as Key Vault ignores case.
        let glob = GlobBuilder::new(pattern).case_insensitive(true).build().map_err(|error| bad(pattern, &error))?;
        set.add(glob);
    }
    set.build().map_err(|error| bad("", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclude_is_stronger_and_no_include_means_all() {
        let strings = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let wants = |include: &[&str], exclude: &[&str], name: &str| {
            Filter::new(&strings(include), &strings(exclude)).unwrap().wants(&name.parse().unwrap())
        };
        assert!(wants(&[], &[], "any"));
        assert!(wants(&["Pay-*"], &[], "pay-prod"));
        assert!(!wants(&["pay-*"], &[], "ops"));
        assert!(!wants(&["pay-*"], &["*-test"], "pay-test"));
        let error = Filter::new(&[], &["pay-[".to_owned()]).expect_err("not a glob");
        assert!(error.to_string().contains("exclude has \"pay-[\""), "{error}");
    }
}
