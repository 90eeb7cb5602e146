//! What a command is run with, handed down from `main`: nothing below asks the process itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::args::Global;
use super::{Failure, Protection};
use crate::api::Passed;
use crate::config::{Config, Faults, Flag, Inputs, Vars, runtime_dir};
use crate::sandbox::Found;

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
    /// What a program is given back that is executed in this one's place.
    pub found: Found,
    /// Sockets that this process was started with, until they are served.
    pub passed: Arc<Mutex<Passed>>,
    /// What keeps this process's memory and rights from others.
    pub protection: Protection,
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

    /// The file with our own token that was told.
    pub(super) fn told_token_file(&self, told: Option<&Path>) -> Option<PathBuf> {
        told.map(Path::to_owned).or_else(|| self.vars.get("SIDEKEY_TOKEN_FILE").map(PathBuf::from))
    }

    /// The file with the token for TCP: the one told, else the default one if it is there.
    pub(super) fn token_file(&self, told: Option<&Path>) -> Option<PathBuf> {
        let of_the_sidecar = || self.vars.get("SIDEKEY_LISTEN_TOKEN_FILE").map(PathBuf::from);
        let told = self.told_token_file(told).or_else(of_the_sidecar);
        let default = runtime_dir(&self.vars, self.uid).join("token");
        told.or_else(|| default.exists().then_some(default))
    }
}
