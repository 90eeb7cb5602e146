//! `--env-file` and `--map`: variables that files tell.

use std::path::Path;

use super::Faults;
use crate::cli::Exit;
use crate::config::cause;
use crate::hydrate::set::{self, Layer, MapFormat, Unreadable, Wrong};

/// Lays an env file's variables over the others.
pub(super) async fn env_file(file: &Path, onto: &mut Layer, faults: &mut Faults) {
    lay(file, onto, faults, set::env_file).await;
}

/// The same for a map, which is TOML or JSON by its name's ending.
pub(super) async fn map(file: &Path, onto: &mut Layer, faults: &mut Faults) {
    let format = match file.extension().and_then(|ending| ending.to_str()) {
        Some("toml") => MapFormat::Toml,
        Some("json") => MapFormat::Json,
        Some(_) | None => {
            let what = format!("{}: the name of a map must end in .toml or .json", file.display());
            return faults.add(Exit::Usage, what);
        }
    };
    lay(file, onto, faults, |text| set::map(text, format)).await;
}

/// Whoever waits for a slow one can do something else meanwhile, such as end.
async fn lay(
    file: &Path,
    onto: &mut Layer,
    faults: &mut Faults,
    parse: impl FnOnce(&str) -> Result<Layer, Vec<Wrong>>,
) {
    let name = file.display();
    let path = file.to_owned();
    let read = tokio::task::spawn_blocking(move || set::read(&path)).await;
    match read.unwrap_or_else(|died| Err(Unreadable::Io(died.into()))) {
        Err(Unreadable::Io(error)) => {
            faults.add(Exit::InputOutput, format!("{name}: cannot be read: {}", cause(&error)));
        }
        Err(unreadable) => faults.add(Exit::Usage, format!("{name}: {unreadable}")),
        Ok(text) => match parse(&text) {
            Ok(layer) => onto.extend(layer),
            Err(all) => all.iter().for_each(|one| faults.add(Exit::Usage, format!("{name}: {one}"))),
        },
    }
}
