//! What a sidecar of this configuration has to do, and giving up all else before a thread is started. Also of `doctor`,
//! which so tries what the sidecar will do under the same rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use url::Url;

use super::{Command, Context, Exit, Failure};
use crate::access::audit::Place;
use crate::api::TlsFiles;
use crate::config::{Config, Vars};
use crate::sandbox::{self, Needs, Report};
use crate::vaults::azure::{AzureSettings, ConfiguredVault, Credential, Identity};

/// Where systems keep whom they trust, and what their resolvers read.
const SYSTEM: &[&str] = &[
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
    "/run/systemd/resolve",
    // How many cores there are, and how much of them is ours.
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/proc/self",
    "/proc/stat",
    "/proc/cpuinfo",
    "/proc/sys/vm",
    "/proc/sys/net/core",
    "/dev/urandom",
    // Resolvers of glibc are libraries that are loaded at the first look-up.
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
];
const HTTPS: u16 = 443;
const HTTP: u16 = 80;
/// A look-up whose answer is too long for UDP.
const DNS: u16 = 53;

/// Gives up what the command does not need; `None` where it is another command, or its configuration has a fault, which
/// it will tell itself.
///
/// # Errors
/// The sandbox is required and cannot be had.
pub fn confine(command: &Command, context: &Context) -> Result<Option<(Needs, Report)>, Failure> {
    let flags = match command {
        Command::Serve(args) => args.flags(),
        Command::Doctor(_) => Vec::new(),
        _ => return Ok(None),
    };
    let Ok(config) = context.configuration(flags) else { return Ok(None) };
    let needs = needs(&config, &context.vars, context.uid);
    let report = sandbox::confine(&needs, config.sandbox).map_err(|missing| {
        Failure::new(Exit::Unavailable, format!("sandbox.mode is required, and not all of it can be had: {missing}"))
    })?;
    Ok(Some((needs, report)))
}

/// What a sidecar of that configuration has to do.
pub(super) fn needs(config: &Config, vars: &Vars, uid: u32) -> Needs {
    let mut needs = Needs { connect: BTreeSet::from([HTTPS, DNS]), ..Needs::default() };
    for path in SYSTEM {
        needs.read.insert(PathBuf::from(path));
    }
    // A host's own may be replaced by another file of that name. What a user who is not root can read there is no secret.
    let etc = Path::new("/etc");
    match Path::new("/etc/resolv.conf").canonicalize() {
        Ok(real) if real.parent() != Some(etc) => with_folder(&mut needs.read, &real),
        Ok(_) if uid != 0 => drop(needs.read.insert(etc.to_owned())),
        Ok(_) | Err(_) => {}
    }
    for variable in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let paths = vars.get(variable).unwrap_or_default().split(':').filter(|path| !path.is_empty());
        needs.read.extend(paths.map(PathBuf::from));
    }
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        needs.connect.extend(vars.get(variable).and_then(proxy_port));
    }
    needs.abstract_sockets = vars.get("NOTIFY_SOCKET").is_some_and(|socket| socket.starts_with('@'));
    if let Some(file) = &config.file {
        with_folder(&mut needs.read, file);
    }
    for source in &config.sources {
        of_source(&mut needs, source, vars);
    }
    for socket in config.listen.socket.iter().chain(&config.listen.credentials) {
        needs.write.extend(folder(&socket.path));
    }
    needs.bind.extend([config.listen.tcp, config.listen.metrics].into_iter().flatten().map(|address| address.port()));
    if let Some(TlsFiles { cert, key, client_ca, client_crl, .. }) = &config.listen.tls {
        for file in [cert, key].into_iter().chain(client_ca).chain(client_crl) {
            with_folder(&mut needs.read, file);
        }
    }
    let clients = config.access.clients.iter().filter_map(|client| client.token_file.as_ref());
    let hashing = config.audit.as_ref().and_then(|audit| audit.hash_names.as_ref());
    // Made at the start where there is none.
    for file in clients.chain(&config.access.token_file).chain(hashing) {
        needs.write.extend(folder(file));
        with_folder(&mut needs.read, file);
    }
    match config.audit.as_ref().map(|audit| &audit.place) {
        Some(Place::File { path, .. }) => needs.write.extend(folder(path)),
        Some(Place::Stderr) | None => {}
    }
    if let Some(snapshot) = &config.snapshot {
        for file in [&snapshot.file, &snapshot.key_file] {
            needs.write.extend(folder(file));
        }
    }
    needs
}

