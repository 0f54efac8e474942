"""PyPI `openai`: embeddings. Of the upstream dialects only those of OpenAI have them: elsewhere they must be refused in a sentence."""

import checks
import openai
from checks import Surface, strict


class Embeddings(Surface):
    name = "py openai"

    def __init__(self, client):
        self.client = client
        self.modes = []
        self.alone = [("embeddings", False, [embedded])]


def embedded(surface, ask, model):
    try:
        answers = [
            strict(surface.client.embeddings.create(model=model, input=["one", "two"], **form)) for form in ({}, {"encoding_format": "float"})
        ]
    except openai.APIStatusError as refusal:
        assert model not in ("to-chat", "to-responses") and "mbedding" in refusal.message, refusal
        return
    assert model in ("to-chat", "to-responses"), "an answer of a provider without embeddings"
    for answer in answers:
        checks.equal([item.index for item in answer.data], [0, 1], "places")
        assert all(item.embedding for item in answer.data) and answer.usage.prompt_tokens, answer
    checks.equal(answers[0].data[0].embedding, answers[1].data[0].embedding, "numbers, as base64 and as they are")


if __name__ == "__main__":
    checks.main(lambda base, key: [Embeddings(openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0))])
