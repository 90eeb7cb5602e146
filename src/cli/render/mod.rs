//! `render`: files of settings, made of templates and the secrets that they ask for.
//!
//! Must never happen: a file that is replaced while another of its set is not; an old file gone because a new one could not
//! be made; a value in a message, in an argument, or in the environment of what `--on-change` runs; an end in the midst of
//! a set.

mod command;
mod plan;

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::hydration::{Asking, News};
use super::lengths::length;
use super::terminal::tell;
use super::{Context, Exit, Failure};
use plan::Plan;

/// Render templates into files, each replaced at once, and all of them or none.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Render {
    /// A template; may be given several times, each with its --out
    #[arg(long, short, value_name = "FILE", required = true)]
    template: Vec<PathBuf>,
    /// The file that it is rendered into
    #[arg(long, short, value_name = "FILE", required = true)]
    out: Vec<PathBuf>,
    /// The folder that each --out is a name in: its files are links that change at one instant, as in a volume of Kubernetes
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The files' permission bits
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = plan::mode)]
    mode: u32,
    /// The files' user and group, by name or number: USER, USER:GROUP or :GROUP
    #[arg(long, value_name = "USER:GROUP")]
    owner: Option<String>,
    /// Stay, and render again when a secret changes
    #[arg(long)]
    watch: bool,
    /// With --watch: render at a random moment within so long after a change, so that a fleet does not act at once
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = length, requires = "watch")]
    jitter: Duration,
    /// Have /bin/sh run this when files were replaced by others
    #[arg(long, value_name = "COMMAND")]
    on_change: Option<String>,
    /// How long --on-change may take before it is killed
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = length, requires = "on_change")]
    on_change_timeout: Duration,
    #[command(flatten)]
    asking: Asking,
}

const AFTER_HELP: &str = "\
Examples:
  sidekey render --template db.conf.j2 --out /run/app/db.conf --mode 0400 --owner app:app
  sidekey render -t a.j2 -o a.conf -t b.j2 -o b.conf --dir /run/app/conf
  sidekey render -t nginx.j2 -o /etc/nginx/conf.d/keys.conf --watch --on-change 'nginx -s reload'

A template is of the language of Jinja:
  password = \"{{ secret('pay-prod/db-password')|json }}\"
  url = postgres://app:{{ secret('secret://pay-prod/db#/password')|url }}@{{ env('DB_HOST', 'localhost') }}/orders
Filters are url, json, base64, base64d, shell, and Jinja's own. What is not defined is a fault; a template reads no file.";

impl Render {
    /// Whether another program is started.
    pub(super) fn runs_another(&self) -> bool {
        self.on_change.is_some()
    }
}

/// Ends when it is told to, but not while it replaces files: nothing is awaited there.
pub(super) async fn run(args: &Render, context: &Context) -> Result<(), Failure> {
    let rendered = Cell::new(false);
    tokio::select! {
        done = carry_out(args, context, &rendered) => done,
        () = context.shutdown.cancelled() => match rendered.get() {
            true if args.watch => Ok(()),
            true => Err(Failure::new(Exit::InputOutput, "the files are replaced, but --on-change was ended")),
            false => Err(Failure::new(Exit::Unavailable, "told to end; nothing was replaced")),
        },
    }
}

async fn carry_out(args: &Render, context: &Context, rendered: &Cell<bool>) -> Result<(), Failure> {
    let plan = Plan::of(args, context)?;
    let (changed, mut origins) = plan.carry_out().await.map_err(|faults| faults.so("nothing was replaced"))?;
    rendered.set(true);
    if changed {
        let done = plan.on_change().await;
        if !args.watch {
            return done;
        }
        done.unwrap_or_else(|failure| tell(&format!("sidekey: {failure}")));
    }
    if !args.watch {
        return Ok(());
    }
    let mut news = News::new(plan.door(), args.jitter);
    let so = "sidekey: what changes cannot be rendered, and the files stay as they are";
    let look = async || {
        let (changed, found) = plan.carry_out().await?;
        Ok((changed.then_some(()), found))
    };
    loop {
        news.change(&mut origins, so, look).await;
        tell("sidekey: a secret has changed; the files are replaced");
        plan.on_change().await.unwrap_or_else(|failure| tell(&format!("sidekey: {failure}")));
    }
}
