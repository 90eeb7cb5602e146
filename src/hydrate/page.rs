//! A template of a whole file, in the language of Jinja: `{{ secret("pay-prod/db-password") }}`.
//!
//! Which secrets it wants shows when it is rendered: at first none is known, and each that it asks for is written down;
//! once these are known, it is rendered with them. What depends on a value may then want more, and so on.
//!
//! A template reads no file and starts nothing; it has `secret` and `env`, filters, and so much fuel. Fuel bounds its steps
//! and not its memory: `{% set x = x ~ x %}` doubles a text in one step, so whoever writes a template is trusted with that.
//!
//! Must never happen: a value in a fault (a template can put one into any error); a page that is rendered without a value
//! that it asked for; a value that stays on the stack, where short ones are while a page is rendered.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use zeroize::Zeroizing;

use super::template::Filter;
use crate::kernel::scrub_stack;
use crate::secret::{Reference, SecretValue};

/// A template that can be read.
#[derive(Debug, Clone)]
pub struct Page {
    name: String,
    source: String,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}{}: {what}", place(*.line))]
pub struct BadPage {
    name: String,
    line: Option<usize>,
    what: String,
}

/// What a page is rendered with.
#[derive(Default)]
#[allow(missing_debug_implementations, reason = "it is full of values")]
pub struct Known {
    values: HashMap<Reference, Value>,
    variables: BTreeMap<String, String>,
}

/// How far a page came.
#[allow(missing_debug_implementations, reason = "a page is full of values")]
pub enum Rendered {
    /// It is whole.
    Whole(SecretValue),
    /// These were wanted, and are not known.
    Wants(Vec<Reference>),
}

/// Steps of its program: thousands of lines, and no endless loop.
const FUEL: u64 = 5_000_000;
/// A page, in bytes. What has more is no file of settings.
const LONGEST: usize = 16 * 1024 * 1024;
/// The stack for a template, in bytes: this, and for each of its bytes so much. A chain of operators of two bytes each needs
/// 400 a byte in a release and 1,000 in a debug build.
const STACK: usize = 1024 * 1024;
const STACK_A_BYTE: usize = 2048;
/// What stands for a value that is not known yet, and is thrown away.
const UNKNOWN: &str = "";

impl Page {
    /// Reads a template; `name` is what faults call it.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(name: impl Into<String>, source: impl Into<String>) -> Result<Self, BadPage> {
        let page = Self { name: name.into(), source: source.into() };
        page.apart(|| {
            let environment = environment();
            // No value is known yet, so that all of it can be told.
            let parsed = environment.template_from_named_str(&page.name, &page.source).map(drop);
            parsed.map_err(|error| page.bad(&error, true))
        })?;
        Ok(page)
    }

    /// Renders it with what is known.
    ///
    /// # Errors
    /// If it fails for another reason than that something is not known yet.
    pub fn render(&self, known: &Known) -> Result<Rendered, BadPage> {
        self.apart(|| self.scrubbed(known))
    }

    /// On a stack that is large enough: the parser descends once for each operator of a chain. What is not touched of it is
    /// no memory.
    fn apart<T: Send>(&self, work: impl FnOnce() -> Result<T, BadPage> + Send) -> Result<T, BadPage> {
        let stack = STACK + self.source.len() * STACK_A_BYTE;
        std::thread::scope(|scope| {
            let apart = std::thread::Builder::new().stack_size(stack).spawn_scoped(scope, work);
            let none = |_| BadPage { name: self.name.clone(), line: None, what: "no memory is left for it".to_owned() };
            apart.map_err(none)?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn scrubbed(&self, known: &Known) -> Result<Rendered, BadPage> {
        let rendered = self.rendered(known);
        scrub();
        rendered
    }

    /// In a frame of its own, which `scrub` then covers: texts of up to 22 bytes are no allocations, and are copied over
    /// the stack.
    #[inline(never)]
    fn rendered(&self, known: &Known) -> Result<Rendered, BadPage> {
        let mut environment = environment();
        let wanted: Arc<Mutex<Vec<Reference>>> = Arc::default();
        let (values, asked) = (known.values.clone(), Arc::clone(&wanted));
        let source = self.source.clone();
        environment.add_function("secret", move |text: &str| {
            let reference = Reference::parse_lenient(text);
            let reference = reference.map_err(|bad| ours(format!("the reference {bad}")))?;
            if let Some(value) = values.get(&reference) {
                return Ok(value.clone());
            }
            // A fault would tell it.
            if !values.is_empty() && !source.contains(text) {
                return Err(ours("a reference must not be made of a value".to_owned()));
            }
            asked.lock().unwrap_or_else(PoisonError::into_inner).push(reference);
            Ok(UNKNOWN.into())
        });
        let variables = known.variables.clone();
        environment.add_function("env", move |name: &str, otherwise: Option<&str>| {
            let variable = variables.get(name).map(String::as_str).or(otherwise);
            variable.map(str::to_owned).ok_or_else(|| ours("env: that variable is not set".to_owned()))
        });
        let template = environment.template_from_named_str(&self.name, &self.source);
        let template = template.map_err(|error| self.bad(&error, true))?;
        let mut out = Bounded(Zeroizing::new(Vec::new()));
        let done = template.render_captured_to((), &mut out).map(drop);
        let wanted = std::mem::take(&mut *wanted.lock().unwrap_or_else(PoisonError::into_inner));
        if !wanted.is_empty() {
            return Ok(Rendered::Wants(wanted));
        }
        done.map_err(|error| self.bad(&error, known.values.is_empty()))?;
        Ok(Rendered::Whole(SecretValue::new(std::mem::take(&mut *out.0))))
    }

    /// `all`: no value can be in it. Else only what we have said ourselves, or the kind of it.
    fn bad(&self, error: &Error, all: bool) -> BadPage {
        let own = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Ours>());
        let what = match (own, error.detail()) {
            (Some(own), _) => own.to_string(),
            (None, Some(detail)) if all => format!("{}: {detail}", error.kind()),
            (None, _) => error.kind().to_string(),
        };
        BadPage { name: self.name.clone(), line: error.line(), what }
    }
}

impl Known {
    /// Nothing yet, but these variables of the environment.
    #[must_use]
    pub fn new(variables: BTreeMap<String, String>) -> Self {
        Self { values: HashMap::new(), variables }
    }

    /// The value of that reference; `false`: it is no text, which templates are made of.
    #[must_use]
    pub fn learn(&mut self, reference: Reference, value: &SecretValue) -> bool {
        let learnt = self.learnt(reference, value);
        scrub();
        learnt
    }

    /// In a frame of its own, which `scrub` then covers.
    #[inline(never)]
    fn learnt(&mut self, reference: Reference, value: &SecretValue) -> bool {
        let opened = value.expose();
        let Ok(text) = std::str::from_utf8(&opened) else { return false };
        self.values.insert(reference, text.into());
        true
    }
}

/// An error of our own, in which there is no value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Ours(String);

fn ours(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, "").with_source(Ours(what))
}

