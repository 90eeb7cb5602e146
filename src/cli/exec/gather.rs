//! What a program is to be started with: its environment, and each variable that refers to a secret; resolved together.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::time::Duration;

use ring::hmac;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::Exec;
use crate::api::model::{ProblemDocument, ResolveAnswer, ResolveRequest, ResolvedFrom, SearchAnswer};
use crate::catalog::Query;
use crate::cli::client::{Answer, Client, Request};
use crate::cli::exit::{code_of, exit_of};
use crate::cli::sidecar::Need;
use crate::cli::terminal::harmless;
use crate::cli::{Context, Exit, Failure};
use crate::config::environment;
use crate::hydrate::dangerous::{is_dangerous, is_name, is_ours};
use crate::hydrate::files::Folder;
use crate::hydrate::limits;
use crate::hydrate::set::{self, Layer, MapFormat, Naming, Wrong};
use crate::hydrate::{Program, Template};
use crate::secret::{Reference, SecretValue};

/// What `--clean` leaves.
const PLAIN: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "TZ", "LANG"];
/// Between two tries to reach a sidecar that is starting.
const PAUSE: Duration = Duration::from_millis(100);

/// All that is known before anybody is asked.
pub(super) struct Gathered {
    /// What passes as it is.
    plain: Vec<(OsString, OsString)>,
    /// What holds a reference.
    templates: BTreeMap<String, Template>,
    folder: Option<Folder>,
}

/// What was resolved, as far as whoever watches must know it.
pub(super) struct Resolved {
    /// Where each value came from: what is watched.
    pub(super) references: Vec<String>,
    /// Of all values together, by a key that this process alone has.
    pub(super) mark: hmac::Tag,
}

/// `NAME=TEXT`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=REF")?;
    if is_name(name) { Ok((name.to_owned(), value.to_owned())) } else { Err("the variable has no name".to_owned()) }
}

impl Gathered {
    /// Reads what the command line names, and asks what `--all-from` means, while a sidecar that is starting may still come.
    pub(super) async fn patiently(args: &Exec, context: &Context) -> Result<Self, Failure> {
        let listed = if args.all_from.is_empty() {
            Layer::new()
        } else {
            patiently(args, async || all_from(args, context).await).await?
        };
        Self::of(args, context, listed)
    }

    fn of(args: &Exec, context: &Context, listed: Layer) -> Result<Self, Failure> {
        let mut wrong = Vec::new();
        let (mut plain, mut templates) = (Vec::new(), BTreeMap::new());
        for (name, value) in environment() {
            let Some(known) = name.to_str() else {
                // No reference is written in what is no text.
                if !args.clean {
                    plain.push((name, value));
                }
                continue;
            };
            if is_ours(known) && !args.pass.iter().any(|pass| pass == known) {
                continue;
            }
            match value.to_str().map(Template::parse) {
                Some(Ok(template)) if template.references().next().is_some() => {
                    templates.insert(known.to_owned(), template);
                }
                Some(Err(error)) => wrong.push(format!("{known}: {error}")),
                Some(Ok(_)) | None if args.clean && !(PLAIN.contains(&known) || known.starts_with("LC_")) => {}
                Some(Ok(_)) | None => plain.push((name, value)),
            }
        }
        templates.extend(listed);
        for file in &args.env_files {
            lay(&mut templates, &mut wrong, file, set::env_file);
        }
        for file in &args.maps {
            let json = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
            let format = if json { MapFormat::Json } else { MapFormat::Toml };
            lay(&mut templates, &mut wrong, file, |text| set::map(text, format));
        }
        for (name, text) in &args.sets {
            // A short form, or a text with references in it.
            let template = match Reference::parse_lenient(text) {
                Ok(reference) => Ok(Template::of(reference)),
                Err(_) => Template::parse(text),
            };
            match template {
                Ok(template) => drop(templates.insert(name.clone(), template)),
                Err(error) => wrong.push(format!("{name}: {error}")),
            }
        }
        for name in &args.pass {
            if crate::config::Vars::is_secret(name.as_bytes()) {
                wrong.push(format!(
                    "--pass {name}: what sidekey signs in with is never passed on; give the program its own"
                ));
            }
        }
        for name in templates.keys().filter(|name| is_dangerous(name) && !args.allow.contains(name)) {
            wrong.push(format!("{name}: can take a program over; say --allow {name} if it is to be set"));
        }
        for name in args.descriptors.iter().filter(|name| !templates.contains_key(*name)) {
            wrong.push(format!("--fd {name}: no variable of that name refers to a secret"));
        }
        if args.as_files.is_some() {
            for name in templates.keys().filter(|name| name.contains('/') || name.starts_with('.')) {
                wrong.push(format!("{name}: is no name for a file"));
            }
        }
        if !wrong.is_empty() {
            return Err(all_failures(Exit::Usage, &wrong));
        }
        let folder = args.as_files.as_ref().map(|path| {
            Folder::open(path, context.uid, args.allow_disk)
                .map_err(|error| Failure::new(Exit::Usage, format!("--as-files {}: {error}", path.display())))
        });
        plain.retain(|(name, _)| name.to_str().is_none_or(|name| !templates.contains_key(name)));
        Ok(Self { plain, templates, folder: folder.transpose()? })
    }

