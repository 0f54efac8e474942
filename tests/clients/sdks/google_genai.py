"""PyPI `google-genai`: generateContent, the model list."""

import base64

import checks
from checks import TOOLS, Said, Surface
from google import genai
from google.genai import errors, types


class Gemini(Surface):
    name = "py google-genai"
    stops = {"end": "STOP", "tools": "STOP", "length": "MAX_TOKENS"}
    usage = (1200, 200, 17, 1217)
    kinds = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED"}

    def __init__(self, client):
        self.client = client
        self.alone = [("models", False, [checks.listed])]

    def ask(self, model, turns, *, system, stream, tokens=1024, tools=False, choice=None, thinking=False, schema=None):
        config = {"system_instruction": system, "max_output_tokens": tokens}
        if tools:
            config["tools"] = [types.Tool(function_declarations=[
                types.FunctionDeclaration(name=name, description=tool["description"], parameters_json_schema=tool["schema"])
                for name, tool in TOOLS.items()
            ])]
            config["automatic_function_calling"] = types.AutomaticFunctionCallingConfig(disable=True)
        if choice:
            only = types.FunctionCallingConfig(mode="ANY", allowed_function_names=[choice])
            config["tool_config"] = types.ToolConfig(function_calling_config=only)
        if thinking:
            config["thinking_config"] = types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
        if schema:
            config["response_mime_type"], config["response_json_schema"] = "application/json", schema
        asked = {"model": model, "contents": turns, "config": types.GenerateContentConfig(**config)}
        if stream:
            return said(list(self.client.models.generate_content_stream(**asked)))
        return said([self.client.models.generate_content(**asked)])

    def user(self, text, png=None, pdf=None):
        media = [("image/png", png), ("application/pdf", pdf)]
        parts = [types.Part.from_bytes(data=base64.b64decode(data), mime_type=kind) for kind, data in media if data]
        return types.Content(role="user", parts=[*parts, types.Part.from_text(text=text)])

    def results(self, calls, results):
        return [types.Content(role="user", parts=[
            types.Part(function_response=types.FunctionResponse(
                id=call[0], name=call[1], response={"error" if is_error else "output": text},
            ))
            for call, (text, is_error) in zip(calls, results, strict=True)
        ])]

    def failure(self, error):
        return (error.code, error.status, error.message) if isinstance(error, errors.APIError) else None

    def models(self):
        return [model.name.removeprefix("models/") for model in self.client.models.list()]


def said(chunks):
    parts = [part for chunk in chunks for part in (chunk.candidates[0].content and chunk.candidates[0].content.parts) or []]
    stops = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates[0].finish_reason]
    assert len(stops) == 1, f"reasons to finish: {stops}"
    usage = chunks[-1].usage_metadata
    calls = [part.function_call for part in parts if part.function_call]
    return Said(
        text="".join(part.text for part in parts if part.text and not part.thought),
        thinking="".join(part.text for part in parts if part.text and part.thought),
        # The Gemini API may leave out the id; the SDK's own users go by position then.
        calls=[(call.id or f"{index}", call.name, call.args or {}) for index, call in enumerate(calls)],
        stop=stops[0].value,
        usage=(usage.prompt_token_count, usage.cached_content_token_count, usage.candidates_token_count, usage.total_token_count),
        turns=[types.Content(role="model", parts=parts)],
    )


if __name__ == "__main__":
    checks.main(lambda base, key: [Gemini(genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base)))])
