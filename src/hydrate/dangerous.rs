//! Names of variables that say more than data: what a program loads, runs, or trusts. A secret or a file that could set them
//! could take the program over, so they are set only where the command line says so.

/// Whole names.
const NAMES: &[&str] = &[
    // The shells.
    "BASH_ENV",
    "BASHOPTS",
    "CDPATH",
    "ENV",
    "FPATH",
    "IFS",
    "PATH",
    "PROMPT_COMMAND",
    "PS4",
    "SHELLOPTS",
    "ZDOTDIR",
    // The C library and its resolver.
    "GCONV_PATH",
    "GETCONF_DIR",
    "GLIBC_TUNABLES",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "LOCPATH",
    "MALLOC_TRACE",
    "NIS_PATH",
    "NLSPATH",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    // Interpreters and runtimes.
    "CLASSPATH",
    "CORECLR_ENABLE_PROFILING",
    "CORECLR_PROFILER",
    "CORECLR_PROFILER_PATH",
    "DOTNET_ADDITIONAL_DEPS",
    "DOTNET_STARTUP_HOOKS",
    "ERL_AFLAGS",
    "ERL_FLAGS",
    "ERL_ZFLAGS",
    "GEM_HOME",
    "GEM_PATH",
    "GODEBUG",
    "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS",
    "LUA_CPATH",
    "LUA_INIT",
    "LUA_PATH",
    "NODE_OPTIONS",
    "NODE_PATH",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "R_PROFILE",
    "RUBYLIB",
    "RUBYOPT",
    "_JAVA_OPTIONS",
    // Whom to trust, and by whom to go.
    "ALL_PROXY",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NODE_EXTRA_CA_CERTS",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "SSLKEYLOGFILE",
    // Programs that other programs start.
    "BROWSER",
    "EDITOR",
    "LESSCLOSE",
    "LESSOPEN",
    "MANPAGER",
    "PAGER",
    "SHELL",
    "SUDO_ASKPASS",
    "SSH_ASKPASS",
    "VISUAL",
    // Where settings are read from.
    "HOME",
    "XDG_CONFIG_DIRS",
    "XDG_CONFIG_HOME",
];

/// How names begin. `BASH_FUNC_` makes functions in every bash beneath.
const BEGINNINGS: &[&str] = &["BASH_FUNC_", "DYLD_", "GIT_", "LD_", "PERL5", "PYTHON"];

/// Variables that hold or lead to what sidekey signs in with: of no use to an app, which asks sidekey instead. The ids of
/// tenant, application and subscription are no secrets, and pass.
const OURS: &[&str] = &[
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_PASSWORD",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "MSI_ENDPOINT",
    "MSI_SECRET",
];

/// Whether a variable of that name can take over a program that is started with it. Proxies are read in lower case too.
#[must_use]
pub fn is_dangerous(name: &str) -> bool {
    NAMES
        .iter()
        .any(|dangerous| *dangerous == name || (dangerous.ends_with("_PROXY") && dangerous.eq_ignore_ascii_case(name)))
        || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning))
}

/// Whether a variable of that name is sidekey's own: a credential of its, or one of its settings.
#[must_use]
pub fn is_ours(name: &str) -> bool {
    OURS.contains(&name) || name.starts_with("SIDEKEY_")
}

/// Whether a variable can have that name: not empty, without `=` and NUL.
#[must_use]
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_program_over_is_told_from_what_merely_looks_like_it() {
        for name in [
            "LD_PRELOAD",
            "PATH",
            "BASH_ENV",
            "PYTHONSTARTUP",
            "GIT_SSH_COMMAND",
            "PERL5OPT",
            "https_proxy",
            "BASH_FUNC_ls%%",
        ] {
            assert!(is_dangerous(name), "{name}");
        }
        for name in ["DB_PATH", "OLD_PASSWORD", "GITHUB_TOKEN", "path", "PGPASSWORD", "ENVIRONMENT"] {
            assert!(!is_dangerous(name), "{name}");
        }
    }

    #[test]
    fn our_credentials_are_ours_and_ids_are_anybodys() {
        assert!(is_ours("AZURE_CLIENT_SECRET") && is_ours("SIDEKEY_TOKEN_FILE") && is_ours("IDENTITY_HEADER"));
        assert!(!is_ours("AZURE_TENANT_ID") && !is_ours("AZURE_CLIENT_ID") && !is_ours("SIDEKEYS"));
    }
}