    /// The same as [`Gathered::resolve`], while a sidecar that is starting may still come.
    pub(super) async fn resolve_patiently(
        &self,
        args: &Exec,
        context: &Context,
    ) -> Result<(Program, Resolved), Failure> {
        patiently(args, async || self.resolve(args, context).await).await
    }

    /// All values at once, and the program with them; or every failure.
    pub(super) async fn resolve(&self, args: &Exec, context: &Context) -> Result<(Program, Resolved), Failure> {
        let mut program = Program::new(args.command.clone(), self.plain.clone());
        let mut answered = Answered { values: BTreeMap::new(), resolved: BTreeMap::new() };
        let references: BTreeMap<String, &Reference> = self
            .templates
            .values()
            .flat_map(Template::references)
            .map(|reference| (reference.to_string(), reference))
            .collect();
        if !references.is_empty() {
            let client = Client::connect(context, &args.connect)?;
            prepare(&client, references.values().copied()).await;
            let refs = references.keys().map(|text| (text.clone(), text.clone())).collect();
            let answer = client.send(&Request::v1(&["resolve"]).send(&ResolveRequest { refs })).await?;
            if !answer.status.is_success() {
                return Err(self.failures(&answer));
            }
            let answer = Answered::of(&answer.body)
                .filter(|answer| references.keys().all(|key| answer.values.contains_key(key)));
            answered = answer.ok_or_else(|| {
                Failure::new(Exit::Unavailable, "the sidecar's answer is not understood; is it of another version?")
            })?;
        }
        let resolved = self.deliver(args, &mut program, &answered)?;
        match program.fits() {
            Ok(()) => Ok((program, resolved)),
            Err(wrong) => {
                let told = |(name, error): &(Option<OsString>, _)| match name {
                    Some(name) => format!("{}: {error}", name.display()),
                    None => format!("{error}"),
                };
                Err(all_failures(Exit::Usage, &wrong.iter().map(told).collect::<Vec<_>>()))
            }
        }
    }

    /// Every value where it belongs: nothing is delivered before all are rendered.
    fn deliver(&self, args: &Exec, program: &mut Program, answer: &Answered) -> Result<Resolved, Failure> {
        let (mut wrong, mut rendered) = (Vec::new(), Vec::new());
        let mut mark = hmac::Context::with_key(&key());
        for (name, template) in &self.templates {
            let value = match template.render(|reference| &answer.values[&reference.to_string()]) {
                Ok(value) => value.expose(),
                Err(error) => {
                    wrong.push(format!("{name}: {error}"));
                    continue;
                }
            };
            mark.update(&(value.len() as u64).to_le_bytes());
            mark.update(&value);
            let is_secret = template.references().next().is_some();
            let by_file = self.folder.is_some() && is_secret;
            let in_environment = !by_file && !args.descriptors.contains(name);
            if in_environment && value.contains(&0) {
                wrong.push(format!(
                    "{name}: the value holds a NUL, which no variable can; give it as a file: --as-files"
                ));
            } else if let Some(error) =
                limits::one(name.as_ref(), OsStr::from_bytes(&value)).err().filter(|_| in_environment)
            {
                wrong.push(format!("{name}: {error}"));
            }
            rendered.push((name, value, by_file));
        }
        if !wrong.is_empty() {
            return Err(all_failures(Exit::Usage, &wrong));
        }
        for (name, value, by_file) in rendered {
            let done = if args.descriptors.contains(name) {
                program.hand(name.as_ref(), &value)
            } else if let Some(folder) = self.folder.as_ref().filter(|_| by_file) {
                folder.write(name, &value).map(|path| program.set(name.as_ref(), path.into()))
            } else {
                program.set(name.as_ref(), OsString::from_vec(value.to_vec()));
                Ok(())
            };
            if let Err(error) = done {
                wrong.push(format!("{name}: cannot be delivered: {}", crate::config::cause(error.kind())));
            }
        }
        if !wrong.is_empty() {
            return Err(all_failures(Exit::InputOutput, &wrong));
        }
        let references = answer.resolved.values().map(|from| from.reference.to_string()).collect();
        Ok(Resolved { references, mark: mark.sign() })
    }

    /// Every failure by its variable. The exit code is that of what waiting does not mend, if there is any.
    fn failures(&self, answer: &Answer) -> Failure {
        let whole = Client::in_words(answer);
        let Ok(problem) = serde_json::from_slice::<ProblemDocument>(&answer.body) else { return whole };
        if problem.errors.is_empty() {
            return whole;
        }
        let (mut wrong, mut exit) = (Vec::new(), Exit::Unavailable);
        for (reference, fault) in &problem.errors {
            let uses = |template: &Template| template.references().any(|used| used.to_string() == *reference);
            for (name, _) in self.templates.iter().filter(|(_, template)| uses(template)) {
                let mut line = format!("{name}: {reference}: {}", fault.detail);
                if !fault.candidates.is_empty() {
                    line.push_str(&format!("\nit is one of {}", fault.candidates.join(", ")));
                }
                wrong.push(line);
            }
            exit = match (exit, code_of(&fault.code).map_or(Exit::Unavailable, exit_of)) {
                (Exit::Denied, _) | (_, Exit::Denied) => Exit::Denied,
                (Exit::Unavailable, other) => other,
                (known, _) => known,
            };
        }
        wrong.sort_unstable();
        all_failures(exit, &wrong)
    }
}

