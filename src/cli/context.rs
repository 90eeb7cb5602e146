//! What a command is run with, handed down from `main`: nothing below asks the process itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Failure;
use super::args::Global;
use crate::api::Passed;
use crate::config::{Config, Faults, Flag, Inputs, Vars, runtime_dir};

/// What surrounds a command.
#[derive(Debug, Clone)]
pub struct Context {
    /// The environment.
    pub vars: Vars,
    /// Our user's id.
    pub uid: u32,
    /// This program's own path, for commands that are printed to be pasted.
    pub program: PathBuf,
    /// Cancelled when the process is told to stop.
    pub shutdown: CancellationToken,
    /// Told when the process is asked to read its configuration again; several times before that happens are once.
    pub reload: Arc<Notify>,
    /// Sockets that this process was started with, until they are served.
    pub passed: Arc<Mutex<Passed>>,
    /// Flags that every command takes.
    pub global: Global,
}

impl Context {
    /// The checked configuration, with what this command line sets over it.
    pub(super) fn config(&self, flags: Vec<Flag>) -> Result<Config, Failure> {
        Ok(self.configuration(flags)?)
    }

    /// The same, with every fault by itself.
    pub(super) fn configuration(&self, flags: Vec<Flag>) -> Result<Config, Faults> {
        let file = self.global.config.clone().or_else(|| self.vars.get("SIDEKEY_CONFIG").map(PathBuf::from));
        Config::load(&Inputs { file, vars: self.vars.clone(), flags, uid: self.uid })
    }

    /// The file with the token for TCP: the one told, else the default one if it is there.
    pub(super) fn token_file(&self, told: Option<&Path>) -> Option<PathBuf> {
        let of = |name: &str| self.vars.get(name).map(PathBuf::from);
        let told =
            told.map(Path::to_owned).or_else(|| of("SIDEKEY_TOKEN_FILE")).or_else(|| of("SIDEKEY_LISTEN_TOKEN_FILE"));
        let default = runtime_dir(&self.vars, self.uid).join("token");
        told.or_else(|| default.exists().then_some(default))
    }
}
