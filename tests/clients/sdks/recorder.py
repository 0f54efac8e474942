"""Stands between Tollgate and the simulator: passes all through, and writes down what reached the provider for which cell."""

import base64
import http.client
import http.server
import json
import re
import threading

from vendor_types import fault

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"}
CELL = re.compile(rb"cell:([\w/-]+)\.")
SEAL = re.compile(r"c2ltdWxhdG9y[0-9a-f]{8}")  # what the simulator signs thinking with


class Recorder:
    """The recorder. `records` are dictionaries: cell, path, body as text, status, answer as text."""

    def __init__(self, upstream):
        self.records = []
        recorder = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                recorder.pass_on(self, upstream)

            do_GET = do_POST = do_HEAD = pass_on

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()

    def pass_on(self, request, upstream):
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        connection = http.client.HTTPConnection(upstream, timeout=60)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        answered, status = b"", None
        try:
            connection.request(request.command, request.path, body=body or None, headers=headers)
            answer = connection.getresponse()
            status = answer.status
            request.send_response_only(status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP_BY_HOP | {"content-length"}:
                    request.send_header(name, value)
            request.send_header("transfer-encoding", "chunked")
            request.end_headers()
            while piece := answer.read1(65536):
                answered += piece
                request.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                request.wfile.flush()
            request.wfile.write(b"0\r\n\r\n")
        except (http.client.HTTPException, OSError):
            # One of the two was cut off: so is the other.
            request.close_connection = True
        finally:
            connection.close()
            cell = CELL.search(body)
            self.records.append({
                "cell": cell and cell[1].decode(),
                "path": request.path,
                "headers": dict(request.headers.items()),
                "body": body.decode("utf-8", "replace"),
                "status": status,
                "answer": answered.decode("utf-8", "replace"),
            })

    def save(self, directory):
        with open(directory / "upstream.jsonl", "w", encoding="utf-8") as file:
            for record in self.records:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def amend(self, results, sealed):
        """Adds to the results what is wrong with what reached the providers. `sealed`: rows in which a provider must get its seals back."""
        by_cell = {}
        for record in self.records:
            by_cell.setdefault(record["cell"], []).append(record)
        for result in results:
            cell = "/".join([result["row"].replace(" ", "/"), result["upstream"], result["check"]])
            records = by_cell.pop(cell, [])
            faults = [fault(record["path"], record["body"]) for record in records]
            if result["check"] == "thinking" and result["row"] in sealed and result["upstream"] != "chat":
                faults.append(unsealed(records))
            if result["check"] == "choice":
                faults += [unchosen(record) for record in records]
            for wrong in dict.fromkeys(filter(None, faults)):
                result["fault"] = "; ".join(filter(None, [result["fault"], f"at the provider: {wrong}"]))


def unchosen(record):
    """The tool that must be called is named beside the tools, and not only among them."""
    body = json.loads(record["body"])
    beside = [body.get("tool_choice"), (body.get("toolConfig") or {}).get("toolChoice"), (body.get("toolConfig") or {}).get("functionCallingConfig")]
    return None if '"clock"' in json.dumps(beside) else f"no tool is demanded: {beside}"


def unsealed(records):
    """A provider seals its thinking, and must get each seal back with the next request of the conversation. Chat has no seals."""
    seals = []
    for record in records:
        answer = record["answer"]
        answer += "".join(base64.b64decode(chunk).decode() for chunk in re.findall(r'"bytes":"([^"]+)"', answer))
        # A script that asks twice goes on with the last answer.
        seals = SEAL.findall(answer) or seals
    if not seals:
        return "the provider sealed nothing"
    gone = [seal for seal in set(seals) if not any(seal in record["body"] for record in records)]
    return f"seals that did not come back: {', '.join(gone)}" if gone else None
