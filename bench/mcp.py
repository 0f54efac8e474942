"""What the way to servers of tools (MCP) costs: a call beside a bare reverse proxy, a long list, and sessions that idle.

The goals are those of the design: a call takes at most 150 µs more than through the floor (p50), a list of 1,000 tools of 20 servers less than 5 ms,
2,000 idle sessions less than 60 MB.
"""

import contextlib
import http.client
import json
import socket
import time
import urllib.parse

import machine
import peers
import tollgate

SERVERS = 20
TOOLS_EACH = 50
SESSIONS = 2_000
# Requests a second, far below what either proxy can take.
CALLS_PER_SECOND = 1_000
LISTS_PER_SECOND = 50
CONNECTIONS = 8
REVISION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": REVISION,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def measure(bench, programs, cores, directory):
    """Everything, with processes of its own."""
    mine, others = cores
    with contextlib.ExitStack() as stack:
        provider = tollgate.simulator(stack, programs, others, directory)
        tools = machine.Process("tools", [str(programs / "tollgate-bench-tools"), str(TOOLS_EACH)], others, directory=directory)
        stack.callback(tools.stop)
        address = tools.first_line()
        direct = target("direct", f"http://{address}/s00", tools, "tool_001")
        floor = peers.floor(stack, programs, direct, mine, directory)
        ours = tollgate.Tollgate(stack, programs, provider, mine, others, directory)
        for number in range(SERVERS):
            url = f"http://{address}/s{number:02}"
            ours.command("mcp-server", "create", "--name", f"s{number:02}", "--url", url, "--allow-private", "--parallel", "0")
        root = ours.url.removesuffix("/v1/messages") + "/mcp"
        one = target("tollgate", f"{root}/s00", ours.process, "tool_001", ours.key)
        joined = target("tollgate, one of 20 servers", root, ours.process, "s00__tool_001", ours.key)
        listing = target("tollgate", root, ours.process, None, ours.key)
        ours.process.wait_for(lambda: count(listing) == SERVERS * TOOLS_EACH, f"it had {SERVERS * TOOLS_EACH} tools")
        for number in range(1, bench.plan.rounds + 1):
            bench.say(f"round {number} of {bench.plan.rounds}: tools")
            calls(bench, floor, direct, (one, joined))
            lists(bench, listing)
        idle(bench, ours, root)


def target(name, url, process, tool, key=None):
    """Something that is asked as 2026-07-28 has it; the body goes with it."""
    method = "tools/call" if tool else "tools/list"
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": REVISION,
        "mcp-method": method,
        **({"mcp-name": tool} if tool else {}),
        **({"authorization": f"Bearer {key}"} if key else {}),
    }
    return peers.Target(name, url, headers, process)


def body(target):
    """The message that the headers speak of."""
    name = target.headers.get("mcp-name")
    params = {"_meta": META}
    if name:
        params |= {"name": name, "arguments": {"query": "a phrase of some words", "limit": 10}}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": target.headers["mcp-method"], "params": params}).encode()


def count(target):
    status, text = peers.answer(target, body(target))
    return len(json.loads(text)["result"]["tools"]) if status == 200 else 0


def calls(bench, floor, direct, ours):
    requests = int(CALLS_PER_SECOND * bench.plan.seconds)
    fixed = lambda one, said: bench.generator.run(one, said, requests, CONNECTIONS, rate=CALLS_PER_SECOND)  # noqa: E731
    bare = fixed(floor, body(direct))
    cost = flat_out(bench, floor, body(direct))
    bench.note("tools", "floor", "cpu", cost)
    for one in ours:
        said = body(one)
        run = fixed(one, said)
        for figure, part in (("added p50", 0.50), ("added p99", 0.99)):
            bench.note("tools", one.name, figure, run.quantile_us(part) - bare.quantile_us(part))
        bench.note("tools", one.name, "cpu", flat_out(bench, one, said))


