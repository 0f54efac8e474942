"""PyPI `boto3`: Converse."""

import base64
import json

import boto3
import checks
from botocore.config import Config
from botocore.exceptions import EventStreamError
from checks import TOOLS, Said, Surface


class Converse(Surface):
    name = "py boto3 converse"
    stops = {"end": "end_turn", "tools": "tool_use", "length": "max_tokens"}
    usage = (1000, 200, 17, 1217)
    kinds = {400: "ValidationException", 429: "ThrottlingException"}

    def __init__(self, client):
        self.client = client

    def ask(self, model, turns, *, system, stream, tokens=1024, tools=False, choice=None, thinking=False, schema=None):
        asked = {"modelId": model, "messages": turns, "system": [{"text": system}], "inferenceConfig": {"maxTokens": tokens}}
        if tools:
            asked["toolConfig"] = {"toolChoice": {"tool": {"name": choice}} if choice else {"auto": {}}, "tools": [
                {"toolSpec": {"name": name, "description": tool["description"], "inputSchema": {"json": tool["schema"]}}}
                for name, tool in TOOLS.items()
            ]}
        if thinking:
            asked["additionalModelRequestFields"] = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
        if schema:
            form = {"jsonSchema": {"name": "answer", "schema": json.dumps(schema)}}
            asked["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": form}}
        if not stream:
            answer = self.client.converse(**asked)
            return said(answer["output"]["message"]["content"], answer["stopReason"], answer["usage"])
        return said(*collected(self.client.converse_stream(**asked)["stream"]))

    def user(self, text, png=None, pdf=None):
        image = [{"image": {"format": "png", "source": {"bytes": base64.b64decode(png)}}}] if png else []
        file = [{"document": {"format": "pdf", "name": "page", "source": {"bytes": base64.b64decode(pdf)}}}] if pdf else []
        return {"role": "user", "content": [*image, *file, {"text": text}]}

    def results(self, calls, results):
        return [{"role": "user", "content": [
            {"toolResult": {"toolUseId": call[0], "content": [{"text": text}], "status": "error" if is_error else "success"}}
            for call, (text, is_error) in zip(calls, results, strict=True)
        ]}]

    def failure(self, error):
        return failure(self.client, error)


def failure(client, error):
    exceptions = client.exceptions
    if isinstance(error, (exceptions.ValidationException, exceptions.ThrottlingException)):
        return error.response["ResponseMetadata"]["HTTPStatusCode"], type(error).__name__, error.response["Error"]["Message"]
    if isinstance(error, EventStreamError):
        kind = error.response["Error"]["Code"]
        return None, kind[:1].upper() + kind[1:], error.response["Error"]["Message"]
    return None


def collected(events):
    """The blocks of a stream, as an answer that is no stream has them."""
    blocks, stop, usage = {}, None, None
    for event in events:
        [(kind, data)] = event.items()
        block = blocks.setdefault(data["contentBlockIndex"], {}) if "contentBlockIndex" in data else None
        match kind:
            case "contentBlockStart":
                block["toolUse"] = {**data["start"]["toolUse"], "input": ""}
            case "contentBlockDelta":
                delta = data["delta"]
                if "text" in delta:
                    block["text"] = block.get("text", "") + delta["text"]
                elif "toolUse" in delta:
                    block["toolUse"]["input"] += delta["toolUse"]["input"]
                else:
                    thought = block.setdefault("reasoningContent", {"reasoningText": {"text": ""}})["reasoningText"]
                    reasoning = delta["reasoningContent"]
                    thought["text"] += reasoning.get("text", "")
                    if "signature" in reasoning:
                        thought["signature"] = reasoning["signature"]
            case "contentBlockStop":
                if "toolUse" in block:
                    block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
            case "messageStop":
                stop = data["stopReason"]
            case "metadata":
                usage = data["usage"]
    checks.equal(kind, "metadata", "last event")
    return [blocks[index] for index in sorted(blocks)], stop, usage


def said(blocks, stop, usage):
    thoughts = [block["reasoningContent"]["reasoningText"] for block in blocks if "reasoningContent" in block]
    uses = [block["toolUse"] for block in blocks if "toolUse" in block]
    return Said(
        text="".join(block.get("text", "") for block in blocks),
        thinking="".join(thought["text"] for thought in thoughts),
        calls=[(use["toolUseId"], use["name"], use["input"]) for use in uses],
        stop=stop,
        usage=(usage["inputTokens"], usage.get("cacheReadInputTokens"), usage["outputTokens"], usage["totalTokens"]),
        turns=[{"role": "assistant", "content": blocks}],
    )


def client(base, key):
    """The key takes the place of the access key id: the SDK sends bearer tokens over TLS alone."""
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=base, config=once, aws_access_key_id=key, aws_secret_access_key="none"
    )


if __name__ == "__main__":
    checks.main(lambda base, key: [Converse(client(base, key))])
