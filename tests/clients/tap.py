"""A tap: passes HTTP through unchanged and writes down what passed, as hashes.

    tap.py UPSTREAM_URL LOG_FILE [facts|bodies]

Prints the port it listens on. One JSON line a request: method, path, sha256 of the request body, the names and values of
the headers that must survive, in which headers a credential came, status, sha256 and length of the answer's body; with `facts`
what the request holds (`facts.py`). Never a credential, and a body only with `bodies`: then those of requests, one behind the other, in
LOG_FILE.bodies.
"""

import hashlib
import http.client
import http.server
import json
import sys
import threading
import urllib.parse

from facts import facts

UPSTREAM = urllib.parse.urlsplit(sys.argv[1])
LOG = open(sys.argv[2], "a", buffering=1, encoding="utf-8")
LOCK = threading.Lock()
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
CREDENTIALS = ("authorization", "x-api-key")
TELLS_FACTS = sys.argv[3:] == ["facts"]
BODIES = open(sys.argv[2] + ".bodies", "ab", buffering=0) if sys.argv[3:] == ["bodies"] else None
KEPT = ("anthropic-", "x-claude-code-", "x-stainless-", "user-agent", "content-type", "x-app")


class Tap(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if BODIES:
            BODIES.write(body + b"\n")
        upstream = http.client.HTTPConnection(UPSTREAM.hostname, UPSTREAM.port, timeout=120)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        answered, length, status = hashlib.sha256(), 0, 0
        try:
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            answer = upstream.getresponse()
            status = answer.status
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            bodiless = self.command == "HEAD" or answer.status in (204, 304)
            if not bodiless:
                self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            while not bodiless and (piece := answer.read1(65536)):
                answered.update(piece)
                length += len(piece)
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            if not bodiless:
                self.wfile.write(b"0\r\n\r\n")
        finally:
            upstream.close()
            kept = {name.lower(): value for name, value in self.headers.items() if name.lower().startswith(KEPT)}
            row = {
                "method": self.command,
                "path": self.path,
                "request_sha256": hashlib.sha256(body).hexdigest(),
                "request_bytes": len(body),
                "headers": kept,
                "credentials": [name for name in CREDENTIALS if self.headers.get(name, "").removeprefix("Bearer").strip()],
                "status": status,
                "answer_sha256": answered.hexdigest(),
                "answer_bytes": length,
            }
            if TELLS_FACTS:
                row["facts"] = facts(body)
            with LOCK:
                LOG.write(json.dumps(row, sort_keys=True) + "\n")

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = pass_on


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tap)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