fn environment<'s>() -> Environment<'s> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the usual delimiters"));
    environment.set_fuel(Some(FUEL));
    for name in ["url", "json", "base64", "base64d", "shell"] {
        environment.add_filter(name, move |value: &str| {
            let filter = Filter::named(name).expect("all of these are there");
            let made =
                filter.apply(value.as_bytes()).map_err(|misfit| ours(format!("the value for |{name} {misfit}")))?;
            let text = std::str::from_utf8(&made).map_err(|_| ours(format!("what |{name} gives is no text")))?;
            Ok::<_, Error>(text.to_owned())
        });
    }
    environment
}

/// Overwrites the stack as deep as rendering reaches, which is deeper than [`scrub_stack`] goes: 12 KiB were seen. Templates
/// have no macros and no includes, so that they add nothing to it.
#[inline(never)]
fn scrub() {
    black_box(&mut [0_u8; 64 * 1024]);
    scrub_stack();
}

/// No more than that.
struct Bounded(Zeroizing<Vec<u8>>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn place(line: Option<usize>) -> String {
    line.map_or_else(String::new, |line| format!(":{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(pairs: &[(&str, &str)]) -> Known {
        let mut known = Known::new([("PORT".to_owned(), "8080".to_owned())].into());
        for (reference, value) in pairs {
            assert!(known.learn(reference.parse().unwrap(), &SecretValue::new(*value)));
        }
        known
    }

    fn rendered(source: &str, pairs: &[(&str, &str)]) -> Result<String, String> {
        let page = Page::parse("t", source).map_err(|bad| bad.to_string())?;
        match page.render(&known(pairs)).map_err(|bad| bad.to_string())? {
            Rendered::Whole(text) => Ok(String::from_utf8(text.expose().to_vec()).unwrap()),
            Rendered::Wants(wanted) => Err(format!("wants {wanted:?}")),
        }
    }

    const DB: (&str, &str) = ("secret://pay/db", "c@na'ry\"\\<&>\n");

    #[test]
    fn values_stand_where_they_are_asked_for_as_they_are_or_as_a_filter_makes_them() {
        for (source, expected) in [
            ("a={{ secret('pay/db') }}|\n", "a=c@na'ry\"\\<&>\n|\n"),
            ("{{ secret('secret://pay/db')|url }}", "c%40na%27ry%22%5C%3C%26%3E%0A"),
            ("\"{{ secret('pay/db')|json }}\"", r#""c@na'ry\"\\<&>\n""#),
            ("{{ secret('pay/db')|base64|base64d|base64 }}", "Y0BuYSdyeSJcPCY+Cg=="),
            ("{{ secret('pay/db')|shell }}", "'c@na'\"'\"'ry\"\\<&>\n'"),
            ("{{ env('PORT') }}{{ env('NONE', 'x') }}", "8080x"),
            ("{% for x in range(2) %}{{ secret('pay/db')|length }};{% endfor %}", "13;13;"),
        ] {
            assert_eq!(rendered(source, &[DB]).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_is_not_known_is_wanted_all_at_once_and_what_a_value_decides_is_wanted_then() {
        let page =
            Page::parse("t", "{{ secret('a/x') }}{% if secret('a/on') == '1' %}{{ secret('a/y')|int }}{% endif %}");
        let page = page.unwrap();
        let wants = |pairs: &[(&str, &str)]| match page.render(&known(pairs)).unwrap() {
            Rendered::Whole(_) => Vec::new(),
            Rendered::Wants(wanted) => wanted.iter().map(ToString::to_string).collect(),
        };
        assert_eq!(wants(&[]), ["secret://a/x", "secret://a/on"]);
        assert_eq!(wants(&[("secret://a/x", "1"), ("secret://a/on", "1")]), ["secret://a/y"]);
        assert!(wants(&[("secret://a/x", "1"), ("secret://a/on", "0")]).is_empty());
        // A filter that cannot take what stands for it does not hide what is wanted.
        let page = Page::parse("t", "{{ secret('a/n')|int + 1 }}{{ secret('a/z') }}").unwrap();
        assert!(matches!(page.render(&known(&[])).unwrap(), Rendered::Wants(wanted) if !wanted.is_empty()));
    }

    #[test]
    fn a_fault_has_its_place_and_no_value() {
        let canary = ("secret://a/x", "canary");
        for (source, told) in [
            ("\n{{ secret('a/x' }}", "t:2: syntax error"),
            ("{{ secret('hunter2://x') }}", "t:1: the reference"),
            ("{{ nothing }}", "t:1: undefined value"),
            ("{{ env('NONE') }}", "t:1: env: that variable is not set"),
            ("\n{{ secret('a/x')|int }}", "t:2: "),
            ("{{ secret('a/x')|base64d }}", "t:1: the value for |base64d is not base64"),
            ("{{ secret('a/x') + 1 }}", "t:1: "),
            ("{{ secret(secret('a/x')|upper) }}", "t:1: a reference must not be made of a value"),
            ("{% include '/etc/passwd' %}", "t:1: syntax error"),
            ("{% import 'x' as y %}", "t:1: syntax error"),
            ("{{ secret('a/x').frob() }}", "t:1: "),
            ("{{ [secret('a/x')].canary.y }}", "t:1: "),
        ] {
            let fault = rendered(source, &[canary]).unwrap_err();
            assert!(fault.starts_with(told), "{source}: {fault}");
            assert!(!fault.contains("canary") && !fault.contains("hunter2"), "{source}: {fault}");
        }
    }

    #[test]
    fn what_would_go_on_for_ever_or_fill_a_disk_ends() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
        assert!(rendered(loops, &[]).unwrap_err().contains("fuel"), "{:?}", rendered(loops, &[]));
        let much = "{% for a in range(9999) %}{{ '0123456789abcdef' * 9999 }}{% endfor %}";
        assert!(rendered(much, &[]).is_err());
    }

    #[test]
    fn a_chain_of_operators_as_long_as_a_template_may_be_is_read() {
        let chain = format!("{{{{ 1{} }}}}", "+1".repeat(131_000));
        assert_eq!(rendered(&chain, &[]).as_deref(), Ok("131001"));
    }

    /// What this process has of it beneath this frame, told by the distance: read as a debugger would.
    #[inline(never)]
    fn beneath(text: &[u8]) -> Vec<usize> {
        let here = std::ptr::from_ref(&text).addr();
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let mut found = Vec::new();
        for page in 1..=200 {
            let mut held = vec![0; 4096 + 64];
            let at = (here & !4095) - page * 4096;
            if std::os::unix::fs::FileExt::read_exact_at(&memory, &mut held, at as u64).is_ok() {
                found.extend(
                    held.windows(text.len()).enumerate().filter(|(_, w)| *w == text).map(|(n, _)| here - at - n),
                );
            }
        }
        found
    }

    #[test]
    fn a_short_value_does_not_stay_on_the_stack() {
        // Made here, so that it stands nowhere else.
        let text = |n: u8| (0..16).map(|i| char::from(b'a' + (i * 7 + n) % 26)).collect::<String>();
        let source = "{% for i in range(2) %}{% for x in [secret('a/x'), 'b'] %}{{ x|url }}{% endfor %}{% endfor %}\
            {{ secret('a/x')|json }}{% set y = secret('a/x') ~ 'b' %}{{ y|upper|replace('A', 'b') }}";
        let page = Page::parse("t", source).unwrap();
        let value = text(3);
        let sealed = SecretValue::new(value.clone());
        let mut known = Known::default();
        assert!(known.learn("secret://a/x".parse().unwrap(), &sealed));
        assert_eq!(beneath(value.as_bytes()), [0; 0], "learnt");
        let on_the_stack = |render: fn(&Page, &Known) -> Result<Rendered, BadPage>| {
            page.apart(|| render(&page, &known).map(|_whole| beneath(value.as_bytes()))).unwrap()
        };
        assert!(!on_the_stack(Page::rendered).is_empty(), "else this test shows nothing");
        assert_eq!(on_the_stack(Page::scrubbed), [0; 0], "rendered");
    }
}
