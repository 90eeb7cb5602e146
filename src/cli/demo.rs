//! `demo`: a believable Azure and a sidecar on it in one process, and commands to try. The sidecar is built from a
//! configuration file by the path that `serve` takes; all that is not Azure's own is where the names lead and whose
//! certificates are trusted.

use std::net::SocketAddr;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use tempfile::TempDir;
use tokio::time::timeout;

use super::emulator::{bind, read_estate};
use super::open::Open;
use super::sidecar::Sidecar;
use super::terminal::print;
use super::{Context, Exit, Failure, trace};
use crate::api::Api;
use crate::config::{Config, Flag, Inputs, Log, cause};
use crate::emulator::{App, Emulator, Estate};

/// Run a believable Azure with a sidecar on it, and print commands to try. Nothing of it outlives Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey demo
  sidekey demo --socket /tmp/keys.sock --tcp 127.0.0.1:7733")]
pub struct Demo {
    /// The unix socket [default: in a private folder that is removed at the end]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// The sidecar's loopback address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    tcp: SocketAddr,
    /// The fake Azure's loopback address
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    emulator: SocketAddr,
}

/// A newcomer does not wait longer for a vault that is slow to answer.
const PATIENCE: Duration = Duration::from_millis(1500);

pub(super) async fn run(args: &Demo, context: &Context) -> Result<(), Failure> {
    if context.global.config.is_some() {
        let what =
            "--config: the demo has a configuration of its own and asks no real Azure; 'sidekey serve' takes yours";
        return Err(Failure::new(Exit::Usage, what));
    }
    trace::start(&Log { level: "error".to_owned(), json: false }, context.global.verbose);
    let estate = read_estate(None, None)?;
    let emulator_listener = bind(args.emulator, "--emulator")?;
    let failed = |error: std::io::Error| Failure::io("the demo's folder", &error);
    let folder = private_folder().map_err(failed)?;
    let settings = settings(&estate, args, folder.path());
    let emulator = Emulator::start(estate, emulator_listener)
        .map_err(|error| Failure::new(Exit::Unavailable, format!("the emulator cannot start: {}", cause(&error))))?;
    let file = folder.path().join("sidekey.toml");
    write(&folder.path().join("ca.pem"), emulator.ca_pem()).map_err(failed)?;
    write(&folder.path().join("client-secret"), &settings.client_secret).map_err(failed)?;
    write(&file, &settings.toml(emulator.addr())).map_err(failed)?;

    // Nothing of whoever tries it: neither their Azure nor their sidecar's settings.
    // What was typed is a flag here too, so that a fault in it is told as the flag's.
    let socket = args.socket.as_ref().map(|_| settings.socket.display().to_string());
    let flags = [("listen.socket", "--socket", socket), ("listen.tcp", "--tcp", Some(args.tcp.to_string()))];
    let flags = flags.into_iter().filter_map(|(key, flag, value)| Some(Flag { key, flag, value: value? })).collect();
    let inputs = Inputs { file: Some(file), flags, uid: context.uid, ..Inputs::default() };
    let config = Config::load(&inputs)?;
    let open = Open::bind(&config)?;
    let sidecar = Sidecar::start(&config).await?;
    let port = open.listeners.iter().find_map(crate::api::Listener::port).unwrap_or_default();
    let catalog = sidecar.catalog.clone();
    let greeted = async {
        // What is not known by then is told as not known yet, by every command.
        let _ = timeout(PATIENCE, catalog.first_round()).await;
        let progress = *catalog.progress().borrow();
        let vaults = catalog.vaults().len();
        match print(greeting(context, &config, port, vaults, progress).as_bytes()) {
            Ok(()) => std::future::pending().await,
            Err(failure) => failure,
        }
    };
    let outcome = tokio::select! {
        failure = greeted => Err(failure),
        outcome = open.serve(Api::new(sidecar.state()), sidecar.metrics.clone(), context) => outcome,
    };
    sidecar.stop().await;
    emulator.stop().await;
    outcome
}

/// What differs from a configuration of the real Azure.
struct Settings {
    tenant: String,
    client: String,
    client_secret: String,
    socket: PathBuf,
    tcp: SocketAddr,
}

