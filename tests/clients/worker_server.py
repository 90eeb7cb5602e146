"""What the worker logs in to: worker_server.py PORT_FILE TOKENS_FILE RECORD. Lets in whoever has a line of TOKENS_FILE, which
is read at each request, and records each job that it was given, and each refusal."""

import http.server
import pathlib
import sys


class Server(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        job = self.rfile.read(int(self.headers["Content-Length"])).decode()
        tokens = pathlib.Path(sys.argv[2]).read_text().split()
        good = self.headers.get("Authorization", "").removeprefix("Bearer ") in tokens
        with open(sys.argv[3], "a") as record:
            record.write(f"{'done' if good else 'refused'} {job}\n")
        self.send_response(200 if good else 401)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
pathlib.Path(sys.argv[1]).write_text(str(server.server_port))
server.serve_forever()
