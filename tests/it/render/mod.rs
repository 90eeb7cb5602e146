//! `sidekey render`, as a person or a service meets it.

mod ending;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use crate::cli::process::{Azure, Run, Staying, Told, command, finish, mode};

const VALUE: &str = "Autumn-2026-staple";
const OTHER: &str = "r3d1s-pay-9f2c";

struct House {
    azure: Azure,
}

impl House {
    fn new() -> Self {
        Self { azure: Azure::demo() }
    }

    /// A file's path.
    fn at(&self, name: &str) -> String {
        self.azure.path(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.azure.path(name), text).unwrap();
        self.at(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.azure.path(name)).unwrap()
    }

    fn render(&self, args: &[&str]) -> Run {
        let config = self.azure.config();
        finish(command(["render", "--direct", "--config", &config].iter().chain(args)).env("DB_HOST", "db.internal"))
    }

    /// What is in the folder beside the configuration's own.
    fn left(&self) -> Vec<String> {
        let all = fs::read_dir(self.azure.path("")).unwrap();
        let mut all: Vec<_> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        all.retain(|name| name.starts_with('.') || name.ends_with(".out"));
        all.sort();
        all
    }
}

#[test]
fn a_template_becomes_a_file_with_its_mode_and_its_owner() {
    let house = House::new();
    let template = house.write(
        "t.j2",
        "# {{ env('DB_HOST') }}\nurl = \"pg://app:{{ secret('pay-prod/db-password')|url }}@h\"\n{% for n in ['db-password'] %}{{ secret('pay-prod/' ~ n) }}\n{% endfor %}",
    );
    let out = house.at("a.out");
    let run = house.render(&["--template", &template, "--out", &out, "--mode", "0400"]);
    assert_eq!((run.code, run.text(), run.err.as_str()), (0, "", ""));
    assert_eq!(house.read("a.out"), format!("# db.internal\nurl = \"pg://app:{VALUE}@h\"\n{VALUE}\n"));
    assert_eq!((mode(&house.azure.path("a.out")), house.left()), (0o400, vec!["a.out".to_owned()]));
    if rustix::process::geteuid().is_root() {
        let run = house.render(&["-t", &template, "-o", &out, "--owner", "1001:1002"]);
        let found = fs::metadata(house.azure.path("a.out")).unwrap();
        assert_eq!((run.code, found.uid(), found.gid(), found.mode() & 0o777), (0, 1001, 1002, 0o600), "{}", run.err);
    }
}

#[test]
fn whatever_fails_is_told_at_once_and_the_old_files_stay() {
    let house = House::new();
    let (good, out) = (house.write("good.j2", "{{ secret('pay-prod/db-password') }}"), house.write("a.out", "old"));
    let other = house.at("b.out");
    for (text, code, told) in [
        ("{{ secret('pay-prod/nothing-1') }}{{ secret('pay-prod/nothing-2') }}", 1, vec!["nothing-1", "nothing-2"]),
        ("{{ secret('pay-prod/db-password')|base64d }}", 64, vec!["bad.j2:1: the value for |base64d is not base64"]),
        ("\n{{ frob }}", 64, vec!["bad.j2:2: undefined value"]),
        ("{{ secret('hunter2:/') }}", 64, vec!["bad.j2:1: the reference"]),
        ("{% if %}", 64, vec!["bad.j2:1: syntax error"]),
        ("{{ env('AZURE_CLIENT_SECRET') }}", 64, vec!["bad.j2:1: env: that variable is not set"]),
        ("{% include '/etc/passwd' %}", 64, vec!["bad.j2:1: "]),
        ("{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}", 64, vec!["fuel"]),
    ] {
        let bad = house.write("bad.j2", text);
        let run = house.render(&["-t", &good, "-o", &out, "-t", &bad, "-o", &other]);
        assert_eq!(run.code, code, "{text}: {}", run.err);
        assert!(
            run.err.contains("nothing was replaced") && told.iter().all(|told| run.err.contains(told)),
            "{}",
            run.err
        );
        assert!(!run.err.contains(VALUE) && !run.err.contains("hunter2"), "{}", run.err);
        assert_eq!((house.read("a.out"), house.left()), ("old".to_owned(), vec!["a.out".to_owned()]));
    }
    // The second cannot be written; the first is not, either.
    let run = house.render(&["-t", &good, "-o", &out, "-t", &good, "-o", &house.at("nowhere/b.out")]);
    assert_eq!((run.code, house.read("a.out")), (74, "old".to_owned()), "{}", run.err);
    for wrong in [
        vec!["-t", &good],
        vec!["-t", &good, "-o", &out, "-o", &other],
        vec!["-t", &good, "-o", "x/y", "--dir", &other],
        vec!["-t", &good, "-o", "nowhere/x", "-t", &good, "-o", "./nowhere/x"],
    ] {
        assert_eq!(house.render(&wrong).code, 64, "{wrong:?}");
    }
}

