"""A folder over HTTP on loopback for whoever has the password in a file, which is read at each request:
private_www.py FOLDER PORT_FILE PASSWORD_FILE."""

import base64
import functools
import http.server
import pathlib
import sys


class Private(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        wanted = base64.b64encode(pathlib.Path(sys.argv[3]).read_bytes()).decode()
        if self.headers.get("Authorization") != f"Basic {wanted}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        super().do_GET()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Private, directory=sys.argv[1]))
pathlib.Path(sys.argv[2]).write_text(str(server.server_port))
server.serve_forever()
