"""PyPI `openai`: Chat Completions, Responses, the model list."""

import json

import checks
import openai
from checks import TOOLS, Said, Surface, strict

KINDS = {400: openai.BadRequestError, 429: openai.RateLimitError}


class OpenAi(Surface):
    kinds = {400: "invalid_request_error", 429: "rate_limit_exceeded"}

    def __init__(self, client):
        self.client = client
        self.alone = [("models", False, [checks.listed])] if self.name.endswith("chat") else []

    def failure(self, error):
        if isinstance(error, openai.APIStatusError) and isinstance(error, KINDS.get(error.status_code, ())):
            return error.status_code, error.code or error.type, error.body["message"]
        # What fails in the middle of a stream has no status.
        return (None, error.code or error.type, error.message) if type(error) is openai.APIError else None

    def models(self):
        return [strict(model).id for model in self.client.models.list()]


class Chat(OpenAi):
    name = "py openai chat"
    stops = {"end": "stop", "tools": "tool_calls", "length": "length"}
    usage = (1200, 200, 17, 1217)

    def ask(self, model, turns, *, system, stream, tokens=1024, tools=False, choice=None, thinking=False, schema=None):
        asked = {"model": model, "max_completion_tokens": tokens, "messages": [{"role": "developer", "content": system}, *turns]}
        if tools:
            asked["tools"] = [
                {"type": "function", "function": {"name": name, "description": tool["description"], "parameters": tool["schema"]}}
                for name, tool in TOOLS.items()
            ]
            asked["tool_choice"] = {"type": "function", "function": {"name": choice}} if choice else "auto"
            asked["parallel_tool_calls"] = True
        if thinking:
            asked["reasoning_effort"] = "high"
        if schema:
            form = {"name": "answer", "schema": schema, "strict": True}
            asked["response_format"] = {"type": "json_schema", "json_schema": form}
        if not stream:
            return self.said(strict(self.client.chat.completions.create(**asked)))
        # Without usage, as most clients ask: none may come.
        assert not any(strict(chunk).usage for chunk in self.client.chat.completions.create(**asked, stream=True)), "usage unasked"
        try:
            with self.client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
                for _ in events:
                    pass
                return self.said(events.get_final_completion())
        except openai.LengthFinishReasonError as cut:
            return self.said(cut.completion)

    def said(self, completion):
        [choice] = completion.choices
        usage = strict(completion.usage)
        calls = choice.message.tool_calls or []
        assert choice.message.role == "assistant" and all(call.type == "function" for call in calls), choice
        # OpenAI has no field for thinking; the vendors who speak its dialect have these, and clients give back what is sealed.
        thought = {name: value for name, value in choice.message.model_extra.items() if name.startswith("reasoning_")}
        sealed = thought if "reasoning_details" in thought else {}
        turn = {"role": "assistant", "content": choice.message.content, **sealed}
        if calls:
            turn["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": call.function.arguments}}
                for call in calls
            ]
        return Said(
            text=choice.message.content or "",
            thinking=thought.get("reasoning_content", ""),
            calls=[(call.id, call.function.name, json.loads(call.function.arguments)) for call in calls],
            stop=choice.finish_reason,
            usage=(usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens, usage.total_tokens),
            turns=[turn],
        )

    def user(self, text, png=None, pdf=None):
        url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{png}"}}
        file = {"type": "file", "file": {"filename": "page.pdf", "file_data": f"data:application/pdf;base64,{pdf}"}}
        return {"role": "user", "content": [*([url] if png else []), *([file] if pdf else []), {"type": "text", "text": text}]}

    def results(self, calls, results):
        return [{"role": "tool", "tool_call_id": call[0], "content": text} for call, (text, _) in zip(calls, results, strict=True)]


class Responses(OpenAi):
    name = "py openai responses"
    stops = {"end": ("completed", None), "tools": ("completed", None), "length": ("incomplete", "max_output_tokens")}
    usage = (1200, 200, 17, 1217)

    def ask(self, model, turns, *, system, stream, tokens=1024, tools=False, choice=None, thinking=False, schema=None):
        asked = {"model": model, "max_output_tokens": tokens, "instructions": system, "input": turns, "store": False}
        if tools:
            asked["tools"] = [
                {"type": "function", "name": name, "description": tool["description"], "parameters": tool["schema"], "strict": False}
                for name, tool in TOOLS.items()
            ]
            asked["tool_choice"] = {"type": "function", "name": choice} if choice else "auto"
            asked["parallel_tool_calls"] = True
        if thinking:
            asked["reasoning"] = {"effort": "high", "summary": "auto"}
            asked["include"] = ["reasoning.encrypted_content"]
        if schema:
            asked["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}}
        if not stream:
            return self.said(strict(self.client.responses.create(**asked)))
        numbers = [strict(event).sequence_number for event in self.client.responses.create(**asked, stream=True)]
        checks.equal(numbers, list(range(len(numbers))), "sequence numbers")
        pieces, failure = [], None
        with self.client.responses.stream(**asked) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    pieces.append(event.delta)
                if event.type in ("error", "response.failed"):
                    failure = event if event.type == "error" else event.response.error
            if failure:  # the SDK leaves it to its users to raise
                raise openai.APIError(failure.message, request=None, body={"code": failure.code})
            answer = self.said(event.response)  # `get_final_response` has none where the answer was cut
        checks.equal("".join(pieces), answer.text, "streamed text")
        return answer

    def said(self, response):
        usage = response.usage
        items = response.output
        calls = [item for item in items if item.type == "function_call"]
        reasoning = [item for item in items if item.type == "reasoning"]
        return Said(
            text=response.output_text,
            thinking="".join(part.text for item in reasoning for part in item.summary),
            calls=[(call.call_id, call.name, json.loads(call.arguments)) for call in calls],
            stop=(response.status, response.incomplete_details and response.incomplete_details.reason),
            usage=(usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens, usage.total_tokens),
            turns=[sent(item.to_dict()) for item in items],
        )

    def user(self, text, png=None, pdf=None):
        url = {"type": "input_image", "image_url": f"data:image/png;base64,{png}", "detail": "auto"}
        file = {"type": "input_file", "filename": "page.pdf", "file_data": f"data:application/pdf;base64,{pdf}"}
        return {"role": "user", "content": [*([url] if png else []), *([file] if pdf else []), {"type": "input_text", "text": text}]}

    def results(self, calls, results):
        outputs = zip(calls, results, strict=True)
        return [{"type": "function_call_output", "call_id": call[0], "output": text} for call, (text, _) in outputs]


def sent(item):
    """An item as the API takes it: without what the SDK added to it."""
    for part in [item, *(item.get("content") or [])]:
        part.pop("parsed_arguments", None)
        part.pop("parsed", None)
    return item


if __name__ == "__main__":
    checks.main(lambda base, key: [
        surface(openai.OpenAI(base_url=f"{base}/v1", api_key=key, max_retries=0)) for surface in (Chat, Responses)
    ])