fn of_source(needs: &mut Needs, source: &AzureSettings, vars: &Vars) {
    let file_of = |credential: &Credential| match credential {
        Credential::Inline(_) => None,
        Credential::File(path) => Some(path.clone()),
    };
    let files: Vec<PathBuf> = match &source.identity {
        Identity::ClientSecret { secret, .. } => file_of(secret).into_iter().collect(),
        Identity::Certificate { file, password, .. } => {
            password.as_ref().and_then(file_of).into_iter().chain([file.clone()]).collect()
        }
        Identity::FederatedToken { file, .. } => vec![file.clone()],
        Identity::ManagedIdentity { endpoint, .. } => {
            needs.connect.insert(HTTP);
            needs.connect.extend(endpoint.as_ref().and_then(Url::port_or_known_default));
            let platform = vars.get("IDENTITY_ENDPOINT").and_then(|url| Url::parse(url).ok());
            needs.connect.extend(platform.as_ref().and_then(Url::port_or_known_default));
            Vec::new()
        }
        Identity::AzureCli { .. } => {
            needs.programs = true;
            Vec::new()
        }
    };
    for file in files.iter().chain(&source.extra_ca) {
        with_folder(&mut needs.read, file);
    }
    for url in [&source.cloud.authority_host, &source.cloud.resource_manager] {
        needs.connect.extend(url.port_or_known_default());
    }
    for vault in &source.vaults {
        match vault {
            ConfiguredVault::Uri(url) => needs.connect.extend(url.port_or_known_default()),
            ConfiguredVault::Name(_) => {}
        }
    }
    needs.connect.extend(source.resolve.iter().map(|(_, address)| address.port()));
}

/// The file's folder, as another file may take its place, and the one that it really is in.
fn with_folder(paths: &mut BTreeSet<PathBuf>, file: &Path) {
    paths.extend(folder(file));
    let real = file.canonicalize().ok();
    paths.extend(real.as_deref().and_then(Path::parent).map(Path::to_owned));
}

fn folder(file: &Path) -> Option<PathBuf> {
    std::path::absolute(file).ok()?.parent().map(Path::to_owned)
}

/// As the HTTP client reads it.
fn proxy_port(proxy: &str) -> Option<u16> {
    let url = Url::parse(proxy).ok().filter(|url| url.has_host());
    let url = url.or_else(|| Url::parse(&format!("http://{proxy}")).ok())?;
    url.port_or_known_default().or_else(|| url.scheme().starts_with("socks").then_some(1080))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Inputs;

    fn of(text: &str, vars: &[(&str, &str)]) -> Needs {
        let vars: Vars = vars.iter().copied().collect();
        let inputs = Inputs { vars: vars.clone(), ..Inputs::default() };
        let config = Config::parse(None, text, &inputs).unwrap_or_else(|faults| panic!("{faults:?}"));
        needs(&config, &vars, 0)
    }

    const AZURE: &[(&str, &str)] = &[("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), ("AZURE_CLIENT_SECRET", "s")];

    #[test]
    fn by_default_there_is_one_port_out_and_none_in() {
        let needs = of("", AZURE);
        assert_eq!(needs.connect, [DNS, HTTPS].into());
        assert!(needs.bind.is_empty() && !needs.programs && !needs.abstract_sockets);
        assert!(!needs.read.iter().any(|path| Path::new("/etc/shadow").starts_with(path)), "{:?}", needs.read);
    }

    #[test]
    fn what_is_configured_and_what_the_environment_sets_is_let_through() {
        let text = r#"
            [listen]
            tcp = "127.0.0.1:7733"
            token_file = "/run/tokens/sidekey"
            [cache.snapshot]
            file = "/var/lib/sidekey/snapshot"
            key_file = "/var/keys/snapshot"
            [[source]]
            managed_identity = true
            resolve = { "*.vault.azure.net" = "127.0.0.1:8443" }
        "#;
        let proxy = [("HTTPS_PROXY", "proxy.corp:3128"), ("NOTIFY_SOCKET", "@/systemd")];
        let needs = of(text, &proxy);
        assert_eq!(needs.connect, [DNS, HTTP, HTTPS, 3128, 8443].into());
        assert_eq!(needs.bind, [7733].into());
        for folder in ["/run/tokens", "/var/lib/sidekey", "/var/keys"] {
            assert!(needs.write.contains(Path::new(folder)), "{folder}: {:?}", needs.write);
        }
        assert!(needs.abstract_sockets);
    }

    #[test]
    fn the_azure_cli_is_a_program_that_is_started() {
        assert!(of("[[source]]\nazure_cli = true", &[]).programs);
    }
}