#[test]
fn a_value_may_decide_what_else_is_wanted_and_is_never_a_name() {
    let house = House::new();
    house.azure.set("pay-prod", "which", "two");
    let text = "{% if secret('pay-prod/which') == 'two' %}{{ secret('pay-prod/db-password') }}{% endif %}";
    let (template, out) = (house.write("t.j2", text), house.at("a.out"));
    let run = house.render(&["-t", &template, "-o", &out]);
    assert_eq!((run.code, house.read("a.out").as_str()), (0, VALUE), "{}", run.err);
    let template = house.write("t.j2", "{{ secret('pay-prod/db-password') }}{{ secret(secret('pay-prod/which')) }}");
    let run = house.render(&["-t", &template, "-o", &out]);
    assert_eq!(run.code, 64, "{}", run.err);
    assert!(run.err.contains("must not be made of a value") && !run.err.contains("two"), "{}", run.err);
}

#[test]
fn on_change_runs_once_where_something_changed_and_gets_no_value() {
    let house = House::new();
    let (one, two) = (house.write("1.j2", "{{ secret('pay-prod/db-password') }}"), house.write("2.j2", "plain"));
    let seen = house.at("seen");
    let (a, b) = (house.at("a.out"), house.at("b.out"));
    let hook = format!("(tr '\\0' '\\n' </proc/$$/environ; tr '\\0' ' ' </proc/$$/cmdline; echo) >>{seen}");
    let args = ["-t", &one, "-o", &a, "-t", &two, "-o", &b, "--on-change", &hook];
    let config = house.azure.config();
    let render = || {
        let mut run = command(["render", "--direct", "--config", &config].iter().chain(&args));
        finish(run.env("SIDEKEY_CACHE_TTL", "5m").env("MINE", "1"))
    };
    assert_eq!(render().code, 0);
    let told = house.read("seen");
    assert_eq!(told.matches("/bin/sh").count(), 1, "{told}");
    assert!(told.contains("MINE=1") && !told.contains(VALUE) && !told.contains("SIDEKEY_"), "{told}");
    assert_eq!(render().code, 0);
    assert_eq!(house.read("seen"), told, "nothing changed");
    let run = house.render(&["-t", &one, "-o", &a, "--mode", "0640", "--on-change", "exit 3"]);
    assert_eq!(run.code, 74, "{}", run.err);
    assert!(run.err.contains("the files are replaced, but --on-change failed: exit status: 3"), "{}", run.err);
    assert_eq!(mode(&house.azure.path("a.out")), 0o640);
}

#[test]
fn nothing_but_its_own_is_removed_from_a_folder_and_one_of_others_is_refused() {
    let house = House::new();
    let (template, dir) = (house.write("t.j2", "{{ secret('pay-prod/db-password') }}"), house.at("conf"));
    fs::create_dir_all(house.azure.path("conf/..others")).unwrap();
    house.write("conf/..others/x", "others");
    house.write("beside", "beside");
    let render = || house.render(&["-t", &template, "-o", "a", "--dir", &dir]);
    for to in ["..", "..others", "."] {
        let _ = fs::remove_file(house.azure.path("conf/..data"));
        std::os::unix::fs::symlink(to, house.azure.path("conf/..data")).unwrap();
        let run = render();
        assert_eq!((run.code, house.read("conf/a").as_str()), (0, VALUE), "{to}: {}", run.err);
        assert_eq!((house.read("beside"), house.read("conf/..others/x")), ("beside".into(), "others".into()), "{to}");
    }
    let before = fs::read_link(house.azure.path("conf/..data")).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let run = render();
    assert_eq!(run.code, 74, "{}", run.err);
    assert!(run.err.contains("nothing was replaced") && run.err.contains("others may write to it"), "{}", run.err);
    assert_eq!(fs::read_link(house.azure.path("conf/..data")).unwrap(), before);
}

