//! What a POSIX shell evaluates: `eval "$(sidekey env --format sh)"`, with its quotes, lest the shell split it.

use super::{Clear, Page};
use crate::hydrate::shell;

pub(super) fn write(page: &mut Page, variable: &Clear<'_>) -> Result<(), &'static str> {
    let name = variable.plain_name()?;
    if OWN.split_ascii_whitespace().any(|own| own == name) {
        return Err("a variable that a shell keeps for itself: it would lose the value, or fail");
    }
    for piece in ["export ", name, "="] {
        page.put(piece.as_bytes());
    }
    shell::word(variable.value).for_each(|piece| page.put(piece));
    page.put(b"\n");
    Ok(())
}

/// What dash, bash, zsh, busybox, mksh, ksh93 or yash do not take as a text: read-only, numbers, lists, or set by the shell
/// itself; each was tried. zsh even changes the process's user for `USERNAME` and its like.
const OWN: &str = "
    ARGC ARGV0 BASHOPTS BASHPID BASH_ALIASES BASH_ARGC BASH_ARGV BASH_CMDS BASH_COMMAND BASH_LINENO
    BASH_SOURCE BASH_SUBSHELL BASH_VERSINFO COLUMNS DIRSTACK EGID EPOCHREALTIME EPOCHSECONDS ERRNO
    EUID FUNCNAME FUNCNEST GID GROUPS HISTCHARS HISTCMD HISTSIZE JOBMAX KEYBOARD_HACK KEYTIMEOUT
    KSHEGID KSHGID KSHUID KSH_VERSION LINENO LINES LISTMAX MAILCHECK OPTIND PGRP PIPESTATUS PPID
    RANDOM SAVEHIST SECONDS SHELLOPTS SHLVL SRANDOM TMOUT TRY_BLOCK_ERROR TRY_BLOCK_INTERRUPT
    TTYIDLE UID USERNAME USER_ID WATCH ZLE_RPROMPT_INDENT ZSH_EVAL_CONTEXT ZSH_SUBSHELL _
    aliases argv builtins cdpath commands dirstack dis_aliases dis_builtins dis_functions
    dis_functions_source dis_galiases dis_patchars dis_reswords dis_saliases fignore fpath
    funcfiletrace funcsourcetrace funcstack functions functions_source functrace galiases histchars
    history historywords jobdirs jobstates jobtexts keymaps mailpath manpath module_path modules
    nameddirs options parameters patchars path pipestatus psvar reswords saliases signals status
    termcap terminfo userdirs usergroups watch widgets zsh_eval_context zsh_scheduled_events
";
