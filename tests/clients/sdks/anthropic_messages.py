"""PyPI `anthropic`: Messages, count_tokens, the model list."""

import anthropic
import checks
from checks import TOOLS, Said, Surface, strict


class Messages(Surface):
    name = "py anthropic messages"
    stops = {"end": "end_turn", "tools": "tool_use", "length": "max_tokens"}
    usage = (1000, 200, 17)
    kinds = {400: "invalid_request_error", 429: "rate_limit_error"}

    def __init__(self, client):
        self.client = client
        self.alone = [("count", False, [counted]), ("models", False, [checks.listed])]

    def asked(self, model, turns, *, system, tokens=1024, tools=False, choice=None, thinking=False, schema=None):
        asked = {"model": model, "max_tokens": tokens, "system": system, "messages": turns}
        if tools:
            offered = TOOLS.items()
            asked["tools"] = [
                {"name": name, "description": tool["description"], "input_schema": tool["schema"]} for name, tool in offered
            ]
            asked["tool_choice"] = {"type": "tool", "name": choice} if choice else {"type": "auto"}
        if thinking:
            asked["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        if schema:
            asked["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return asked

    def ask(self, model, turns, *, stream, **rest):
        asked = self.asked(model, turns, **rest)
        if not stream:
            return said(strict(self.client.messages.create(**asked)))
        for event in self.client.messages.create(**asked, stream=True):
            strict(event)
        with self.client.messages.stream(**asked) as events:
            pieces = "".join(events.text_stream)
            answer = said(events.get_final_message())
        checks.equal(pieces, answer.text, "streamed text")
        return answer

    def user(self, text, png=None, pdf=None):
        media = [("image", "image/png", png), ("document", "application/pdf", pdf)]
        blocks = [
            {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": data}} for kind, media_type, data in media if data
        ]
        return {"role": "user", "content": [*blocks, {"type": "text", "text": text}]}

    def results(self, calls, results):
        return [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": call[0], "content": text, "is_error": is_error}
            for call, (text, is_error) in zip(calls, results, strict=True)
        ]}]

    def failure(self, error):
        kinds = {400: anthropic.BadRequestError, 429: anthropic.RateLimitError}
        # What fails in the middle of a stream keeps the status of the stream.
        if isinstance(error, anthropic.APIStatusError) and isinstance(error, kinds.get(error.status_code, anthropic.APIStatusError)):
            return error.status_code, *self.told(error)
        return None

    def told(self, error):
        checks.equal(error.body["type"], "error", "type")
        return error.body["error"]["type"], error.body["error"]["message"]

    def models(self):
        return [strict(model).id for model in self.client.models.list(limit=1000)]


def said(message):
    usage = message.usage
    of = lambda kind: [block for block in message.content if block.type == kind]
    return Said(
        text="".join(block.text for block in of("text")),
        thinking="".join(block.thinking for block in of("thinking")),
        calls=[(block.id, block.name, block.input) for block in of("tool_use")],
        stop=message.stop_reason,
        usage=(usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens),
        turns=[{"role": "assistant", "content": [block.to_dict() for block in message.content]}],
    )


def counted(surface, ask, model):
    turns = [surface.user("How many tokens are these?")]
    count = strict(surface.client.messages.count_tokens(model=model, messages=turns, system="Be brief."))
    assert 5 <= count.input_tokens <= 100, count


if __name__ == "__main__":
    checks.main(lambda base, key: [Messages(anthropic.Anthropic(base_url=base, auth_token=key, api_key=None, max_retries=0))])
