"""The official SDK of AWS against the simulator, whose frames of Bedrock are Tollgate's: its own parser checks every length and checksum.

    bedrock.py BASE_URL
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import EventStreamError

client = boto3.client(
    "bedrock-runtime",
    region_name="us-east-1",
    endpoint_url=sys.argv[1],
    aws_access_key_id="none",
    aws_secret_access_key="none",
    config=Config(retries={"max_attempts": 1}),
)
model = "us.anthropic.claude-sonnet-5-5"


def ask(text):
    return {"modelId": model, "messages": [{"role": "user", "content": [{"text": text}]}]}


def body(text):
    messages = [{"role": "user", "content": text}]
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 64, "messages": messages})


def said(stream):
    return [next(iter(event.items())) for event in stream]


whole = client.converse(**ask("[[simulate text=pong]]"))
assert whole["output"]["message"]["content"] == [{"text": "pong"}] and whole["stopReason"] == "end_turn", whole

events = said(client.converse_stream(**ask("[[simulate text=pong]]"))["stream"])
text = "".join(event["delta"]["text"] for kind, event in events if kind == "contentBlockDelta")
assert text == "pong" and [kind for kind, _ in events][-2:] == ["messageStop", "metadata"], events
assert events[-1][1]["usage"] == whole["usage"], events

chunks = said(client.invoke_model_with_response_stream(modelId=model, body=body("[[simulate text=pong]]"))["body"])
invoked = [json.loads(chunk["bytes"]) for _, chunk in chunks]
assert [event["type"] for event in invoked][:: len(invoked) - 1] == ["message_start", "message_stop"], invoked
assert "amazon-bedrock-invocationMetrics" in invoked[-1], invoked

try:
    said(client.converse_stream(**ask("[[simulate text=pong error-event=2 status=429]]"))["stream"])
    raise SystemExit("a stream that failed did not raise")
except EventStreamError as failure:
    assert failure.response["Error"]["Code"] == "throttlingException", failure

print(f"boto3 {boto3.__version__} (Python): Bedrock whole, in frames, invoked in frames, failed")
