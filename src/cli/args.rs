//! The command line as it is typed. What it means is decided by each command.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::{
    aws, check, doctor, env, exec, get, healthcheck, list, manual, render, search, serve, vaults, wait, watch,
};
#[cfg(feature = "emulator")]
use super::{demo, emulator};

/// One sidecar, every Azure Key Vault: finds all vaults by itself, caches secrets, and serves them beside an app.
#[derive(Debug, Parser)]
#[command(name = "sidekey", version, max_term_width = 110, after_help = format!("Examples:\n{DEMO}{AFTER_HELP}"))]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Common to all.
    #[command(flatten)]
    pub global: Global,
}

/// What the build without the fake Azure does not have.
const DEMO: &str = if cfg!(feature = "emulator") {
    "  sidekey demo                          a believable Azure with a sidecar on it, to try\n"
} else {
    ""
};

const AFTER_HELP: &str = "  sidekey serve                         the sidecar; signs in with AZURE_TENANT_ID and so on
  sidekey get pay-prod db-password      the value alone; also pay-prod/db-password, db-password
  sidekey search redis                  which vaults hold it, and who is unreachable
  sidekey search --expires-within 30d   what expires within a month
  sidekey watch 'pay-prod/*'            what changes there, a line for each change
  sidekey doctor                        what is missing, and the command that mends it
  sidekey exec -- ./app                 an app with the secrets that its environment refers to
  sidekey env --env-file app.env        such variables with their values, for whoever else sets them
  sidekey render -t a.j2 -o a.conf      a file made of a template and secrets
  sidekey wait && ./app                 start an app when its sidecar is ready

Exit codes:
  0   done                              74  reading or writing a file failed
  1   not found, or ambiguous           77  denied, or disabled
  64  wrong usage                       78  wrong configuration
  69  unavailable

Variables:
  SIDEKEY_CONFIG, SIDEKEY_ADDR, SIDEKEY_TOKEN_FILE    as the flags of these names
  SIDEKEY_<SECTION>_<KEY>, as SIDEKEY_CACHE_TTL       any setting of the configuration file
  AZURE_…                                             credentials, as Microsoft's SDKs read them";

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration file [variable: SIDEKEY_CONFIG; default: /etc/sidekey/sidekey.toml if it exists]
    #[arg(long, global = true, value_name = "FILE", display_order = 900)]
    pub config: Option<PathBuf>,
    /// Tell more on stderr; twice for still more
    #[arg(long, short, global = true, action = clap::ArgAction::Count, display_order = 901)]
    pub verbose: u8,
    /// No colours [variable: NO_COLOR]
    #[arg(long, global = true, display_order = 902)]
    pub no_color: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the sidecar
    Serve(serve::Serve),
    /// Run a believable Azure with a sidecar on it, and print commands to try
    #[cfg(feature = "emulator")]
    Demo(demo::Demo),
    /// Print one secret's value
    Get(get::Get),
    /// Find secrets by name and attributes over all vaults; never shows values
    Search(search::Search),
    /// List the secrets of one vault, or of all; never shows values
    List(list::List),
    /// List the vaults: where they are, how many secrets, whether they can be reached
    Vaults(vaults::Vaults),
    /// Start a program with the secrets that its environment refers to
    Exec(exec::Exec),
    /// Print variables with the secrets that they refer to, in nine formats
    Env(env::Env),
    /// Render templates with the secrets that they ask for into files
    Render(render::Render),
    /// Print credentials of AWS for its SDKs, out of two or three secrets
    AwsCredentials(aws::AwsCredentialsArgs),
    /// Tell what changes, as it happens; never shows values
    Watch(watch::Watch),
    /// Check the configuration and tell every fault
    Check(check::Check),
    /// Sign in, look for vaults, try each, and say what is missing and how to mend it
    Doctor(doctor::Doctor),
    /// Ask the running sidecar whether it is ready
    Healthcheck(healthcheck::Healthcheck),
    /// Wait until the running sidecar is ready, and until secrets can be read
    Wait(wait::Wait),
    /// Print the completions of a shell
    Completions(manual::Completions),
    /// Print manual pages, or write all of them into a folder
    Man(manual::Man),
    /// Run the fake Azure alone, for tests
    #[cfg(feature = "emulator")]
    Emulator(emulator::EmulatorArgs),
}

/// How a command that reads finds its sidecar.
#[derive(Debug, Clone, Default, Args)]
pub struct Connect {
    /// The sidecar: a socket's path, unix:PATH, http://127.0.0.1:PORT or https://HOST:PORT [variable: SIDEKEY_ADDR]
    #[arg(long, value_name = "ADDRESS", conflicts_with = "direct")]
    pub addr: Option<String>,
    /// The file with the token that TCP asks for [variable: SIDEKEY_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// For https: the authorities to trust, in the place of the system's [variable: SIDEKEY_CA_FILE; and for a certificate
    /// of our own: SIDEKEY_CLIENT_CERT, SIDEKEY_CLIENT_KEY]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Ask no sidecar: sign in and read here
    #[arg(long)]
    pub direct: bool,
}

/// How a table is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// The API's own answer
    Json,
    /// Comma-separated, with a header
    Csv,
    /// Tab-separated, with a header
    Tsv,
}

/// How a command that lists prints.
#[derive(Debug, Clone, Args)]
pub struct Format {
    /// table, json, csv or tsv [default: table for a terminal, else json]
    #[arg(long, short, value_name = "FORMAT", hide_possible_values = true)]
    pub output: Option<Output>,
}

impl Format {
    /// What was asked for, or what fits whoever reads.
    #[must_use]
    pub fn or_fitting(&self, terminal: bool) -> Output {
        self.output.unwrap_or(if terminal { Output::Table } else { Output::Json })
    }
}

impl Command {
    /// Whether it reads its configuration again when it is told to. The others end when their terminal hangs up.
    #[must_use]
    pub fn reloads(&self) -> bool {
        matches!(self, Self::Serve(_))
    }

    /// Whether it serves on sockets that it may be started with.
    #[must_use]
    pub fn takes_sockets(&self) -> bool {
        matches!(self, Self::Serve(_))
    }

    /// Whether another program is executed in its place or under it, with no fewer rights than if it were started alone.
    #[must_use]
    pub fn becomes_another(&self) -> bool {
        match self {
            Self::Exec(_) => true,
            Self::Render(args) => args.runs_another(),
            _ => false,
        }
    }

    /// Whether it has something to bring to its end when it is told to stop, and so takes signals itself.
    #[must_use]
    pub fn ends_in_order(&self) -> bool {
        self.stays() || matches!(self, Self::Render(_))
    }

    /// Whether it runs until it is told to stop, and serves meanwhile.
    #[must_use]
    pub fn stays(&self) -> bool {
        match self {
            Self::Serve(_) => true,
            #[cfg(feature = "emulator")]
            Self::Demo(_) | Self::Emulator(_) => true,
            Self::Get(_)
            | Self::Search(_)
            | Self::List(_)
            | Self::Vaults(_)
            | Self::Watch(_)
            | Self::Exec(_)
            | Self::Env(_)
            | Self::Render(_)
            | Self::AwsCredentials(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Check(_)
            | Self::Doctor(_)
            | Self::Healthcheck(_)
            | Self::Wait(_) => false,
        }
    }
}
