"""What reaches a provider, held against the types of its vendor's own SDK: unknown and missing fields, and values of a wrong kind.

    fault(path, body)    a sentence, or None
"""

import base64
import functools
import json
import re
import sys
import typing

# Read once, and by every check that looks: the SDKs write `Iterable` where they send lists.
typing.Iterable = typing.List

import botocore.session  # noqa: E402
import pydantic  # noqa: E402
import typing_extensions  # noqa: E402
from anthropic.lib.bedrock._client import ANTHROPIC_API_VERSION  # noqa: E402
from anthropic.types import message_count_tokens_params, message_create_params  # noqa: E402
from botocore.validate import ParamValidator  # noqa: E402
from google.genai import types as google  # noqa: E402
from openai.types.chat import completion_create_params  # noqa: E402
from openai.types.responses import response_create_params  # noqa: E402


def forbid_unknown():
    for name, module in list(sys.modules.items()):
        if name.startswith(("anthropic.types", "openai.types")):
            for kind in vars(module).values():
                if typing_extensions.is_typeddict(kind):
                    kind.__pydantic_config__ = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)


forbid_unknown()
BEDROCK = botocore.session.get_session().get_service_model("bedrock-runtime")


class Body(pydantic.BaseModel):
    """A request of Gemini, as its reference has it; the SDK has no such type, but those of its fields."""

    model_config = pydantic.ConfigDict(extra="forbid", arbitrary_types_allowed=True)
    contents: list[google.Content]
    systemInstruction: google.Content | None = None
    tools: list[google.Tool] | None = None
    toolConfig: google.ToolConfig | None = None
    safetySettings: list[google.SafetySetting] | None = None
    generationConfig: google.GenerationConfig | None = None
    cachedContent: str | None = None


@functools.cache
def adapter(kind):
    return pydantic.TypeAdapter(kind)


def either(params, word):
    """The type of a request, of the two that a module has: for a stream, and for a whole answer."""
    return lambda body: getattr(params, word + ("Streaming" if body.get("stream") else "NonStreaming"))


def typed(kind_of):
    return lambda body, **_: adapter(kind_of(body)).validate_python(body)


MESSAGES = either(message_create_params, "MessageCreateParams")


def enveloped(version):
    def check(body, **_):
        # The SDK of Anthropic names a version of its own, which passes.
        if body.pop("anthropic_version", None) not in (version, ANTHROPIC_API_VERSION):
            raise ValueError(f"anthropic_version is not {version}")
        for name in ("model", "stream"):
            if name in body and (version.startswith("bedrock") or name == "model"):
                raise ValueError(f"{name} stands in the body")
        body.pop("anthropic_beta", None)
        typed(MESSAGES)({"model": "m", **body})

    return check


def converse(body, model, action):
    operation = BEDROCK.operation_model({"converse": "Converse", "converse-stream": "ConverseStream"}[action])
    report = ParamValidator().validate({"modelId": model, **decoded(body)}, operation.input_shape)
    if report.has_errors():
        raise ValueError(report.generate_report())


def decoded(value):
    """As a caller of the SDK gives it: blobs are bytes."""
    if isinstance(value, dict):
        return {name: base64.b64decode(item, validate=True) if name == "bytes" else decoded(item) for name, item in value.items()}
    return [decoded(item) for item in value] if isinstance(value, list) else value


def response(body, **_):
    # The types want an id and a status of what the model said. OpenAI does not, and its own agent sends neither.
    items = body["input"] if isinstance(body["input"], list) else []
    said = [item for item in items if item.get("type") == "message" and item.get("role") == "assistant"]
    for item in said:
        item.setdefault("id", "msg_0")
        item.setdefault("status", "completed")
    typed(either(response_create_params, "ResponseCreateParams"))(body)


def plain(value):
    """Base64 in the alphabet that all vendors take; bytes without a name of their own are found by what stands beside them."""
    if isinstance(value, dict):
        if value.get("type") == "base64" or "mimeType" in value and "data" in value:
            base64.b64decode(value["data"], validate=True)
        for item in value.values():
            plain(item)
    elif isinstance(value, list):
        for item in value:
            plain(item)
    elif isinstance(value, str) and (match := re.fullmatch(r"data:[^,]*;base64,(.*)", value, re.DOTALL)):
        base64.b64decode(match[1], validate=True)


# What a path carries.
PATHS = [
    (r"/v1/messages", typed(MESSAGES)),
    (r"/v1/messages/count_tokens", typed(lambda _: message_count_tokens_params.MessageCountTokensParams)),
    (r"/v1/chat/completions", typed(either(completion_create_params, "CompletionCreateParams"))),
    (r"/v1/responses", response),
    (r"/v1beta/models/(?P<model>[^/:]+):(?P<action>generateContent|streamGenerateContent)", typed(lambda _: Body)),
    (r"/model/(?P<model>[^/]+)/(?P<action>converse|converse-stream)", converse),
    (r"/model/(?P<model>[^/]+)/(?P<action>invoke|invoke-with-response-stream)", enveloped("bedrock-2023-05-31")),
    (r".*/publishers/anthropic/models/(?P<model>[^/:]+):(?P<action>rawPredict|streamRawPredict)", enveloped("vertex-2023-10-16")),
]


def fault(path, body):
    path = path.split("?")[0]
    for pattern, check in PATHS:
        if match := re.fullmatch(pattern, path):
            try:
                plain(json.loads(body))
                check(json.loads(body), **match.groupdict())
            except pydantic.ValidationError as error:
                # Of a union every branch complains: the one that came farthest is meant.
                worst = max(error.errors(include_url=False, include_context=False), key=lambda each: len(each["loc"]))
                return f"{'.'.join(map(str, worst['loc']))}: {worst['msg']}, not {worst['input']!r}"
            except (ValueError, KeyError) as error:
                return f"{type(error).__name__}: {error}"
            return None
    return f"no vendor is called at {path}"
