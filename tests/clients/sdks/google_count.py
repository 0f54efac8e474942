"""PyPI `google-genai`: countTokens."""

import checks
from checks import Surface
from google import genai
from google.genai import types


class Count(Surface):
    name = "py google-genai"

    def __init__(self, client):
        self.client = client
        self.modes = []
        self.alone = [("count", False, [counted])]


def counted(surface, ask, model):
    count = surface.client.models.count_tokens(model=model, contents="How many tokens are these?").total_tokens
    assert 5 <= count <= 100, count


if __name__ == "__main__":
    checks.main(lambda base, key: [Count(genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base)))])