#[test]
fn a_template_without_end_is_told() {
    let house = House::new();
    let run = house.render(&["-t", "/dev/zero", "-o", &house.at("a.out")]);
    assert_eq!(run.code, 64, "{}", run.err);
    assert!(run.err.contains("/dev/zero: it has more than 262144 bytes"), "{}", run.err);
}

#[test]
fn while_it_watches_a_set_changes_whole_with_one_command_for_several_changes() {
    let house = House::new();
    house.azure.only("pay-prod", "[cache]\nlisting_interval = \"1s\"\n");
    // As old as a secret mostly is: of two values of one second the vault's listing tells one time.
    let (_serving, _) = house.azure.serve("");
    let (user, key) = (
        house.write("u.j2", "{{ secret('pay-prod/db-password') }}"),
        house.write("k.j2", "{{ secret('pay-prod/redis-password') }}"),
    );
    let (dir, socket) = (house.at("conf"), house.azure.socket());
    let hook = format!("cat {dir}/user {dir}/key; echo");
    let mut command = command([
        "render",
        "--addr",
        &socket,
        "-t",
        &user,
        "-o",
        "user",
        "-t",
        &key,
        "-o",
        "key",
        "--dir",
        &dir,
        "--watch",
        "--on-change",
        &hook,
    ]);
    command.stderr(Stdio::piped());
    let mut watching = Staying::start(command);
    let told = Told::of(watching.stderr());
    assert_eq!(watching.read_until(VALUE), format!("{VALUE}{OTHER}\n"));
    let before = fs::read_link(house.azure.path("conf/..data")).unwrap();
    house.azure.set("pay-prod", "db-password", "user-2");
    house.azure.set("pay-prod", "redis-password", "key-2");
    let shown = watching.read_until("user-2key-2");
    // The two may have been met by two listings; no more than that, and never another pair by half.
    assert!(
        shown.lines().all(|line| [format!("user-2{OTHER}"), format!("{VALUE}key-2"), "user-2key-2".to_owned()]
            .contains(&line.to_owned())),
        "{shown}"
    );
    told.until("the files are replaced");
    assert_ne!(fs::read_link(house.azure.path("conf/..data")).unwrap(), before);
    // One that is not there any more: what is there stays, and it is told.
    house
        .azure
        .emulator
        .control()
        .change(sidekey::emulator::Change::Disable { vault: "pay-prod".into(), secret: "redis-password".into() })
        .unwrap();
    let why = told.until("is disabled");
    assert!(why.contains("the files stay as they are"), "{why}");
    assert_eq!(house.read("conf/key"), "key-2");
}

#[test]
fn while_it_watches_what_a_value_decides_is_watched_too() {
    let house = House::new();
    house.azure.only("pay-prod", "[cache]\nlisting_interval = \"1s\"\n");
    let (_serving, _) = house.azure.serve("");
    let text = "{% if secret('pay-prod/db-password') == 'two' %}{{ secret('pay-prod/redis-password') }}{% else %}none{% endif %}";
    let (template, out, socket) = (house.write("t.j2", text), house.at("a.out"), house.azure.socket());
    let hook = format!("cat {out}; echo");
    let args = ["render", "--addr", &socket, "-t", &template, "-o", &out, "--watch", "--on-change", &hook];
    let mut watching = Staying::start(command(args));
    watching.read_until("none");
    house.azure.set("pay-prod", "db-password", "two");
    watching.read_until(OTHER);
    house.azure.set("pay-prod", "redis-password", "extra-2");
    watching.read_until("extra-2");
}
