"""A server of tools with everything that the conformance suite of the protocol calls for, in the revisions with sessions and in those without.

    mcp_fixture.py [sessions]     prints its port; ends when its standard input does; with `sessions` in the revisions with those alone

The names, texts and schemas are those which the suite looks for.
"""

import asyncio
import base64
import json
import logging
import socket
import sys
import threading
import os
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer, RequestStateSecurity
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.server.streamable_http import EventMessage, EventStore
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    Completion,
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    EmbeddedResource,
    EmptyResult,
    ImageContent,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    SetLevelRequestParams,
    SubscribeRequestParams,
    TextContent,
    TextResourceContents,
    UnsubscribeRequestParams,
)
from pydantic import Field

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
SILENCE = base64.b64encode(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0@\x1f\0\0@\x1f\0\0\1\0\x08\0data\0\0\0\0").decode()
PAUSE = 0.05


class Sessions:
    """Before an application: what is not there in a server that knows revisions with sessions alone."""

    def __init__(self, application):
        self.application = application

    async def __call__(self, scope, receive, send):
        if (b"mcp-protocol-version", b"2026-07-28") not in scope.get("headers", ()):
            return await self.application(scope, receive, send)
        answer = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: Unsupported protocol version"}}'
        await send({"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": answer})


class Events(EventStore):
    """What streams have said, so that a client can go on where a stream broke off."""

    def __init__(self):
        self.said = []

    async def store_event(self, stream_id, message):
        self.said.append((stream_id, message))
        return str(len(self.said))

    async def replay_events_after(self, last_event_id, send_callback):
        at = int(last_event_id) if last_event_id.isdigit() else 0
        if not 0 < at <= len(self.said):
            return None
        stream = self.said[at - 1][0]
        for number, (of, message) in enumerate(self.said[at:], at + 1):
            if of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


server = MCPServer(name="fixture", version="1", request_state_security=RequestStateSecurity(keys=[os.urandom(32)]))


def text(words):
    return TextContent(type="text", text=words)


def picture():
    return ImageContent(type="image", data=PIXEL, mime_type="image/png")


def embedded(uri, kind, words):
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=kind, text=words))


def form(properties):
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}, "required": list(properties)}


def question(message, **properties):
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=form(properties)))


def to_model(prompt, tokens):
    said = [SamplingMessage(role="user", content=text(prompt))]
    return CreateMessageRequest(params=CreateMessageRequestParams(messages=said, max_tokens=tokens))


def answered(context, key, field=None):
    """What a client sent back under a key: the whole answer, or one field of a form. None for nothing, and for a form that was not filled in."""
    answer = (context.input_responses or {}).get(key)
    if answer is None or field is None:
        return answer
    return (getattr(answer, "content", None) or {}).get(field)


# What tools answer with.


@server.tool()
def test_simple_text() -> str:
    """Answers with a text."""
    return "This is a simple text response for testing."


@server.tool()
def test_image_content() -> list[ImageContent]:
    """Answers with a picture."""
    return [picture()]


@server.tool()
def test_audio_content() -> list[AudioContent]:
    """Answers with a sound."""
    return [AudioContent(type="audio", data=SILENCE, mime_type="audio/wav")]


