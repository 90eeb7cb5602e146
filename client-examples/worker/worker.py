#!/usr/bin/env python3
"""A queue worker that reads its connection secret at each job: worker.py QUEUE_FOLDER REFERENCE.

The queue is a folder, so that this needs nothing but Python: a file in `new` is a job, taken by a rename into `work`, and a file
in `done` when it is finished. Put your broker's client in the place of it; what matters is `connected`:

- the secret is read at each job, so a rotated one is used by the next;
- a refused login means that the secret moved within its time to live: the vault is asked anew, once, and then the login is
  tried again;
- a job is not failed because the sidecar, the vault or the server cannot be asked for a moment: it is tried until it succeeds.
"""
import http.client, json, os, pathlib, signal, socket, sys, threading, urllib.request

ADDR = os.environ.get("SIDEKEY_ADDR", "/run/sidekey/sidekey.sock")
SERVER = os.environ.get("SERVER", "http://127.0.0.1:8080/")
stopping = threading.Event()


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(ADDR)


def secret(reference: str, anew: bool) -> str:
    vault, name = reference.split("/", 1)
    connection = UnixConnection("sidekey", timeout=20)
    try:
        connection.request("GET", f"/v1/vaults/{vault}/secrets/{name}", headers={"Cache-Control": "no-cache"} if anew else {})
        response = connection.getresponse()
        body = response.read().decode()
    finally:
        connection.close()
    if response.status != 200:
        raise ConnectionError(f"sidekey: {response.status} {json.loads(body)['detail']}")
    return body


def connected(reference: str, job: bytes) -> None:
    """One login with the secret of this moment, and the work of the job."""
    for anew in (False, True):
        request = urllib.request.Request(SERVER, data=job, headers={"Authorization": f"Bearer {secret(reference, anew)}"})
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                response.read()
            return
        except urllib.error.HTTPError as error:
            if error.code != 401 or anew:
                raise


def main(queue: pathlib.Path, reference: str) -> None:
    for folder in ("new", "work", "done"):
        (queue / folder).mkdir(parents=True, exist_ok=True)
    for left in (queue / "work").iterdir():  # of a worker that was ended
        left.rename(queue / "new" / left.name)
    while not stopping.is_set():
        jobs = sorted((queue / "new").iterdir())
        for job in jobs:
            work = job.rename(queue / "work" / job.name)
            pause = 0.2
            while not stopping.is_set():
                try:
                    connected(reference, work.read_bytes())
                    work.rename(queue / "done" / work.name)
                    break
                except (OSError, http.client.HTTPException) as error:
                    print(f"{work.name}: {error}; once more in {pause:.1f} s", file=sys.stderr, flush=True)
                    stopping.wait(pause)
                    pause = min(2 * pause, 10)
            if stopping.is_set():
                return
        stopping.wait(0 if jobs else 0.2)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    main(pathlib.Path(sys.argv[1]), sys.argv[2])
