"""The client of PyPI `mcp`, at servers of tools behind Tollgate: prints what it found, as one line of JSON.

    mcp_client.py URL KEY auto|legacy                   lists, and uses one of each thing that `fixture` has
    mcp_client.py URL KEY auto|legacy call TOOL JSON    calls one tool
    mcp_client.py URL KEY auto|legacy twice             calls, says so, and calls again in the same session after a line of input
"""

import asyncio
import json
import sys

from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client
from mcp.types import ElicitResult

URL, KEY, MODE, *WHAT = sys.argv[1:]
DENIED = "fixture__test_image_content"


async def fill_in(context, params):
    return ElicitResult(action="accept", content=dict.fromkeys(params.requested_schema["properties"], "ada"))


def said(result):
    return " ".join(part.text for part in result.content if part.type == "text")


async def outcome(awaitable):
    """What came of a call: a text, or why there is none."""
    try:
        result = await awaitable
        return {"text": said(result), "is_error": bool(result.is_error)}
    except Exception as error:  # noqa: BLE001
        return {"refused": f"{type(error).__name__}: {error}"}


async def all_of(client):
    tools = [tool.name for tool in (await client.list_tools()).tools]
    resource = await client.read_resource("fixture+test://static-text")
    prompt = await client.get_prompt("fixture__test_prompt_with_arguments", {"arg1": "one", "arg2": "two"})
    asks = "test_elicitation" if client.protocol_version < "2026" else "test_input_required_result_elicitation"
    return {
        "revision": client.protocol_version,
        "tools": tools,
        "resources": [resource.uri for resource in (await client.list_resources()).resources],
        "prompts": [prompt.name for prompt in (await client.list_prompts()).prompts],
        "called": await outcome(client.call_tool("fixture__test_simple_text", {})),
        "resource": resource.contents[0].text,
        "prompt": prompt.messages[0].content.text,
        "elicited": await outcome(client.call_tool(f"fixture__{asks}", {"message": "Who?"} if asks == "test_elicitation" else {})),
        "denied": await outcome(client.call_tool(DENIED, {})),
    }


async def main():
    http = create_mcp_http_client(headers={"Authorization": f"Bearer {KEY}"})
    async with http, Client(streamable_http_client(URL, http_client=http), mode=MODE, elicitation_callback=fill_in) as client:
        if WHAT[:1] == ["call"]:
            found = await outcome(client.call_tool(WHAT[1], json.loads(WHAT[2])))
        elif WHAT == ["twice"]:
            print(json.dumps(await outcome(client.call_tool("fixture__test_simple_text", {}))), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            found = await outcome(client.call_tool("fixture__test_simple_text", {}))
        else:
            found = await all_of(client)
        print(json.dumps(found), flush=True)


asyncio.run(main())
