"""Runs each program that `run.sh` built against a demo and against servers that misbehave, and compares."""

import concurrent.futures
import contextlib
import http.client
import itertools
import json
import os
import pathlib
import re
import secrets
import socket
import ssl
import subprocess
import sys
import threading
import time

VALUES = {
    "plain": "hunter2",
    "lines": "first\nsecond\r\n\nlast\n",
    "ending": "ends with newlines\n\n\n",
    "unicode": "Grüße, 世界 🔑 \u00a0 \u2028 \ufeff",
    "quotes": "'\"`$HOME $(id) \\ %s %00 <&> ; | *",
    "spaces": "  \t both sides \t ",
    "long": ("0123456789abcdef\n" * 1500)[:25_000],
    "one": "x",
}
VAULT = "pay-prod"


class Demo:
    """`sidekey demo`, and the means to change its Azure."""

    def __init__(self, binary: str, work: pathlib.Path):
        self.binary, self.socket = binary, str(work / "sockets" / "sidekey.sock")
        os.mkdir(work / "sockets", 0o700)
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("SIDEKEY_", "AZURE_"))}
        self.process = subprocess.Popen(
            [binary, "demo", "--socket", self.socket], stdout=subprocess.PIPE, text=True, env=environment
        )
        greeting = ""
        for line in self.process.stdout:
            greeting += line
            if line.strip() == "ready":
                break
        self.token_file, self.tcp = re.search(r"\$\(cat (\S+)\)\" (http://127\.0\.0\.1:\d+)/", greeting).groups()
        folder = pathlib.Path(self.token_file).parent
        self.config = folder / "sidekey.toml"
        self.emulator = int(re.search(r'azure\.net" = "127\.0\.0\.1:(\d+)"', self.config.read_text()).group(1))
        self.trust = ssl.create_default_context(cafile=folder / "ca.pem")
        self.trust.check_hostname = False  # It is asked by address.

    def change(self, **change):
        connection = http.client.HTTPSConnection("127.0.0.1", self.emulator, context=self.trust, timeout=10)
        with contextlib.closing(connection):
            connection.request("POST", "/_emulator/changes", json.dumps(change))
            response = connection.getresponse()
            assert response.status < 300, response.read()

    def set(self, name: str, value: str):
        self.change(set={"vault": VAULT, "secret": name, "value": value})

    def read_anew(self, name: str) -> bytes:
        """What the vault has now; the sidecar holds it from here on."""
        command = [self.binary, "get", f"{VAULT}/{name}", "--no-cache", "--addr", self.socket]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=30).stdout

    def end(self):
        self.process.terminate()
        self.process.wait(10)


class Strict:
    """A second sidecar on the demo's Azure: with grants, to the secrets of these tests alone."""

    def __init__(self, demo: Demo, work: pathlib.Path):
        self.socket, self.token_file = str(work / "sockets" / "strict.sock"), str(work / "strict-token")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.tcp = f"http://127.0.0.1:{port}"
        _, source = demo.config.read_text().split("[[source]]")
        for name in ("client-secret", "ca.pem"):
            source = source.replace(f'"{name}"', f'"{demo.config.parent / name}"')
        grants = f'read = ["{VAULT}/clients-*"]\nlist = ["{VAULT}/clients-*"]\n'
        config = work / "strict.toml"
        config.write_text(f"""
[listen]
socket = "{self.socket}"
tcp = "127.0.0.1:{port}"
[[client]]
name = "by-user"
uid = {os.getuid()}
{grants}
[[client]]
name = "by-token"
token_file = "{self.token_file}"
{grants}
[[source]]{source}""")
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("SIDEKEY_", "AZURE_"))}
        self.log = open(work / "strict.log", "wb")
        self.process = subprocess.Popen([demo.binary, "serve", "--config", config], stderr=self.log, env=environment)
        try:
            subprocess.run([demo.binary, "wait", "--timeout", "60s", "--addr", self.socket], check=True, env=environment,
                           stdout=subprocess.DEVNULL)
        except BaseException:
            self.end()
            raise

    def end(self):
        self.process.terminate()
        self.process.wait(10)
        self.log.close()