@server.tool()
def test_embedded_resource() -> list[EmbeddedResource]:
    """Answers with a resource."""
    return [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


@server.tool()
def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Answers with a text, a picture and a resource."""
    data = json.dumps({"test": "data", "value": 123})
    return [text("Multiple content types test:"), picture(), embedded("test://mixed-content-resource", "application/json", data)]


@server.tool()
def test_error_handling() -> str:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


@server.tool()
def test_x_mcp_header(region: Annotated[str, Field(description="Where", json_schema_extra={"x-mcp-header": "Region"})] = "nowhere") -> str:
    """Has an argument that a header repeats."""
    return f"region={region}"


@server.tool()
def json_schema_2020_12_tool() -> str:
    """Has a schema with what JSON Schema of 2020-12 knows."""
    return "json_schema_2020_12_tool"


# Schemas are made from signatures here, and no signature gives this one.
server._tool_manager._tools["json_schema_2020_12_tool"].parameters = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"$anchor": "addressDef", **{key: value for key, value in form({"street": "string", "city": "string"}).items() if key != "required"}}},
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


# What tools say before they answer.


@server.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    """Logs three times."""
    for step in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(step)
        await asyncio.sleep(PAUSE)
    return "Tool with logging executed successfully"


@server.tool()
async def test_logging_tool(ctx: Context) -> str:
    """Logs once."""
    await ctx.info("A line of the log")
    return "logged"


@server.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    """Tells how far it is."""
    for done in (0, 50, 100):
        await ctx.report_progress(progress=done, total=100, message=f"Completed step {done} of 100")
        await asyncio.sleep(PAUSE)
    return "done"


@server.tool()
async def test_reconnection(ctx: Context) -> str:
    """Breaks its stream off before it answers."""
    await ctx.close_sse_stream()
    await asyncio.sleep(4 * PAUSE)
    return "Reconnection test completed"


@server.tool()
async def test_trigger_tool_change(ctx: Context) -> str:
    """Has a tool that is there every other time."""
    if any(tool.name == "test_dynamic_tool" for tool in await server.list_tools()):
        server.remove_tool("test_dynamic_tool")
    else:
        server.add_tool(test_simple_text, name="test_dynamic_tool")
    await ctx.notify_tools_changed()
    return "changed"


@server.tool()
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Has a prompt that is there every other time."""
    if any(prompt.name == "test_dynamic_prompt" for prompt in await server.list_prompts()):
        server.remove_prompt("test_dynamic_prompt")
    else:
        server.add_prompt(Prompt.from_function(test_simple_prompt, name="test_dynamic_prompt"))
    await ctx.notify_prompts_changed()
    return "changed"


# What tools ask of a client, in revisions with sessions.


@server.tool()
async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    said = [SamplingMessage(role="user", content=text(prompt))]
    result = await ctx.session.create_message(messages=said, max_tokens=100, related_request_id=ctx.request_id)
    return f"LLM response: {getattr(result.content, 'text', None)}"


async def asked(ctx, message, schema, words):
    result = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"{words}: action={result.action}, content={json.dumps(result.content or {})}"


@server.tool()
async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the user two things."""
    return await asked(ctx, message, form({"username": "string", "email": "string"}), "User response")


@server.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks the user, with defaults."""
    properties = {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    }
    return await asked(ctx, "Who is it?", {"type": "object", "properties": properties}, "Elicitation completed")


@server.tool()
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks the user to choose, in each way that there is."""
    titled = [{"const": word, "title": word.title()} for word in ("low", "high")]
    plain = ["small", "large"]
    properties = {
        "untitledSingle": {"type": "string", "enum": plain},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": plain, "enumNames": ["Small", "Large"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": plain}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    }
    return await asked(ctx, "Which?", {"type": "object", "properties": properties}, "Elicitation completed")


# What tools ask of a client, in revisions without.


@server.tool()
async def test_missing_capability(ctx: Context) -> str:
    """Needs a client that has a model."""
    capabilities = ctx.session.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        raise MCPError(code=MISSING_REQUIRED_CLIENT_CAPABILITY, message="it needs sampling", data={"requiredCapabilities": {"sampling": {}}})
    return "sampling is there"


@server.tool()
async def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks the user, after it told how far it is."""
    await ctx.report_progress(progress=1, total=2)
    name = answered(ctx, "user_name", "name")
    return f"Hello, {name}!" if name else InputRequiredResult(input_requests={"user_name": question("What is your name?", name="string")})


@server.tool()
async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks the user."""
    name = answered(ctx, "user_name", "name")
    return f"Hello, {name}!" if name else InputRequiredResult(input_requests={"user_name": question("What is your name?", name="string")})


@server.tool()
async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Asks the client's model."""
    if answer := answered(ctx, "capital_question"):
        return f"It says: {answer.content.text}"
    return InputRequiredResult(input_requests={"capital_question": to_model("What is the capital of France?", 100)})


@server.tool()
async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Asks for the client's roots."""
    if answer := answered(ctx, "client_roots"):
        return f"There are {len(answer.roots)} roots."
    return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})


