"""The official Python SDK through Tollgate: whole and streamed, a count, the model list, and a refusal.

    sdk.py BASE_URL KEY          all of that
    sdk.py BASE_URL KEY broke    one request, which the budget of the key refuses
"""

import sys

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1], auth_token=sys.argv[2], api_key=None, max_retries=0)
ask = {"model": "claude-sonnet-5-5", "max_tokens": 64, "messages": [{"role": "user", "content": "Say hello."}]}

if sys.argv[3:] == ["broke"]:
    try:
        client.messages.create(**ask)
        raise SystemExit("a budget that is used up paid")
    except anthropic.RateLimitError as refusal:
        error = refusal.body["error"]
        assert (refusal.status_code, error["type"]) == (429, "billing_error"), refusal
        assert error["message"].startswith('The budget of the key "poor"'), refusal
    print(f"anthropic {anthropic.__version__} (Python): {error['type']}")
    raise SystemExit

whole = client.messages.create(**ask)
assert whole.type == "message" and whole.content[0].text, whole
assert whole.usage.input_tokens > 0 and whole.usage.output_tokens > 0, whole.usage

with client.messages.stream(**ask) as stream:
    text = "".join(stream.text_stream)
    final = stream.get_final_message()
assert text == final.content[0].text and final.stop_reason == "end_turn", final

count = client.messages.count_tokens(model=ask["model"], messages=ask["messages"])
assert count.input_tokens > 0, count

assert any(model.id.startswith("claude-") for model in client.models.list()), "the model list is empty"

try:
    anthropic.Anthropic(base_url=sys.argv[1], auth_token="tg_live_junk", api_key=None, max_retries=0).messages.create(**ask)
    raise SystemExit("a junk key was accepted")
except anthropic.AuthenticationError as refusal:
    assert "Tollgate" in str(refusal), refusal

print(f"anthropic {anthropic.__version__} (Python): whole, streamed, counted, listed, refused")