@contextlib.contextmanager
def server(path: str, answer: bytes | None):
    """A server on a unix socket that gives everybody this answer, or none ever."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    held = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            held.append(connection)
            if answer is not None:
                asked = b""
                while not asked.endswith(b"\r\n\r\n") and (more := connection.recv(65536)):
                    asked += more
                connection.sendall(answer)
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield path
    finally:
        listener.close()
        os.unlink(path)


def problem(status: str, code: str) -> bytes:
    body = json.dumps({"status": int(status[:3]), "code": code, "detail": "told by a test"}).encode()
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Program:
    """One example, and what is wrong with it."""

    def __init__(self, name: str, command: list[str], demo: Demo, strict: Strict, work: pathlib.Path):
        self.name, self.command, self.demo, self.strict, self.work = name, command, demo, strict, work
        self.faults, self.checks = [], 0

    def environment(self, addr: str, token_file: str | None, timeout: str = "20") -> dict:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("SIDEKEY_", "AZURE_"))}
        # A proxy is for the way out, and the sidecar is not there.
        kept |= {"SIDEKEY_ADDR": addr, "SIDEKEY_TIMEOUT": timeout, "http_proxy": "http://127.0.0.1:9"}
        return kept | ({"SIDEKEY_TOKEN_FILE": token_file} if token_file else {})

    def expect(self, what: str, right: bool, got):
        self.checks += 1
        if not right:
            self.faults.append(f"{self.name}: {what}: got {str(got)[:500]}")

    def run(self, what: str, references: list[str], environment: dict, code: int, out=b"", told: list[str] = []):
        try:
            ran = subprocess.run(self.command + references, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                                 timeout=30)
        except subprocess.TimeoutExpired:
            return self.expect(what, False, "nothing for 30 s")
        self.expect(f"{what}: the exit code is {code}", ran.returncode == code, (ran.returncode, ran.stderr))
        self.expect(f"{what}: stdout is the value and nothing else", ran.stdout == out, (ran.stdout[:200], ran.stderr))
        error = ran.stderr.decode()
        self.expect(f"{what}: stderr tells {told}", all(word in error for word in told), error)
        self.expect(f"{what}: stderr has a few lines", (error.count("\n") <= 3) and bool(error) == (code != 0), error)

    def door(self, door: str, addr: str, token_file: str | None):
        """What holds over the socket and over TCP alike."""
        environment = self.environment(addr, token_file)
        for name, value in VALUES.items():
            self.run(f"{door}, {name}", [f"{VAULT}/clients-{name}"], environment, 0, value.encode())
        both = (VALUES["lines"] + VALUES["one"]).encode()
        self.run(f"{door}, two", [f"{VAULT}/clients-lines", f"{VAULT}/clients-one"], environment, 0, both)
        self.run(f"{door}, a name alone", ["paypal-credentials"], environment, 0, self.demo.paypal)
        refusals = [
            (f"{VAULT}/no-such-secret", 1, ["secret-not-found"]),
            ("no-such-vault/db-password", 1, ["vault-not-found"]),
            ("redis-password", 1, ["ambiguous", "secret://pay-prod/redis-password", "secret://orders-prod/redis-password"]),
            ("no-such-secret-anywhere", 69, ["incomplete"]),
            (f"{VAULT}/clients-disabled", 77, ["secret-disabled"]),
            ("data-shared/redis-password", 77, ["vault-denied"]),
            (f"{VAULT}/under_score", 64, []),
            (f"{VAULT}/a blank?x=y#z", 64, []),
            (f"{VAULT}/two\r\nlines: x", 64, []),
        ]
        for reference, code, told in refusals:
            self.run(f"{door}, {reference!r}", [reference], environment, code, told=told)
        self.run(f"{door}, a good one before a bad one", [f"{VAULT}/clients-one", f"{VAULT}/no-such-secret"], environment, 1,
                 VALUES["one"].encode())
        self.rotation(door, environment)

    def rotation(self, door: str, environment: dict):
        """One process reads, the secret is rotated, and it reads again."""
        name = f"clients-{self.name}-{door}"
        process = subprocess.Popen(self.command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        try:
            for value in ("before\nit", "and after it was rotated", secrets.token_hex(3000)):
                self.demo.set(name, value)
                self.demo.read_anew(name)
                process.stdin.write(f"{VAULT}/{name}\n".encode())
                process.stdin.flush()
                read = b""
                while len(read) < len(value) and (more := process.stdout.read1()):
                    read += more
                self.expect(f"{door}, the value of the moment", read == value.encode(), (read[:80], value[:80]))
            process.stdin.close()
            self.expect(f"{door}, the end of stdin is the end", process.wait(20) == 0, process.returncode)
        except BrokenPipeError as error:
            self.expect(f"{door}, a reference for each line of stdin", False, error)
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()

    def grants(self, door: str, addr: str, token_file: str | None):
        """What its grant covers it reads; of what it does not cover it is told nothing, not even whether it is there."""
        environment = self.environment(addr, token_file)
        self.run(f"{door}, granted", [f"{VAULT}/clients-quotes"], environment, 0, VALUES["quotes"].encode())
        for reference in (f"{VAULT}/db-password", f"{VAULT}/no-such-secret", "no-such-vault/clients-one"):
            self.run(f"{door}, not granted, {reference}", [reference], environment, 77, told=["403", "forbidden"])
        self.run(f"{door}, a granted one before it", [f"{VAULT}/clients-one", f"{VAULT}/db-password"], environment, 77,
                 VALUES["one"].encode(), ["403", "forbidden"])

    def check(self):
        self.grants("socket", self.strict.socket, None)
        self.grants("tcp", self.strict.tcp, self.strict.token_file)
        self.door("socket", self.demo.socket, None)
        self.door("tcp", self.demo.tcp, self.demo.token_file)
        reference = [f"{VAULT}/clients-plain"]
        wrong = self.work / f"{self.name}-wrong-token"
        wrong.write_text("0" * 43)
        self.run("no token", reference, self.environment(self.demo.tcp, None), 77, told=["unauthenticated"])
        self.run("a wrong token", reference, self.environment(self.demo.tcp, str(wrong)), 77, told=["unauthenticated"])

        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # Bound and not listening: nobody else can have the port.
            away = f"http://127.0.0.1:{unused.getsockname()[1]}"
            self.run("no sidecar, tcp", reference, self.environment(away, self.demo.token_file), 69, told=[away])
        gone = str(self.work / "gone.sock")
        self.run("no sidecar, socket", reference, self.environment(gone, None), 69, told=[gone])

        path = str(self.work / f"{self.name}.sock")
        with server(path, None):
            self.run("a server that hangs", reference, self.environment(path, None, timeout="1"), 69, told=[path])
        answers = {
            "an answer cut off": (b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nhalf of", 69),
            "an answer cut off in its status line": (b"HTTP/1", 69),
            "an answer cut off in its head": (b"HTTP/1.1 200 OK\r\ncontent-type: te", 69),
            "an answer cut off between two headers": (b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n", 69),
            "no answer": (b"", 69),
            "throttled": (problem("503 Service Unavailable", "vault-throttled"), 69),
            "timed out": (problem("504 Gateway Timeout", "vault-timeout"), 69),
        }
        for what, (answer, code) in answers.items():
            with server(path, answer):
                partial = {"sh": b"half of"}.get(self.name, b"") if what == "an answer cut off" else b""
                self.run(what, reference, self.environment(path, None), code, out=partial)
        return self


def main():
    binary, work = sys.argv[1], pathlib.Path(sys.argv[2])
    groups = itertools.groupby(sys.argv[3:], lambda word: word == "--")
    named = [list(words) for separator, words in groups if not separator]
    demo = Demo(binary, work)
    strict = None
    started = time.monotonic()
    try:
        for name, value in VALUES.items():
            demo.set(f"clients-{name}", value)
        demo.set("clients-disabled", "never told")
        demo.change(disable={"vault": VAULT, "secret": "clients-disabled"})
        demo.paypal = demo.read_anew("paypal-credentials")
        strict = Strict(demo, work)
        programs = [Program(name, command.split(), demo, strict, work) for name, command in named]
        with concurrent.futures.ThreadPoolExecutor(max_workers=3) as pool:
            for program in pool.map(Program.check, programs):
                print(f"{program.name}: {program.checks} checks, {len(program.faults)} failed", flush=True)
                for fault in program.faults:
                    print(f"  {fault}", flush=True)
    finally:
        if strict:
            strict.end()
        demo.end()
    faults = sum(len(program.faults) for program in programs)
    print(f"{len(programs)} examples, {sum(p.checks for p in programs)} checks, {faults} failed, {time.monotonic() - started:.0f} s")
    sys.exit(1 if faults or not programs else 0)


if __name__ == "__main__":
    main()
