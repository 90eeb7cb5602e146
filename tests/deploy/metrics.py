"""Alerts and dashboard against the metrics of a running sidekey: `metrics.py SIDEKEY`.

A sidecar on the emulator is made to do what leads to metrics. What cannot be brought about from outside (a fault of its
own, say) is taken from the README's table, which a test holds against the code. Then every query's metrics, labels and
values of labels must be among them, and every metric must be on the dashboard.

`metrics.py --as-rules DASHBOARD` prints the dashboard's queries as a rules file, for promtool.
"""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
OF_PROMETHEUS = {"job", "instance", "alertname"}


def dashboard_queries(path):
    panels = json.loads(pathlib.Path(path).read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]


def filled_in(expr):
    return expr.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")


if sys.argv[1] == "--as-rules":
    rules = [{"record": f"q:{n}", "expr": filled_in(e)} for n, (_, e) in enumerate(dashboard_queries(sys.argv[2]))]
    print(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    sys.exit()


def until(what, found, log=None):
    """What `found` gives once it gives something. Two minutes are long."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if result := found():
            return result
        if log and "fault in the configuration" in pathlib.Path(log).read_text():
            break
        time.sleep(0.05)
    sys.exit(f"in vain: {what}\n{log and pathlib.Path(log).read_text()}")


def scrape(sidekey):
    """The samples of a sidecar that has had some life."""
    with tempfile.TemporaryDirectory() as folder:
        env = {"PATH": os.environ["PATH"], "HOME": folder, "XDG_RUNTIME_DIR": folder, "NO_COLOR": "1"}
        pathlib.Path(folder, "keys").mkdir(mode=0o700)
        log = open(f"{folder}/demo", "w+b")
        demo = subprocess.Popen([sidekey, "demo"], stdout=log, stderr=log, env=env)
        sidecar = None
        try:
            told = until("demo", lambda: re.search(r"--config (\S+)\n(.*\n)*ready", pathlib.Path(log.name).read_text()))
            theirs = pathlib.Path(told[1])
            source = theirs.read_text().partition("[[source]]")[2]
            for file in ("client-secret", "ca.pem"):
                source = source.replace(f'"{file}"', f'"{theirs.parent}/{file}"')
            config = pathlib.Path(folder, "sidekey.toml")
            config.write_text(
                f"""
                [listen]
                socket = "off"
                tcp = "127.0.0.1:0"
                token_file = "{folder}/token"
                [cache]
                prefetch = ["secret://pay-prod/db-*", "secret://pay-prod/missing"]
                snapshot = {{ file = "{folder}/snapshot", key_file = "{folder}/keys/snapshot" }}
                [audit]
                file = "{folder}/audit.log"
                [limits]
                reads_per_second = 50
                burst = 4
                [log]
                json = true
                [[source]]
                {source}
                """
            )
            out = open(f"{folder}/log", "w+b")
            sidecar = subprocess.Popen([sidekey, "serve", "--config", str(config)], stdout=out, stderr=out, env=env)
            address = until(
                "serve", lambda: re.search(r'"address":"(127\.0\.0\.1:\d+)', pathlib.Path(out.name).read_text()), out.name
            )[1]
            token = pathlib.Path(folder, "token").read_text().strip()

            def ask(path, token=token, stream=False):
                request = urllib.request.Request(f"http://{address}{path}", headers={"Authorization": f"Bearer {token}"})
                try:
                    answer = urllib.request.urlopen(request, timeout=30)
                    return answer if stream else (answer.status, answer.read().decode())
                except urllib.error.HTTPError as error:
                    return error.code, error.read().decode()

            until("vaults", lambda: '"failed":' in ask("/readyz?verbose")[1])
            until("listings", lambda: json.loads(ask("/readyz?verbose")[1])["listed"] >= 7)
            stream = ask("/v1/watch", stream=True)
            for path in [
                "/v1/vaults/web-prod/secrets/" + n for n in ("a", "b", "c", "d", "e", "f", "g", "h")
            ] + ["/v1/vaults/reports-dev/secrets/x", "/v1/vaults/pay-prod/secrets/db-password", "/v1/search?q=redis"]:
                ask(path)
            ask("/v1/vaults", token="wrong")
            sidecar.send_signal(signal.SIGHUP)
            until("reload", lambda: "sidekey_reloads_total{" in ask("/metrics")[1])
            until("snapshot", lambda: "sidekey_snapshots_total{operation=\"write\"" in ask("/metrics")[1])
            text = ask("/metrics")[1]
            stream.close()
        finally:
            for process in filter(None, (sidecar, demo)):
                process.terminate()
                process.wait()
    seen = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels = re.match(r"(\w+)(?:\{(.*?)\})? ", line).groups()
            of = seen.setdefault(name, {})
            for label, value in re.findall(r'(\w+)="(.*?)"', labels or ""):
                of.setdefault(label, set()).add(value)
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.M))
    return seen, types


def of_readme():
    """Metrics, labels and words of the README's tables, for what was not seen."""
    readme = (ROOT / "README.md").read_text()
    problems = re.findall(r"^\| (?:\d.*?)?\| (.*?)\|", readme, re.M)
    known, words = {}, set(re.findall(r"`([\w-]+)`", " ".join(problems)))
    for row in re.findall(r"^\| `sidekey_.*$", readme, re.M):
        cells = row.split("|")
        if len(cells) < 5:
            continue
        labels = {label.strip() for label in re.split("[,;]", cells[2]) if label.strip()}
        for name in re.findall(r"`(sidekey_\w+)`", cells[1]):
            known[name] = labels
        words |= set(re.findall(r"`([\w-]+)`", row))
    return known, words


def faults_of(place, expr, metrics, values, words):
    """`metrics`: labels by the name that a query uses."""
    expr = filled_in(expr)
    used = set(re.findall(r"\bsidekey_\w+", expr))
    for name in sorted(used - set(metrics)):
        yield f"{place}: {name}: sidekey exports no such metric"
    allowed = set().union(OF_PROMETHEUS, *(metrics.get(name, set()) for name in used))
    for name, selector in re.findall(r"\b(sidekey_\w+)\{(.*?)\}", expr):
        for label, operator, text in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"(.*?)"', selector):
            if label in OF_PROMETHEUS:
                continue
            if label not in metrics.get(name, {label}):
                yield f"{place}: {name} has no label {label}"
            for value in text.split("|") if operator in ("=~", "!~") else [text]:
                if value not in values.get(name, {}).get(label, set()) | words | {"ok"}:
                    yield f"{place}: {name}: nobody has heard of {label}={value}"
    for labels in re.findall(r"\b(?:by|on|without|ignoring)\s*\((.*?)\)", expr):
        for label in filter(None, map(str.strip, labels.split(","))):
            if label not in allowed:
                yield f"{place}: no metric there has the label {label}"


seen, types = scrape(sys.argv[1])
known, words = of_readme()
metrics, unseen = {name: set(labels) for name, labels in seen.items()}, []
for name, labels in known.items():
    if types.get(name) is None:
        unseen.append(name)
        # It is a counter: a number that goes up and down is told from the start.
        metrics.setdefault(f"{name}_total", labels)

alerts = yaml.safe_load((ROOT / "deploy/prometheus/sidekey.rules.yaml").read_text())
faults, shown = [], set()
for group in alerts["groups"]:
    for rule in group["rules"]:
        faults += faults_of(rule["alert"], rule["expr"], metrics, seen, words)
        for label in re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"])):
            used = re.findall(r"\bsidekey_\w+", rule["expr"])
            if label not in OF_PROMETHEUS.union(*(metrics.get(name, set()) for name in used)):
                faults.append(f"{rule['alert']}: its text names the label {label}, which it has not")
for title, expr in dashboard_queries(ROOT / "deploy/grafana/sidekey.json"):
    faults += faults_of(title, expr, metrics, seen, words)
    shown |= set(re.findall(r"\bsidekey_\w+", expr))
faults += [f"{name} is not on the dashboard" for name in sorted(set(metrics) - shown)]
print(f"{len(seen)} metrics seen, {len(unseen)} by the README's table alone: {', '.join(sorted(unseen))}")
print("\n".join(faults))
sys.exit(bool(faults))
