//! `completions` and `man`: what packagers and shells want of a program, made from the same description that parses the
//! command line, so that neither can tell of a flag that is not there.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, ValueEnum};

use super::terminal::print;
use super::{Cli, Exit, Failure};

/// Print the completions of a shell: its TAB key then knows commands, flags and their values.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey completions bash > /usr/share/bash-completion/completions/sidekey
  sidekey completions zsh > \"${fpath[1]}/_sidekey\"
  sidekey completions fish > ~/.config/fish/completions/sidekey.fish")]
pub struct Completions {
    /// Whose
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// The shells that are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Print the manual page of a command, or write those of all into a folder.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sidekey man | man -l -
  sidekey man exec | man -l -
  sidekey man --out-dir /usr/share/man/man1     sidekey.1, sidekey-exec.1 and so on")]
pub struct Man {
    /// The command; none: the program as a whole
    #[arg(value_name = "COMMAND", conflicts_with = "out_dir")]
    command: Option<String>,
    /// Write all pages into this folder, which is made if it does not exist
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

pub(super) fn complete(args: &Completions) -> Result<(), Failure> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sidekey", &mut script);
    print(&script)
}

pub(super) fn man(args: &Man) -> Result<(), Failure> {
    let pages = pages()?;
    if let Some(folder) = &args.out_dir {
        return write(folder, &pages);
    }
    let name = args.command.as_ref().map_or_else(|| "sidekey".to_owned(), |command| format!("sidekey-{command}"));
    match pages.iter().find(|(page, _)| *page == name) {
        Some((_, page)) => print(page),
        None => {
            Err(Failure::new(Exit::Usage, format!("there is no command {:?}", args.command.as_deref().unwrap_or(""))))
        }
    }
}

/// Every page, by its name.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut whole = Cli::command().disable_help_subcommand(true);
    // Flags that all commands have are each command's, too.
    whole.build();
    let commands = whole.get_subcommands().filter(|command| !command.is_hide_set());
    let commands = commands.map(|command| (format!("sidekey-{}", command.get_name()), command));
    [("sidekey".to_owned(), &whole)]
        .into_iter()
        .chain(commands)
        .map(|(name, command)| {
            let mut page = Vec::new();
            let rendered = clap_mangen::Man::new(command.clone()).section("1").render(&mut page);
            rendered.map_err(|error| Failure::io("a manual page", &error))?;
            Ok((name, page))
        })
        .collect()
}

fn write(folder: &Path, pages: &[(String, Vec<u8>)]) -> Result<(), Failure> {
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |error: std::io::Error| Failure::io(&path, &error)
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, page) in pages {
        let path = folder.join(format!("{name}.1"));
        fs::write(&path, page).map_err(failed(&path))?;
    }
    Ok(())
}
