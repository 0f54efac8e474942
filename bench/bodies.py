"""The request bodies of the benchmark, made from a fixed seed: no captured prompt is among them."""

import json
import random

MODEL = "claude-opus-4-8"
# Words of source code and of talk about it; their lengths give the text the texture of a coding session.
WORDS = (
    "let fn return match async await impl struct enum trait use self error result option vector string buffer request "
    "response stream token budget policy revision snapshot replica handler parse decode encode config default value index "
    "the this that when because should would change test file line function module fails passes review commit branch"
).split()


def small():
    """W1: about 1 KB."""
    source = random.Random(1)
    return encode({
        "model": MODEL,
        "max_tokens": 1024,
        "system": prose(source, 50),
        "messages": [{"role": "user", "content": prose(source, 92)}],
    }, 1_000)  # fmt: skip


def session():
    """W2: what a coding agent sends late in a session: a system prompt, 20 tools, 60 messages, about 400 KB."""
    source = random.Random(2)
    body = {
        "model": MODEL,
        "max_tokens": 32_000,
        "metadata": {"user_id": "user_" + "0" * 64},
        "system": [
            {"type": "text", "text": prose(source, 60)},
            {"type": "text", "text": prose(source, 2_600), "cache_control": {"type": "ephemeral"}},
        ],
        "tools": [tool(source, number) for number in range(20)],
        "messages": [message for turn in range(30) for message in exchange(source, turn)],
    }
    return encode(body, 400_000)


def streamed(events, spacing=None):
    """W3 and W4: a small request whose answer is streamed. The simulator reads its wishes from the message."""
    source = random.Random(3)
    wish = f"[[simulate events={events}{f' spacing={spacing}' if spacing else ''}]]"
    return encode({
        "model": MODEL,
        "max_tokens": 4096,
        "stream": True,
        "messages": [{"role": "user", "content": f"{wish} {prose(source, 130)}"}],
    }, 1_000)  # fmt: skip


def encode(body, about):
    data = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
    if not about * 0.75 <= len(data) <= about * 1.25:
        raise AssertionError(f"a body of {len(data)} bytes was to have about {about}")
    return data


def prose(source, count):
    return " ".join(source.choice(WORDS) for _ in range(count))


def code(source, lines):
    """Text with the quotes, line ends and indentation that JSON must escape."""
    return "\n".join(
        f'{number:>5}\t{"    " * source.randrange(4)}{prose(source, source.randrange(3, 11))}("{source.choice(WORDS)}");'
        for number in range(1, lines + 1)
    )


def tool(source, number):
    names = [source.choice(WORDS) for _ in range(6)]
    properties = {
        f"{name}_{index}": {"type": source.choice(["string", "integer", "boolean"]), "description": prose(source, 18)}
        for index, name in enumerate(names)
    }
    return {
        "name": f"Tool{number}",
        "description": prose(source, 240),
        "input_schema": {"type": "object", "properties": properties, "required": list(properties)[:2]},
    }


def exchange(source, turn):
    """The agent calls a tool, and the tool answers."""
    call = f"toolu_{turn:022d}"
    yield {
        "role": "assistant",
        "content": [
            {"type": "text", "text": prose(source, 60)},
            {"type": "tool_use", "id": call, "name": "Tool0", "input": {"path": f"/src/{turn}.rs", "text": code(source, 22)}},
        ],
    }  # fmt: skip
    yield {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": call, "content": [{"type": "text", "text": code(source, 134)}]}],
    }


if __name__ == "__main__":
    print(len(small()), len(session()), len(streamed(200)))
