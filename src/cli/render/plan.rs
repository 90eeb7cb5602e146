//! From the command line to files, once and again: templates are read once, secrets each time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use super::{Render, command};
use crate::cli::hydration::{Door, Faults, Wanted};
use crate::cli::{Context, Exit, Failure};
use crate::config::{cause, environment};
use crate::hydrate::dangerous::is_ours;
use crate::hydrate::{Kept, Known, NotReplaced, Page, Put, Rendered, replace, replace_together};
use crate::secret::{Reference, SecretValue};

pub(super) struct Plan<'a> {
    door: Door<'a>,
    args: &'a Render,
    pages: Vec<(Page, &'a Path)>,
    kept: Kept,
    uid: u32,
    /// A name of the set in force that leads to something else.
    astray: RefCell<Option<Failure>>,
    variables: BTreeMap<String, String>,
}

/// A template, in bytes.
const LONGEST: u64 = 256 * 1024;
/// A value may decide which others are wanted, and these again; but not for ever.
const ROUNDS: usize = 8;

impl<'a> Plan<'a> {
    /// Everything that can be wrong before anybody is asked.
    pub(super) fn of(args: &'a Render, context: &'a Context) -> Result<Self, Failure> {
        let usage = |what: String| Failure::new(Exit::Usage, what);
        if args.template.len() != args.out.len() {
            let told = format!("{} of --template and {} of --out: each has one", args.template.len(), args.out.len());
            return Err(usage(told));
        }
        let mut names = BTreeSet::new();
        // `./a` is `a`.
        let plain = |out: &Path| out.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>();
        if let Some(twice) = args.out.iter().find(|out| !names.insert(plain(out))) {
            return Err(usage(format!("--out {}: two templates would be rendered into it", twice.display())));
        }
        if args.dir.is_some() {
            let is_name = |out: &Path| {
                out.components().count() == 1
                    && out.to_str().is_some_and(|out| !out.starts_with("..") && !out.contains('/'))
            };
            if let Some(wrong) = args.out.iter().find(|out| !is_name(out)) {
                let what = "with --dir it is a name in that folder, and does not begin with '..'";
                return Err(usage(format!("--out {}: {what}", wrong.display())));
            }
        }
        let (user, group) = match &args.owner {
            Some(owner) => self::owner(owner).map_err(|what| usage(format!("--owner: {what}")))?,
            None => (None, None),
        };
        let (mut pages, mut faults) = (Vec::new(), Faults::none());
        for (template, out) in args.template.iter().zip(&args.out) {
            match page(template) {
                Ok(page) => pages.push((page, out.as_path())),
                Err((exit, what)) => faults.add(exit, what),
            }
        }
        let pages = faults.or(pages).map_err(|faults| faults.so("nothing was replaced"))?;
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?)).filter(|(name, _)| !is_ours(name))
        };
        let variables = environment().filter_map(text).collect();
        let kept = Kept { mode: args.mode, user, group };
        Ok(Self {
            door: Door::new(context, &args.asking),
            args,
            pages,
            kept,
            uid: context.uid,
            astray: RefCell::default(),
            variables,
        })
    }

    pub(super) fn door(&self) -> &Door<'a> {
        &self.door
    }

    /// Renders all, and replaces all that is another now; whether that was any, and where the values came from.
    pub(super) async fn carry_out(&self) -> Result<(bool, BTreeSet<String>), Faults> {
        let mut wanted: HashMap<Reference, BTreeSet<String>> = HashMap::new();
        let (mut known, mut origins) = (Known::new(self.variables.clone()), BTreeSet::new());
        for _ in 0..ROUNDS {
            let Some(rendered) = self.render(&known, &mut wanted)? else {
                // All of them, those that are known too: one answer for all.
                let mut all = Wanted::default();
                for (reference, whom) in &wanted {
                    whom.iter().for_each(|whom| all.add(reference.clone(), whom));
                }
                let values = self.door.resolve(&all).await?;
                known = Known::new(self.variables.clone());
                let mut faults = Faults::none();
                for reference in wanted.keys() {
                    if !known.learn(reference.clone(), values.of(reference)) {
                        faults.add(Exit::Usage, format!("{reference}: its value is no text"));
                    }
                }
                faults.or(())?;
                origins = values.origins();
                continue;
            };
            return Ok((self.replace(rendered)?, origins));
        }
        Err(Faults::one(Exit::Usage, "a template wants ever more secrets, by what the values of others are"))
    }

    /// All pages; `None`: some want more than is known.
    fn render(
        &self,
        known: &Known,
        wanted: &mut HashMap<Reference, BTreeSet<String>>,
    ) -> Result<Option<Vec<SecretValue>>, Faults> {
        let (mut whole, mut faults, mut more) = (Vec::new(), Faults::none(), false);
        for ((page, _), template) in self.pages.iter().zip(&self.args.template) {
            match page.render(known) {
                Ok(Rendered::Whole(text)) => whole.push(text),
                Ok(Rendered::Wants(references)) => {
                    more = true;
                    for reference in references {
                        wanted.entry(reference).or_default().insert(template.display().to_string());
                    }
                }
                Err(bad) => faults.add(Exit::Usage, bad.to_string()),
            }
        }
        faults.or(if more { None } else { Some(whole) })
    }

    fn replace(&self, rendered: Vec<SecretValue>) -> Result<bool, Faults> {
        let outs = self.pages.iter().map(|(_, out)| *out).zip(rendered);
        let done = match &self.args.dir {
            None => replace(&outs.map(|(out, text)| (out.to_owned(), text)).collect::<Vec<_>>(), self.kept),
            Some(folder) => {
                let named = outs.map(|(out, text)| (out.display().to_string(), text)).collect::<Vec<_>>();
                replace_together(folder, &named, self.kept, self.uid).map(|put| match put {
                    Put::Same => false,
                    Put::Whole => true,
                    Put::But(name, error) => {
                        let place = folder.join(name);
                        let what = format!(
                            "the files are replaced, but {} is still what it was: {}",
                            place.display(),
                            told(&error)
                        );
                        *self.astray.borrow_mut() = Some(Failure::new(Exit::InputOutput, what));
                        true
                    }
                })
            }
        };
        done.map_err(|NotReplaced { path, error }| {
            Faults::one(Exit::InputOutput, format!("{}: {}", path.display(), told(&error)))
        })
    }

    /// Runs what is to be run when files were replaced, and tells of those that were not.
    pub(super) async fn on_change(&self) -> Result<(), Failure> {
        let ran = match &self.args.on_change {
            Some(command) => command::run(command, self.args.on_change_timeout).await,
            None => Ok(()),
        };
        match (self.astray.take(), ran) {
            (None, ran) => ran,
            (Some(astray), Ok(())) => Err(astray),
            (Some(astray), Err(failure)) => {
                Err(Failure::new(Exit::InputOutput, format!("{}; {}", astray.message, failure.message)))
            }
        }
    }
}