def flat_out(bench, one, said):
    """CPU time of the proxy a call, while as many come as it can take."""
    probe = bench.generator.run(one, said, 2_000, 32)
    return bench.generator.run(one, said, max(2_000, int(probe.rate * bench.plan.seconds)), 32, watched=one.process).cpu_us


def lists(bench, listing):
    requests = max(50, int(LISTS_PER_SECOND * bench.plan.seconds))
    run = bench.generator.run(listing, body(listing), requests, 1, rate=LISTS_PER_SECOND, watched=listing.process)
    bench.note("tools", "list", "p50 ms", run.quantile_us(0.50) / 1e3)
    bench.note("tools", "list", "cpu", run.cpu_us)


def idle(bench, ours, root):
    """Sessions with all servers: first only begun, then each with its standing stream open."""
    parts = urllib.parse.urlsplit(root)
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "authorization": f"Bearer {ours.key}",
    }
    begin = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    message = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": begin})
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    before, ids = ours.process.resident_bytes(), []
    bench.say(f"{SESSIONS} sessions")
    for _ in range(SESSIONS):
        connection.request("POST", parts.path, message, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise machine.Stop(f"no session began: {answer.status} {text[:300]!r}")
        ids.append(answer.headers["mcp-session-id"])
    connection.close()
    bench.note("tools", "sessions", "MB", (ours.process.resident_bytes() - before) / 1e6)
    open_streams = []
    try:
        for session in ids:
            open_streams.append(stream(parts, headers, session))
        time.sleep(1)
        bench.note("tools", "sessions", "MB with streams", (ours.process.resident_bytes() - before) / 1e6)
    finally:
        for each in open_streams:
            each.close()


def stream(parts, headers, session):
    """The standing stream of a session, open."""
    socket_ = socket.create_connection((parts.hostname, parts.port), timeout=10)
    shown = {"host": parts.netloc, "accept": "text/event-stream", "authorization": headers["authorization"]}
    shown |= {"mcp-session-id": session, "mcp-protocol-version": "2025-11-25"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in shown.items())
    socket_.sendall(f"GET {parts.path} HTTP/1.1\r\n{lines}\r\n".encode())
    first = socket_.recv(4_096)
    if b" 200 " not in first.split(b"\r\n", 1)[0]:
        raise machine.Stop(f"no stream was opened: {first[:300]!r}")
    return socket_


def table(bench, spread):
    """What was measured of it, and the goals."""
    get = lambda *key: bench.figures.get(("tools", *key), [])  # noqa: E731
    rows = []
    for name in ("tollgate", "tollgate, one of 20 servers"):
        rows.append((f"a call, {name}: added to the floor, p50 µs", get(name, "added p50"), "{:.0f}", "150"))
        rows.append((f"a call, {name}: added to the floor, p99 µs", get(name, "added p99"), "{:.0f}", ""))
        rows.append((f"a call, {name}: CPU µs", get(name, "cpu"), "{:.0f}", ""))
    rows.append(("a call, floor: CPU µs", get("floor", "cpu"), "{:.0f}", ""))
    tools = f"{SERVERS * TOOLS_EACH} tools of {SERVERS} servers"
    rows.append((f"the list of {tools}: p50 ms", get("list", "p50 ms"), "{:.2f}", "5"))
    rows.append((f"the list of {tools}: CPU µs", get("list", "cpu"), "{:.0f}", ""))
    rows.append((f"{SESSIONS} idle sessions: MB", get("sessions", "MB"), "{:.1f}", "60"))
    rows.append((f"{SESSIONS} idle sessions, each with its stream open: MB", get("sessions", "MB with streams"), "{:.1f}", "60"))
    lines = ["", "| tools (MCP 2026-07-28) | measured | goal |", "|---|--:|--:|"]
    lines += [f"| {what} | {spread(values, form)} | {goal} |" for what, values, form, goal in rows if values]
    return lines if len(lines) > 3 else []
