// npm `openai`: Chat Completions, Responses, the model list.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { listed, main, offered } from "./checks.mjs";

class OpenAi {
  kinds = { 400: "invalid_request_error", 429: "rate_limit_exceeded" };

  constructor(client) {
    this.client = client;
  }

  failure(error) {
    const kinds = { 400: OpenAI.BadRequestError, 429: OpenAI.RateLimitError };
    if (error.status && error instanceof (kinds[error.status] ?? OpenAI.NotFoundError)) {
      return [error.status, error.code || error.type, error.error.message];
    }
    // What fails in the middle of a stream has no status.
    return error.constructor === OpenAI.APIError ? [undefined, error.code || error.type, error.error.message] : null;
  }

  async models() {
    const names = [];
    for await (const model of this.client.models.list()) names.push(model.id);
    return names;
  }
}

class Chat extends OpenAi {
  name = "js openai chat";
  showsThinking = true;
  stops = { end: "stop", tools: "tool_calls", length: "length" };
  usage = [1200, 200, 17, 1217];
  alone = [["models", false, [listed]]];

  async ask(model, turns, { system, stream, tokens, tools, choice, thinking, schema }) {
    const asked = { model, max_completion_tokens: tokens, messages: [{ role: "developer", content: system }, ...turns] };
    if (tools) {
      const functions = offered.map(({ name, description, schema }) => ({ name, description, parameters: schema }));
      asked.tools = functions.map((each) => ({ type: "function", function: each }));
      asked.tool_choice = choice ? { type: "function", function: { name: choice } } : "auto";
    }
    if (thinking) asked.reasoning_effort = "high";
    if (schema) asked.response_format = { type: "json_schema", json_schema: { name: "answer", schema, strict: true } };
    if (!stream) return this.said(await this.client.chat.completions.create(asked));
    const chunks = [];
    for await (const chunk of await this.client.chat.completions.create({ ...asked, stream: true })) chunks.push(chunk);
    assert.ok(!chunks.some(({ usage }) => usage), "usage unasked");
    const events = this.client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } });
    // The stream's own end refuses an answer that was cut, and gives it nevertheless.
    const answer = await events.finalChatCompletion().catch((error) => {
      if (error.constructor.name !== "LengthFinishReasonError") throw error;
      return events.currentChatCompletionSnapshot;
    });
    return this.said(answer);
  }

  said({ choices: [{ message, finish_reason }], usage }) {
    const calls = message.tool_calls ?? [];
    const turn = { role: "assistant", content: message.content };
    if (calls.length) turn.tool_calls = calls.map(({ id, function: { name, arguments: input } }) => ({ id, type: "function", function: { name, arguments: input } }));
    return {
      text: message.content ?? "",
      thinking: message.reasoning_content ?? "",
      calls: calls.map(({ id, function: { name, arguments: input } }) => [id, name, JSON.parse(input)]),
      stop: finish_reason,
      usage: usage && [usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens, usage.completion_tokens, usage.total_tokens],
      turns: [turn],
    };
  }

  user(text, png, pdf) {
    const image = { type: "image_url", image_url: { url: `data:image/png;base64,${png}` } };
    const file = { type: "file", file: { filename: "page.pdf", file_data: `data:application/pdf;base64,${pdf}` } };
    return { role: "user", content: [...(png ? [image] : []), ...(pdf ? [file] : []), { type: "text", text }] };
  }

  results(calls, results) {
    return calls.map(([id], index) => ({ role: "tool", tool_call_id: id, content: results[index][0] }));
  }
}

class Responses extends OpenAi {
  name = "js openai responses";
  stops = { end: ["completed", undefined], tools: ["completed", undefined], length: ["incomplete", "max_output_tokens"] };
  usage = [1200, 200, 17, 1217];
  showsThinking = true;

  async ask(model, turns, { system, stream, tokens, tools, choice, thinking, schema }) {
    const asked = { model, max_output_tokens: tokens, instructions: system, input: turns, store: false };
    if (tools) {
      const functions = offered.map(({ name, description, schema }) => ({ name, description, parameters: schema, strict: false }));
      asked.tools = functions.map((each) => ({ type: "function", ...each }));
      asked.tool_choice = choice ? { type: "function", name: choice } : "auto";
    }
    if (thinking) Object.assign(asked, { reasoning: { effort: "high", summary: "auto" }, include: ["reasoning.encrypted_content"] });
    if (schema) asked.text = { format: { type: "json_schema", name: "answer", schema, strict: true } };
    if (!stream) return this.said(await this.client.responses.create(asked));
    let pieces = "";
    const events = this.client.responses.stream(asked).on("response.output_text.delta", ({ delta }) => (pieces += delta));
    let failure;
    for await (const event of events) {
      if (event.type === "error") failure = event;
      if (event.type === "response.failed") failure = event.response.error;
    }
    // The SDK leaves it to its users to raise.
    if (failure) throw new OpenAI.APIError(undefined, failure, failure.message, undefined);
    const answer = this.said(await events.finalResponse());
    assert.equal(pieces, answer.text);
    return answer;
  }

  said({ output, status, incomplete_details, usage }) {
    const of = (kind) => output.filter(({ type }) => type === kind);
    return {
      text: of("message").flatMap(({ content }) => content).map(({ text }) => text).join(""),
      thinking: of("reasoning").flatMap(({ summary }) => summary).map(({ text }) => text).join(""),
      calls: of("function_call").map((call) => [call.call_id, call.name, JSON.parse(call.arguments)]),
      stop: [status, incomplete_details?.reason],
      usage: [usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens, usage.total_tokens],
      turns: output.map(sent),
    };
  }

  user(text, png, pdf) {
    const image = { type: "input_image", image_url: `data:image/png;base64,${png}`, detail: "auto" };
    const file = { type: "input_file", filename: "page.pdf", file_data: `data:application/pdf;base64,${pdf}` };
    return { role: "user", content: [...(png ? [image] : []), ...(pdf ? [file] : []), { type: "input_text", text }] };
  }

  results(calls, results) {
    return calls.map(([id], index) => ({ type: "function_call_output", call_id: id, output: results[index][0] }));
  }
}

// An item as the API takes it: without what the SDK added to it.
function sent({ parsed_arguments, content, ...item }) {
  return { ...item, ...(content && { content: content.map(({ parsed, ...part }) => part) }) };
}

await main((base, apiKey) => {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 });
  return [new Chat(client), new Responses(client)];
});