@server.tool()
async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Has the client keep something for it."""
    if answered(ctx, "confirm") and ctx.request_state == "kept":
        return "state-ok"
    return InputRequiredResult(input_requests={"confirm": question("Please confirm", ok="boolean")}, request_state="kept")


@server.tool()
async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Has the client keep something that it must not change."""
    if ctx.request_state is not None:
        return "state-ok"
    return InputRequiredResult(input_requests={"confirm": question("Please confirm", ok="boolean")}, request_state="kept")


@server.tool()
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Asks for three things at once."""
    asked_for = {
        "user_name": question("What is your name?", name="string"),
        "greeting": to_model("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    if all(answered(ctx, key) for key in asked_for):
        return "All is there."
    return InputRequiredResult(input_requests=asked_for, request_state="kept")


@server.tool()
async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Asks for one thing after another."""
    state = json.loads(ctx.request_state or "{}")
    name = state.get("name") or answered(ctx, "step1", "name")
    colour = answered(ctx, "step2", "color")
    if state.get("name") and colour:
        return f"{name} likes {colour}."
    if state and name:
        asked_for = {"step2": question("Step 2: What is your favorite color?", color="string")}
        return InputRequiredResult(input_requests=asked_for, request_state=json.dumps({"round": 2, "name": name}))
    asked_for = {"step1": question("Step 1: What is your name?", name="string")}
    return InputRequiredResult(input_requests=asked_for, request_state=json.dumps({"round": 1}))


@server.tool()
async def test_input_required_result_capabilities(ctx: Context) -> InputRequiredResult:
    """Asks for what the client says it can do."""
    capabilities = ctx.client_capabilities
    asked_for: dict[str, Any] = {}
    if capabilities and capabilities.sampling is not None:
        asked_for["model"] = to_model("Say hello", 50)
    if capabilities and capabilities.elicitation is not None:
        asked_for["user"] = question("What is your name?", name="string")
    return InputRequiredResult(input_requests=asked_for, request_state="kept")


# Resources and prompts.


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """A picture."""
    return base64.b64decode(PIXEL)


@server.resource("test://watched-resource", mime_type="text/plain")
def watched_resource() -> str:
    """A text that can be watched."""
    return "Watched resource content"


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    """A text for each id."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@server.prompt()
def test_simple_prompt() -> list[UserMessage]:
    """A prompt."""
    return [UserMessage(content=text("This is a simple prompt for testing."))]


@server.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """A prompt with arguments."""
    return [UserMessage(content=text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]


@server.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
    """A prompt with a resource."""
    content = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [UserMessage(content=content), UserMessage(content=text("Please process the embedded resource above."))]


@server.prompt()
def test_prompt_with_image() -> list[UserMessage]:
    """A prompt with a picture."""
    return [UserMessage(content=picture()), UserMessage(content=text("Please analyze the image above."))]


@server.prompt()
async def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | InputRequiredResult:
    """A prompt that asks the user first."""
    if context := answered(ctx, "user_context", "context"):
        return [UserMessage(content=text(f"Use this: {context}"))]
    return InputRequiredResult(input_requests={"user_context": question("What context should the prompt use?", context="string")})


@server.completion()
async def complete(ref, argument, context) -> Completion:
    """Words that begin as an argument does."""
    values = [word for word in ("paris", "park", "party") if word.startswith(argument.value)]
    return Completion(values=values, total=len(values), has_more=False)


async def accepted(context, params) -> EmptyResult:
    return EmptyResult()


for method, params in (
    ("logging/setLevel", SetLevelRequestParams),
    ("resources/subscribe", SubscribeRequestParams),
    ("resources/unsubscribe", UnsubscribeRequestParams),
):
    # There is no decorator for these.
    server._lowlevel_server.add_request_handler(method, params, accepted)


def serve(application):
    """Serves on a free port, and prints it; ends with whoever started it."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    uvicorn.Server(uvicorn.Config(application, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    logging.basicConfig(level="WARNING")
    whole = server.streamable_http_app(event_store=Events(), retry_interval=100)
    serve(Sessions(whole) if sys.argv[1:] == ["sessions"] else whole)
