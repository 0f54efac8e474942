"""PyPI `anthropic`: its clients for Claude on Bedrock (InvokeModel) and on Vertex (rawPredict)."""

import anthropic
import checks
from anthropic_messages import Messages, counted


class Bedrock(Messages):
    name = "py anthropic bedrock"

    def __init__(self, client):
        super().__init__(client)
        self.alone = []

    # Bedrock names the kind in a header alone, of which the SDK makes its class.
    def told(self, error):
        return self.kinds.get(error.status_code, "error"), error.body["message"]


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
