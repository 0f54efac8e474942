"""What each SDK is asked and must understand: the same conversation for all of them, out of `scenario.json`.

A script gives a `Surface`, which puts it into the SDK's words, and calls `main`:

    SCRIPT BASE_URL KEY UPSTREAM...

One JSON line a check: row, upstream, check, and the fault; null where it passed.
"""

import functools
import json
import pathlib
import sys
import traceback
from dataclasses import dataclass, field

SCENARIO = json.loads(pathlib.Path(__file__).with_name("scenario.json").read_text(encoding="utf-8"))
TOOLS = SCENARIO["tools_offered"]


@dataclass
class Said:
    """An answer, in one form for all SDKs."""

    text: str = ""
    thinking: str = ""
    calls: list = field(default_factory=list)  # of (id, name, arguments)
    stop: object = None
    usage: tuple = ()
    turns: list = field(default_factory=list)  # what stands for the answer in the conversation


class Surface:
    """One API of one SDK. `ask` sends a conversation; `stops` and `usage` are what the SDK's own words must be."""

    name = ""  # "anthropic.messages"
    stops = {}  # of `end`, `tools` and `length`
    kinds = {}  # of failures, by status
    usage = ()  # for 1,000 tokens of input, 200 more out of the cache, and 17 of output
    shows_thinking = True
    modes = []  # rows that all have, `whole` and `streamed`: (mode, whether it streams, checks)
    alone = []  # rows besides

    def ask(self, model, turns, *, system, stream, tokens=1024, tools=False, choice=None, thinking=False, schema=None): ...

    def user(self, text, png=None, pdf=None): ...

    def results(self, calls, results): ...

    def failure(self, error): ...  # (status, kind, sentence), or None where it is not the SDK's own

    def models(self): ...  # the names of a list


def strict(model):
    """An SDK takes what does not fit its types as it comes: here it must fit."""
    type(model).model_validate(model.to_dict() if hasattr(model, "to_dict") else model.model_dump())
    return model


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: {found!r}, not {expected!r}")


def text(surface, ask, model):
    part = SCENARIO["text"]
    said = ask(model, [surface.user(part["prompt"])])
    equal(said.text, part["says"], "text")
    equal(said.calls, [], "calls")
    equal(said.stop, surface.stops["end"], "stop")
    equal(said.usage, surface.usage, "usage")


def length(surface, ask, model):
    part = SCENARIO["length"]
    said = ask(model, [surface.user(part["prompt"])], tokens=part["tokens"])
    equal((said.text, said.stop), (part["says"], surface.stops["length"]), "text and stop")


def tools(surface, ask, model, thinking=False):
    part = SCENARIO["thinking" if thinking else "tools"]
    asked = [surface.user(part["prompt"])]
    offered = {"tools": True, "thinking": thinking, "tokens": 4096}
    said = ask(model, asked, **offered)
    if thinking and surface.shows_thinking:
        equal(said.thinking, part["thinks"], "thinking")
    equal(said.text, part["says"], "text")
    equal([[name, arguments] for _, name, arguments in said.calls], part["calls"], "calls")
    ids = [call[0] for call in said.calls]
    assert all(ids) and len(set(ids)) == len(ids), f"ids of calls: {ids}"
    equal(said.stop, surface.stops["tools"], "stop")
    assert said.usage[0] and said.usage[-1], f"usage: {said.usage}"
    then = ask(model, asked + said.turns + surface.results(said.calls, part["results"]), **offered)
    equal((then.text, then.calls, then.stop), (part["then"], [], surface.stops["end"]), "behind the results")


def thinking(surface, ask, model):
    tools(surface, ask, model, thinking=True)


def image(surface, ask, model):
    part = SCENARIO["image"]
    equal(ask(model, [surface.user(part["prompt"], part["png"])]).text, part["says"], "text")


def document(surface, ask, model):
    part = SCENARIO["document"]
    equal(ask(model, [surface.user(part["prompt"], pdf=part["pdf"])]).text, part["says"], "text")


def choice(surface, ask, model):
    part = SCENARIO["choice"]
    said = ask(model, [surface.user(part["prompt"])], tools=True, choice=part["name"])
    equal([[name, arguments] for _, name, arguments in said.calls], part["calls"], "calls")


def schema(surface, ask, model):
    part = SCENARIO["schema"]
    said = ask(model, [surface.user(part["prompt"])], schema=part["schema"])
    equal(json.loads(said.text), part["gives"], "what the schema asks for")


def failed(surface, ask, model, prompt):
    try:
        said = ask(model, [surface.user(prompt)])
    except Exception as error:
        told = surface.failure(error)
        if told is None:
            raise
        return told
    raise AssertionError(f"no error, but {said}")


def refused(surface, ask, model):
    for part in SCENARIO["refused"]:
        to = model.replace("to-", part["route"] + "-", 1)
        told = (part["status"], surface.kinds[part["status"]], part["says"])
        equal(failed(surface, ask, to, part["prompt"]), told, "error")


def broken(surface, ask, model):
    part = SCENARIO["broken"]
    _, kind, sentence = failed(surface, ask, model, part["prompt"])
    equal((kind, sentence), (surface.kinds[429], part["says"]), "error in the stream")


def severed(surface, ask, model):
    _, kind, sentence = failed(surface, ask, model, SCENARIO["severed"]["prompt"])
    assert kind and sentence, f"kind {kind!r}, sentence {sentence!r}"


CHECKS = [text, length, tools, choice, thinking, image, document, schema, refused]
Surface.modes = [("whole", False, CHECKS), ("streamed", True, [*CHECKS, broken, severed])]


def listed(surface, ask, model):
    names = surface.models()
    assert model in names, f"{model} is not among {len(names)} models"


def rows(surface):
    """The rows of a surface: each has its name, whether it streams, and its checks."""
    return [(f"{surface.name} {mode}", stream, checks) for mode, stream, checks in [*surface.modes, *surface.alone]]


def attempt(row, upstream, check, call):
    fault = None
    try:
        call()
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        fault = f"{type(error).__name__}: {error} ({pathlib.Path(where.filename).name}:{where.lineno})"
    print(json.dumps({"row": row, "upstream": upstream, "check": check.__name__, "fault": fault}), flush=True)


def main(make):
    """Runs every check of the surfaces that `make(base_url, key)` gives, against each upstream that the command line names."""
    base, key, *upstreams = sys.argv[1:]
    for surface in make(base, key):
        for row, stream, checks in rows(surface):
            for upstream in upstreams:
                for check in checks:
                    system = SCENARIO["system"] % f"{row}/{upstream}/{check.__name__}".replace(" ", "/")
                    ask = functools.partial(surface.ask, system=system, stream=stream)
                    attempt(row, upstream, check, functools.partial(check, surface, ask, f"to-{upstream}"))
