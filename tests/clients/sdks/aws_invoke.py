"""PyPI `boto3`: InvokeModel, whole and in frames, with bodies of Anthropic Messages."""

import json

import aws_boto3
import checks
from anthropic import Anthropic
from anthropic.types import Message
from anthropic_messages import Messages, said


class Invoke(Messages):
    name = "py boto3 invoke"

    def __init__(self, runtime):
        # Only to put a conversation into the words of Messages; it calls nobody.
        super().__init__(Anthropic(api_key="none"))
        self.runtime = runtime
        self.alone = []

    def ask(self, model, turns, *, stream, **rest):
        body = self.asked(model, turns, **rest)
        del body["model"]
        wanted = {"modelId": model, "body": json.dumps({"anthropic_version": "bedrock-2023-05-31", **body})}
        if not stream:
            return said(checks.strict(Message.model_validate_json(self.runtime.invoke_model(**wanted)["body"].read())))
        events = [json.loads(event["chunk"]["bytes"]) for event in self.runtime.invoke_model_with_response_stream(**wanted)["body"]]
        return said(assembled(events))

    kinds = aws_boto3.Converse.kinds

    def failure(self, error):
        return aws_boto3.failure(self.runtime, error)


def assembled(events):
    """The message of a stream, put together as the API describes it."""
    message, partial = events[0]["message"], {}
    checks.equal((events[0]["type"], events[-1]["type"]), ("message_start", "message_stop"), "first and last event")
    for event in events:
        match event["type"]:
            case "content_block_start":
                message["content"].append(event["content_block"])
            case "content_block_delta":
                block, delta = message["content"][event["index"]], event["delta"]
                if delta["type"] == "input_json_delta":
                    partial[event["index"]] = partial.get(event["index"], "") + delta["partial_json"]
                else:
                    name = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}[delta["type"]]
                    block[name] = block.get(name, "") + delta[name]
            case "content_block_stop" if event["index"] in partial:
                message["content"][event["index"]]["input"] = json.loads(partial[event["index"]] or "{}")
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    assert "amazon-bedrock-invocationMetrics" in events[-1], events[-1]
    return Message.model_validate(message)


if __name__ == "__main__":
    checks.main(lambda base, key: [Invoke(aws_boto3.client(base, key))])