/// Tries again for as long as the sidecar may still be starting.
async fn patiently<T>(args: &Exec, once: impl AsyncFn() -> Result<T, Failure>) -> Result<T, Failure> {
    let until = Instant::now() + args.wait;
    loop {
        match once().await {
            Err(failure)
                if failure.exit == Exit::Unavailable && !args.connect.direct && Instant::now() + PAUSE < until =>
            {
                sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// One variable for each enabled secret that `--all-from` finds.
async fn all_from(args: &Exec, context: &Context) -> Result<Layer, Failure> {
    let client = Client::connect(context, &args.connect)?;
    client.prepare(Need::Everything).await;
    let most = Query::MOST.to_string();
    let mut found = Vec::new();
    for place in &args.all_from {
        let (vault, glob) = place.split_once('/').unwrap_or((place, "*"));
        let mut cursor: Option<String> = None;
        loop {
            let request = Request::v1(&["search"]).query("vault", Some(vault)).query("q", Some(glob));
            let request =
                request.query("match", Some("glob")).query("enabled", Some("true")).query("limit", Some(&most));
            let page: SearchAnswer = client.document(&request.query("cursor", cursor.as_deref())).await?;
            // A set that may lack something is none.
            if !page.complete {
                let told: Vec<_> = page.unanswered.iter().map(crate::cli::warnings::one).collect();
                let refused = page.unanswered.iter().all(|one| crate::cli::warnings::is_refusal(&one.reason));
                let exit = if refused && !told.is_empty() { Exit::Denied } else { Exit::Unavailable };
                return Err(all_failures(
                    exit,
                    &[format!("--all-from {place}: not all is known\n{}", told.join("\n"))],
                ));
            }
            found.extend(page.hits.into_iter().map(|hit| hit.reference));
            match page.next {
                Some(next) => cursor = Some(next),
                None => break,
            }
        }
    }
    let naming = Naming { strip: args.strip.clone(), prefix: args.prefix.clone(), keep_case: false };
    set::all_of(&found, &naming).map_err(|wrong| {
        all_failures(Exit::Usage, &wrong.iter().map(|wrong| format!("--all-from: {wrong}")).collect::<Vec<_>>())
    })
}

/// What a file sets, over what was set before.
fn lay(onto: &mut Layer, wrong: &mut Vec<String>, file: &Path, parse: impl FnOnce(&str) -> Result<Layer, Vec<Wrong>>) {
    let name = file.display();
    match std::fs::read_to_string(file).map(Zeroizing::new) {
        Err(error) => wrong.push(format!("{name}: cannot be read: {}", crate::config::cause(error.kind()))),
        Ok(text) => match parse(&text) {
            Ok(layer) => onto.extend(layer),
            Err(all) => wrong.extend(all.iter().map(|one| format!("{name}: {one}"))),
        },
    }
}

/// What must be known of the vaults where this process is the sidecar.
async fn prepare(client: &Client, references: impl Iterator<Item = &Reference> + Clone) {
    if references.clone().any(|reference| reference.vault.is_none()) {
        return client.prepare(Need::Everything).await;
    }
    for reference in references {
        if let Some(vault) = &reference.vault {
            client.prepare(Need::Vault(vault)).await;
        }
    }
}

/// A resolve's answer, with values that lie encrypted.
struct Answered {
    values: BTreeMap<String, SecretValue>,
    resolved: BTreeMap<String, ResolvedFrom>,
}

impl Answered {
    fn of(body: &[u8]) -> Option<Self> {
        let ResolveAnswer { values, resolved } = serde_json::from_slice(body).ok()?;
        let values = values.into_iter().map(|(key, value)| (key, value.into_secret())).collect();
        Some(Self { values, resolved })
    }
}

/// Marks are compared within one process alone.
fn key() -> hmac::Key {
    static KEY: std::sync::OnceLock<[u8; 32]> = std::sync::OnceLock::new();
    let bytes = KEY.get_or_init(|| {
        let mut bytes = [0; 32];
        // Without randomness a mark is a plain digest, and it never leaves this process.
        let _ = ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes);
        bytes
    });
    hmac::Key::new(hmac::HMAC_SHA256, bytes)
}

fn all_failures(exit: Exit, wrong: &[String]) -> Failure {
    let told: Vec<_> = wrong.iter().map(|line| format!("  {}", harmless(line).replace('\n', "\n    "))).collect();
    Failure::new(exit, format!("nothing was started:\n{}", told.join("\n")))
}
