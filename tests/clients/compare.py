"""Compares what a tap before Tollgate saw with what a tap behind it saw.

    compare.py CLIENT_LOG UPSTREAM_LOG

Every request that Tollgate passed on must have arrived with the same bytes and the same end-to-end headers, and its answer
must have come back with the same bytes.
"""

import json
import sys

client, upstream = ([json.loads(line) for line in open(path, encoding="utf-8")] for path in sys.argv[1:3])
passed = [row for row in client if row["path"].split("?")[0].startswith("/v1/messages") and row["status"] == 200]
assert passed, "no request passed"
assert len(passed) == len(upstream), f"{len(passed)} requests were answered, the provider saw {len(upstream)}"

left = list(upstream)
for row in passed:
    facts = ("method", "path", "request_sha256", "request_bytes", "status", "answer_sha256", "answer_bytes")
    match = next((other for other in left if all(other[fact] == row[fact] for fact in facts)), None)
    assert match, f"the provider saw no request with these bytes, or answered others: {row['path']} {row['request_sha256']}"
    left.remove(match)
    for name, value in row["headers"].items():
        assert match["headers"].get(name) == value, f"{name}: {value!r} arrived as {match['headers'].get(name)!r}"

sent = sum(row["request_bytes"] for row in passed)
got = sum(row["answer_bytes"] for row in passed)
print(f"{len(passed)} requests: {sent} bytes reached the provider and {got} bytes came back, each hash equal")
