//! Whoever is signed in to the Azure CLI: for a developer's own machine. Each token costs a process, so the cache above
//! matters more than elsewhere.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use azure_core::error::ErrorKind;
use azure_identity::{AzureCliCredential, AzureCliCredentialOptions, Executor};

use super::issuer::{Issued, Issuer, refused};
use crate::vaults::azure::errors::aadsts_code;
use crate::vaults::{VaultError, VaultErrorKind};

#[derive(Debug)]
pub(super) struct AzureCli {
    tenant: Option<String>,
    executor: Option<Arc<dyn Executor>>,
}

impl AzureCli {
    pub(super) fn new(tenant: Option<String>, executor: Option<Arc<dyn Executor>>) -> Self {
        Self { tenant, executor }
    }
}

#[async_trait]
impl Issuer for AzureCli {
    async fn issue(&self, scope: &str) -> Result<Issued, VaultError> {
        let options = AzureCliCredentialOptions {
            tenant_id: self.tenant.clone(),
            executor: self.executor.clone(),
            ..AzureCliCredentialOptions::default()
        };
        let credential = AzureCliCredential::new(Some(options)).map_err(|error| refused(&error))?;
        let token = credential.get_token(&[scope], None).await.map_err(|error| told_by_cli(&error))?;
        Ok(Issued::new(&token, 0))
    }
}

/// The CLI tells in prose; what matters of it is whether there is a CLI, and Entra's code.
fn told_by_cli(error: &azure_core::Error) -> VaultError {
    let text = error.to_string();
    if matches!(error.kind(), ErrorKind::DataConversion) {
        return VaultError::new(
            VaultErrorKind::Malformed,
            "the Azure CLI's answer is not understood; 2.54 or newer is needed",
        );
    }
    let detail = if text.contains("not found on PATH") {
        "the Azure CLI (az) is not installed, or not on the PATH"
    } else {
        "the Azure CLI gave no token; run 'az login'"
    };
    VaultError::new(VaultErrorKind::Unauthenticated { code: aadsts_code(text.as_bytes()) }, detail)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::io;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};

    use super::*;

    #[derive(Debug)]
    struct Scripted {
        code: i32,
        stdout: String,
        stderr: &'static str,
    }

    #[async_trait]
    impl Executor for Scripted {
        async fn run(&self, _program: &OsStr, arguments: &[&OsStr]) -> io::Result<Output> {
            assert!(arguments[1].to_string_lossy().contains("--tenant t-1"), "the configured tenant is asked for");
            let (stdout, stderr) = (self.stdout.clone().into_bytes(), self.stderr.into());
            Ok(Output { status: ExitStatus::from_raw(self.code << 8), stdout, stderr })
        }
    }

    async fn issue(code: i32, stdout: &str, stderr: &'static str) -> Result<Issued, VaultError> {
        let executor = Arc::new(Scripted { code, stdout: stdout.to_owned(), stderr });
        AzureCli::new(Some("t-1".into()), Some(executor)).issue("https://vault.azure.net/.default").await
    }

    #[tokio::test]
    async fn the_clis_token_is_taken_and_its_failures_say_what_to_do() {
        let token =
            issue(0, r#"{"accessToken":"tok","expires_on":4000000000,"tokenType":"Bearer"}"#, "").await.unwrap();
        assert!(token.token.is("tok"));

        let error = issue(1, "", "ERROR: AADSTS700082: The refresh token has expired\r\n").await.unwrap_err();
        assert_eq!(error.kind(), &VaultErrorKind::Unauthenticated { code: Some("AADSTS700082".into()) });
        assert!(error.to_string().contains("az login"));

        let error = issue(127, "", "/bin/sh: az: not found").await.unwrap_err();
        assert!(error.to_string().contains("not installed"), "{error}");
    }
}
