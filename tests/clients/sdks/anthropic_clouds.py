"""PyPI `anthropic`: its clients for Claude on Bedrock (InvokeModel) and on Vertex (rawPredict)."""

import anthropic
import checks
from anthropic_messages import Messages, counted


class Bedrock(Messages):
    name = "py anthropic bedrock"

    def __init__(self, client):
        super().__init__(client)
        self.alone = []

    # Bedrock names the kind of an answer in a header alone, and the SDK its class after the status; in a stream the frame says it.
    def told(self, error):
        if "message" in error.body:
            return self.kinds[error.status_code], error.body["message"]
        kind = error.body["error"]["type"]
        return self.kinds[429] if kind == "throttlingException" else kind, error.body["error"]["message"]


class Vertex(Messages):
    name = "py anthropic vertex"

    def __init__(self, client):
        super().__init__(client)
        self.alone = [("count", False, [counted])]


def make(base, key):
    once = {"max_retries": 0}
    yield Bedrock(anthropic.AnthropicBedrock(base_url=base, api_key=key, aws_region="us-east-1", **once))
    yield Vertex(anthropic.AnthropicVertex(base_url=f"{base}/v1", access_token=key, region="global", project_id="p", **once))


if __name__ == "__main__":
    checks.main(make)
