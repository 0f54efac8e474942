// npm `@anthropic-ai/sdk`: Messages, countTokens, the model list.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { listed, main, offered } from "./checks.mjs";

class Messages {
  name = "js anthropic messages";
  stops = { end: "end_turn", tools: "tool_use", length: "max_tokens" };
  usage = [1000, 200, 17];
  kinds = { 400: "invalid_request_error", 429: "rate_limit_error" };
  showsThinking = true;
  alone = [["count", false, [counted]], ["models", false, [listed]]];

  constructor(client) {
    this.client = client;
  }

  async ask(model, turns, { system, stream, tokens, tools, choice, thinking, schema }) {
    const asked = { model, max_tokens: tokens, system, messages: turns };
    if (tools) {
      asked.tools = offered.map(({ name, description, schema }) => ({ name, description, input_schema: schema }));
      asked.tool_choice = choice ? { type: "tool", name: choice } : { type: "auto" };
    }
    if (thinking) asked.thinking = { type: "enabled", budget_tokens: 1024 };
    if (schema) asked.output_config = { format: { type: "json_schema", schema } };
    if (!stream) return said(await this.client.messages.create(asked));
    let pieces = "";
    const events = this.client.messages.stream(asked).on("text", (piece) => (pieces += piece));
    const answer = said(await events.finalMessage());
    assert.equal(pieces, answer.text);
    return answer;
  }

  user(text, png, pdf) {
    const medium = (type, media_type, data) => (data ? [{ type, source: { type: "base64", media_type, data } }] : []);
    return { role: "user", content: [...medium("image", "image/png", png), ...medium("document", "application/pdf", pdf), { type: "text", text }] };
  }

  results(calls, results) {
    const content = calls.map(([id], index) => {
      const [text, is_error] = results[index];
      return { type: "tool_result", tool_use_id: id, content: text, is_error };
    });
    return [{ role: "user", content }];
  }

  failure(error) {
    const kinds = { 400: Anthropic.BadRequestError, 429: Anthropic.RateLimitError };
    if (!(error instanceof (kinds[error.status] ?? Anthropic.APIError))) return null;
    assert.equal(error.error.type, "error");
    return [error.status, error.error.error.type, error.error.error.message];
  }

  async models() {
    const names = [];
    for await (const model of this.client.models.list({ limit: 1000 })) names.push(model.id);
    return names;
  }
}

function said({ content, stop_reason, usage }) {
  const of = (kind) => content.filter(({ type }) => type === kind);
  return {
    text: of("text").map(({ text }) => text).join(""),
    thinking: of("thinking").map(({ thinking }) => thinking).join(""),
    calls: of("tool_use").map(({ id, name, input }) => [id, name, input]),
    stop: stop_reason,
    usage: [usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens],
    turns: [{ role: "assistant", content }],
  };
}

async function counted(surface, ask, model) {
  const { input_tokens: count } = await surface.client.messages.countTokens({ model, messages: [surface.user("How many tokens?")] });
  assert.ok(count >= 5 && count <= 100, `${count}`);
}

await main((baseURL, authToken) => [new Messages(new Anthropic({ baseURL, authToken, apiKey: null, maxRetries: 0 }))]);
