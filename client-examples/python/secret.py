#!/usr/bin/env python3
"""Reads secrets from sidekey: secret.py VAULT/NAME|NAME…, or without arguments one for each line of stdin."""
import contextlib, http.client, os, socket, sys
from urllib.parse import quote

ADDR = os.environ.get("SIDEKEY_ADDR", "/run/sidekey/sidekey.sock")
TIMEOUT = float(os.environ.get("SIDEKEY_TIMEOUT", "20"))
EXIT_CODES = {400: 64, 401: 77, 403: 77, 404: 1, 409: 1, 410: 77, 502: 77}  # else 69: unavailable


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(ADDR)


def secret(reference: str) -> bytes:
    """The value as it is now. Call it at each use: that picks up a rotated one, and a held one costs no network."""
    path = "/v1/vaults/{}/secrets/{}" if "/" in reference else "/v1/secrets/{}"
    headers = {}
    if token_file := os.environ.get("SIDEKEY_TOKEN_FILE"):
        with open(token_file) as file:
            headers["Authorization"] = f"Bearer {file.read().strip()}"
    kind, host = (http.client.HTTPConnection, ADDR[7:]) if ADDR.startswith("http://") else (UnixConnection, "sidekey")
    with contextlib.closing(kind(host, timeout=TIMEOUT)) as connection:
        connection.request("GET", path.format(*map(quote, reference.split("/", 1))), headers=headers)
        response = connection.getresponse()
        body = response.read()
    if response.getheader("Content-Length") is None:
        raise http.client.IncompleteRead(body)  # cut off in its head, which reads like an end
    if response.status != 200:
        raise LookupError(response.status, body.decode())  # a problem in JSON; a 409's has "candidates" to choose from
    return body


if __name__ == "__main__":
    try:
        for line in sys.argv[1:] or sys.stdin:
            sys.stdout.buffer.write(secret(line.strip()))
            sys.stdout.flush()
    except LookupError as error:
        print("sidekey:", *error.args, file=sys.stderr)
        sys.exit(EXIT_CODES.get(error.args[0], 69))
    except (OSError, http.client.HTTPException) as error:
        print(f"sidekey: no answer from {ADDR}: {error}", file=sys.stderr)
        sys.exit(69)