fn settings(estate: &Estate, args: &Demo, folder: &Path) -> Settings {
    let app: &App = estate.apps.iter().find(|app| app.name == "sidekey").expect("the demo's estate has its app");
    Settings {
        tenant: app.tenant.clone(),
        client: app.id.clone(),
        client_secret: app.secrets.first().expect("which has a client secret").0.clone(),
        // A flag's path is relative to where we are, the file's to its folder: absolute, it is one for both.
        socket: std::path::absolute(args.socket.clone().unwrap_or_else(|| folder.join("sidekey.sock")))
            .unwrap_or_else(|_| folder.join("sidekey.sock")),
        tcp: args.tcp,
    }
}

impl Settings {
    fn toml(&self, emulator: SocketAddr) -> String {
        let Self { tenant, client, socket, tcp, .. } = self;
        let socket = toml::Value::String(socket.display().to_string());
        format!(
            "\
# The configuration of the demo: as for the real Azure, but for the last two lines.
[listen]
socket = {socket}
tcp = \"{tcp}\"
token_file = \"token\"

[[source]]
name = \"contoso\"
tenant_id = \"{tenant}\"
client_id = \"{client}\"
client_secret_file = \"client-secret\"
vaults = [\"breakglass\"] # not shown by Resource Manager
ca_file = \"ca.pem\"
resolve = {{ \"login.microsoftonline.com\" = \"{emulator}\", \"management.azure.com\" = \"{emulator}\", \"*.vault.azure.net\" = \"{emulator}\" }}
"
        )
    }
}

/// For us alone, and gone when it is dropped.
fn private_folder() -> std::io::Result<TempDir> {
    let owner_only = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("sidekey-demo-").permissions(owner_only).tempdir()
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}

/// What there is, and commands that work as they stand.
fn greeting(
    context: &Context,
    config: &Config,
    port: u16,
    vaults: usize,
    progress: crate::catalog::Progress,
) -> String {
    let quoted =
        |path: &Path| shlex::try_quote(&path.display().to_string()).map(|q| q.into_owned()).unwrap_or_default();
    let socket = config.listen.socket.as_ref().map(|socket| quoted(&socket.path)).unwrap_or_default();
    let token = quoted(&config.listen.token_file);
    let program = quoted(&context.program);
    let own = |words: &str| format!("{program} {words} --addr {socket}");
    // The body is the value to the byte: without the echo a shell's prompt would stand behind it.
    let curl = |path: &str| format!("curl -sS --unix-socket {socket} http://localhost{path}; echo");
    let file = config.file.as_deref().map(quoted).unwrap_or_default();
    let steps = [
        (
            "One secret, by curl over the socket: the body is the value alone",
            curl("/v1/vaults/pay-prod/secrets/db-password"),
        ),
        (
            "The same over TCP, where a token is asked for",
            format!(
                "curl -sS -H \"Authorization: Bearer $(cat {token})\" http://127.0.0.1:{port}/v1/vaults/pay-prod/secrets/db-password; echo"
            ),
        ),
        ("With its attributes, as JSON", own("get pay-prod db-password --json")),
        ("Where is redis-password, and which copies are disabled?", own("search redis-password --output table")),
        ("Only the disabled ones", own("search redis-password --disabled --output table")),
        ("Several vaults hold it: that is an error with the candidates, never a guess", own("get redis-password")),
        (
            "What expires within 30 days, soonest first?",
            own("search --expires-within 30d --sort expires --output table"),
        ),
        ("Which vaults could not be asked, and why?", own("vaults --output table")),
        ("One field of a JSON value", own("get 'secret://pay-prod/paypal-credentials#/client_id'")),
        ("A certificate with its key as PEM", own("get web-prod shop-contoso-com --pem")),
        (
            "A program whose environment is filled before it starts",
            format!(
                "DATABASE_URL='postgres://app:${{secret://pay-prod/db-password|url}}@db/shop' {program} exec --addr {socket} -- sh -c 'echo \"$DATABASE_URL\"'"
            ),
        ),
        ("What is missing, and the command that mends it", format!("{program} doctor --config {file}")),
    ];
    let mut text = format!(
        "sidekey demo: {} vaults, of which {} could be listed, {} secrets; no real Azure is asked.\n\
         Paste these into another terminal. Ctrl-C ends all of it.\n",
        vaults, progress.listed, progress.secrets
    );
    for (what, command) in steps {
        text.push_str(&format!("\n# {what}\n{command}\n"));
    }
    text + "\nready\n"
}
