//! Which files and ports: Landlock, in the kernel since 5.13, with ports since 6.7 and abstract sockets and signals since
//! 6.12.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible as _, LandlockStatus, NetPort,
    PathBeneath, PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError,
    RulesetStatus, Scope,
};

use super::{Force, Needs};

/// The newest whose rights are all decided on here.
const KNOWN: ABI = ABI::V6;

pub(super) fn confine(needs: &Needs) -> Force {
    match restrict(needs) {
        Ok((status, abi)) => told(needs, &status, abi),
        Err(error) => Force::None(format!("Landlock: {error}")),
    }
}

fn told(needs: &Needs, status: &RulesetStatus, abi: i32) -> Force {
    let mut parts = Vec::new();
    if !needs.programs {
        parts.push("files");
    }
    if abi >= 4 {
        parts.push("TCP ports");
    }
    if abi >= 6 {
        parts.push(if needs.abstract_sockets { "signals" } else { "abstract sockets and signals" });
    }
    let what = format!("Landlock ABI {abi}: {}", parts.join(", "));
    match status {
        RulesetStatus::FullyEnforced if !needs.programs && !needs.abstract_sockets => Force::Whole(what),
        RulesetStatus::FullyEnforced if needs.programs => {
            Force::Partly(format!("{what}; not files, as the Azure CLI is started"))
        }
        RulesetStatus::FullyEnforced => Force::Partly(format!("{what}; not abstract sockets, as systemd's is one")),
        RulesetStatus::PartiallyEnforced => Force::Partly(what),
        RulesetStatus::NotEnforced => Force::None("this kernel has no Landlock, or it is not switched on".to_owned()),
    }
}

fn restrict(needs: &Needs) -> Result<(RulesetStatus, i32), RulesetError> {
    let mut rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    if !needs.programs {
        rules = rules.handle_access(AccessFs::from_all(KNOWN))?;
    }
    // A port that the system chooses is chosen once, and then asked for by its number.
    let any_port = needs.bind.contains(&0);
    let ports = if any_port { AccessNet::ConnectTcp.into() } else { AccessNet::from_all(KNOWN) };
    rules = rules.handle_access(ports)?.scope(Scope::Signal)?;
    if !needs.abstract_sockets {
        rules = rules.scope(Scope::AbstractUnixSocket)?;
    }
    let mut rules = rules.create()?;
    if !needs.programs {
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        for path in &needs.read {
            rules = allow(rules, path, read)?;
        }
        let changes = AccessFs::WriteFile
            | AccessFs::Truncate
            | AccessFs::MakeReg
            | AccessFs::MakeDir
            | AccessFs::MakeSock
            | AccessFs::RemoveFile
            | AccessFs::Refer;
        for path in &needs.write {
            rules = allow(rules, &there(path), read | changes)?;
        }
        rules = allow(rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    let port = |port: &u16, access| NetPort::new(*port, access);
    let rules = rules
        .add_rules(needs.connect.iter().map(|to| Ok::<_, RulesetError>(port(to, AccessNet::ConnectTcp))))?
        .add_rules(
            needs.bind.iter().filter(|_| !any_port).map(|to| Ok::<_, RulesetError>(port(to, AccessNet::BindTcp))),
        )?;
    let status = rules.restrict_self()?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    };
    Ok((status.ruleset, abi))
}

/// What does not exist, or cannot be opened, cannot be allowed either.
fn allow(rules: RulesetCreated, path: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    rules.add_rule(PathBeneath::new(opened, access))
}

/// The folder, or the nearest one above it that exists.
fn there(path: &Path) -> PathBuf {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned()
}
