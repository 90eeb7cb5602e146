"""What Azure is to an instance of a scale set, but for what the emulator is: azure_edge.py EMULATOR_PORT NAME KEY FOLDER

The metadata service on 169.254.169.254 with the scheduled events, which passes questions for a token on to the emulator; and a load
balancer that asks /healthz, and sends orders as long as the last two answers were good. Every order must be answered, and signed
under KEY. FOLDER gets `token`, the last one that was given, and `served` with the first order. `terminate` in it makes Azure tell of the end;
`approved` is there when the instance agreed to it, and `summary` tells of the orders when it is out of the load balancer.
"""

import hashlib
import hmac
import http.client
import http.server
import json
import pathlib
import sys
import threading
import time
import urllib.parse

emulator, name, key, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode(), pathlib.Path(sys.argv[4])
EVENT = "602d9444-d2cd-49c7-8624-8643e7171297"
OTHERS = "f020ba2e-3bc0-4c40-a10b-86575a9eabd5"
PROBE_SECONDS, PROBES = 0.3, 2


def event(number: str, kind: str, resource: str) -> dict:
    return {"EventId": number, "EventStatus": "Scheduled", "EventType": kind, "ResourceType": "VirtualMachine",
            "Resources": [resource], "NotBefore": "Sat, 21 Nov 2026 18:29:47 GMT", "Description": "", "EventSource": "Platform",
            "DurationInSeconds": -1}


class Metadata(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.handle_any(None)

    def do_POST(self):
        self.handle_any(self.rfile.read(int(self.headers["content-length"])))

    def handle_any(self, body: bytes | None):
        url = urllib.parse.urlsplit(self.path)
        if self.headers["metadata"] != "true" or "api-version" not in urllib.parse.parse_qs(url.query):
            return self.answer(400, b"Bad request")
        if url.path == "/metadata/identity/oauth2/token":
            asked = http.client.HTTPConnection("127.0.0.1", emulator, timeout=10)
            asked.request("GET", self.path, headers={"Metadata": "true"})
            answered = asked.getresponse()
            told = answered.read()
            (folder / "token").write_text(json.loads(told)["access_token"])
            return self.answer(answered.status, told)
        if url.path == "/metadata/instance/compute/name" and body is None:
            return self.answer(200, name.encode())
        if url.path != "/metadata/scheduledevents":
            return self.answer(404, b"Not found")
        if body is None:
            # Another instance's end, and a reboot of this one, are no reason to go.
            events = [event(OTHERS, "Terminate", name + "0"), event(OTHERS, "Reboot", name)]
            if (folder / "terminate").exists():
                events.append(event(EVENT, "Terminate", name))
            return self.answer(200, json.dumps({"DocumentIncarnation": 1, "Events": events}).encode())
        (folder / "approved.new").write_bytes(body)
        (folder / "approved.new").rename(folder / "approved")
        return self.answer(200, b"")

    def answer(self, status: int, body: bytes):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def ask(path: str):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except OSError:
        return None, b""
    finally:
        connection.close()


def balance():
    """Sends orders while the instance is in service, which is not more than once, and tells how it went."""
    good, bad, orders, failed, signed = 0, 0, 0, 0, set()
    probed, in_service = 0.0, False
    while True:
        if time.monotonic() - probed > PROBE_SECONDS:
            probed = time.monotonic()
            good, bad = (good + 1, 0) if ask("/healthz")[0] == 200 else (0, bad + 1)
        if not in_service and good < PROBES:
            time.sleep(0.05)
            continue
        in_service = True
        if bad >= PROBES:
            break
        orders += 1
        status, body = ask(f"/order/{orders}")
        expected = hmac.new(key, f"/order/{orders}".encode(), hashlib.sha256).hexdigest().encode()
        if (status, body) != (200, expected):
            failed += 1
        (folder / "served").touch()
    (folder / "summary.new").write_text(f"{orders} {failed}\n")
    (folder / "summary.new").rename(folder / "summary")


threading.Thread(target=balance, daemon=True).start()
http.server.ThreadingHTTPServer(("169.254.169.254", 80), Metadata).serve_forever()