fn told(error: &std::io::Error) -> String {
    match error.get_ref() {
        Some(own) => own.to_string(),
        None => cause(error),
    }
}

fn page(template: &Path) -> Result<Page, (Exit, String)> {
    let name = template.display().to_string();
    let unread = |error: std::io::Error| (Exit::InputOutput, format!("{name}: cannot be read: {}", cause(&error)));
    // A pipe or a device tells no length before.
    let mut source = Vec::new();
    File::open(template).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut source)).map_err(unread)?;
    if source.len() as u64 > LONGEST {
        return Err((Exit::Usage, format!("{name}: it has more than {LONGEST} bytes")));
    }
    let source = String::from_utf8(source).map_err(|_| (Exit::Usage, format!("{name}: it is not UTF-8")))?;
    Page::parse(name, source).map_err(|bad| (Exit::Usage, bad.to_string()))
}

/// Permission bits in octal, as `chmod` takes them.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("expected permission bits such as 0400".to_owned()),
    }
}

/// As `chown` takes it. Names are looked up in `/etc/passwd` and `/etc/group` alone.
fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let find = |name: &str, table: &str| {
        if name.is_empty() {
            return Ok(None);
        }
        if let Ok(id) = name.parse() {
            return Ok(Some(id));
        }
        let rows = std::fs::read_to_string(table).unwrap_or_default();
        let mut rows = rows.lines().map(|row| row.split(':'));
        let found = rows.find_map(|mut row| if row.next() == Some(name) { row.nth(1)?.parse().ok() } else { None });
        found.map(Some).ok_or_else(|| format!("{name:?} is not in {table}"))
    };
    match (find(user, "/etc/passwd")?, find(group, "/etc/group")?) {
        (None, None) => Err("expected USER, USER:GROUP or :GROUP".to_owned()),
        found => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_told_as_chown_takes_it() {
        assert_eq!(owner("0:0"), Ok((Some(0), Some(0))));
        assert_eq!(owner("root"), Ok((Some(0), None)));
        assert_eq!(owner(":root"), Ok((None, Some(0))));
        assert_eq!(owner("1001:"), Ok((Some(1001), None)));
        for bad in ["", ":", "there-is-no-such-user", "root:there-is-no-such-group", "-1"] {
            assert!(owner(bad).is_err(), "{bad:?}");
        }
        assert_eq!((mode("0400"), mode("640")), (Ok(0o400), Ok(0o640)));
        assert!(["", "8", "4000", "rw"].iter().all(|bad| mode(bad).is_err()));
    }
}
