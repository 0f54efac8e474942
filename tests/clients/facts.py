"""What a request of any dialect holds, as facts that two taps can compare: names, counts and hashes, never a text.

    facts.py CLIENT_LOG UPSTREAM_LOG CLIENT_ROWS UPSTREAM_ROWS PATH PROOF [sealed] [pictured]

Compares what stands behind so many rows of two taps' logs: each request of the client reached the provider at PATH (a regular
expression) with every tool, every longer text and every picture; in the last of them was the tool's result, PROOF; `sealed`, what the
provider had sealed in its answer; and, `pictured`, a picture. Says what is wrong, and ends with 1.
"""

import hashlib
import json
import re
import sys

# Shorter texts are names, roles and words of one dialect.
TEXT_CHARACTERS_MIN = 120
CONVERSATION = ("system", "instructions", "systemInstruction", "messages", "input", "contents")
PROOF = re.compile(r"proof-\d+")
# A picture in any dialect, however deep in the result of a tool.
PICTURE = re.compile(r'"(?:image|image_url|inlineData)": \{|"type": "(?:image|input_image)"')
# How everything begins that the simulator seals.
SEAL = re.compile(r"c2ltdWxhdG9y[0-9a-f]{8}")


def facts(body):
    """The facts of a request's body; empty where it is no conversation."""
    try:
        request = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(request, dict):
        return {}
    said = [request[name] for name in CONVERSATION if name in request]
    whole = json.dumps(said)
    # In an envelope of Tollgate a seal stands in base64 or as it is: what counts is what a provider gets.
    return {
        "texts": sorted({hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts(said)}),
        "tools": sorted({name for name, is_hosted in tools(request) if not is_hosted}),
        "hosted": sorted({name for name, is_hosted in tools(request) if is_hosted}),
        "pictures": len(PICTURE.findall(whole)),
        "proofs": sorted(set(PROOF.findall(whole))),
        "seals": sorted(set(SEAL.findall(whole))),
        "cached": len(re.findall(r'"(?:cache_control|cachePoint)"', json.dumps(request))),
    }


def texts(value):
    if isinstance(value, str):
        # Arguments of a call: in some dialects an object, in others the text of one.
        if value.startswith("{"):
            try:
                yield from texts(json.loads(value))
                return
            except ValueError:
                pass
        if len(value) >= TEXT_CHARACTERS_MIN and not SEAL.search(value):
            # Some dialects have data by itself, others in an address.
            yield value.split(";base64,", 1)[-1] if value.startswith("data:") else value
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, dict):
        # Tools that an item brings along are counted as tools.
        for name, each in value.items():
            if name != "tools":
                yield from texts(each)


def tools(request):
    """The name of every tool, and whether the provider itself runs it."""
    for holder in [request, request.get("toolConfig") or {}, *items(request)]:
        for tool in holder.get("tools") or []:
            yield from tool_names(tool, "")


def items(request):
    entries = request.get("input")
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def tool_names(tool, group):
    if tool.get("type") == "namespace":
        name = tool["name"]
        for each in tool["tools"]:
            yield from tool_names(each, "" if name == "functions" else f"{name}__")
    elif "functionDeclarations" in tool:
        for each in tool["functionDeclarations"]:
            yield each["name"], False
    elif "toolSpec" in tool or "function" in tool:
        yield (tool.get("toolSpec") or tool["function"])["name"], False
    elif "name" in tool and ("input_schema" in tool or tool.get("type") in ("function", "custom")):
        yield group + tool["name"], False
    elif "cachePoint" not in tool:
        yield tool.get("type") or next(iter(tool)), True


def wrong(client, upstream, path, proof, more):
    if not client or len(client) != len(upstream):
        yield f"{len(client)} requests of the client, {len(upstream)} at the provider"
        return
    for number, (sent, came) in enumerate(zip(client, upstream), 1):
        if (sent["status"], came["status"]) != (200, 200):
            yield f"request {number} was answered {came['status']}, the client {sent['status']}"
        if not re.search(path, came["path"]):
            yield f"request {number} reached {came['path']}"
        left = {name: set(sent["facts"][name]) - set(came["facts"][name]) for name in ("texts", "tools")}
        for name, missing in left.items():
            if missing:
                yield f"request {number} lost {len(missing)} {name}: {', '.join(sorted(missing))}"
        if sent["facts"]["pictures"] != came["facts"]["pictures"]:
            yield f"request {number}: {sent['facts']['pictures']} pictures, {came['facts']['pictures']} at the provider"
    if not client[0]["facts"]["tools"] or not client[0]["facts"]["texts"]:
        yield "the client sent no tools, or no instructions"
    last = upstream[-1]["facts"]
    if proof and proof not in last["proofs"]:
        yield "the result of the tool did not reach the provider"
    if "sealed" in more and not last["seals"]:
        yield "the provider did not get its seal back"
    if "pictured" in more and not last["pictures"]:
        yield "the client sent no picture"


def rows(path, skipped):
    with open(path, encoding="utf-8") as lines:
        read = [json.loads(line) for line in lines][int(skipped):]
    return [row for row in read if row["method"] == "POST"]


if __name__ == "__main__":
    client_log, upstream_log, client_rows, upstream_rows, path, proof, *more = sys.argv[1:]
    found = list(wrong(rows(client_log, client_rows), rows(upstream_log, upstream_rows), path, proof, more))
    print(*found, sep="\n", file=sys.stderr)
    sys.exit(1 if found else 0)
