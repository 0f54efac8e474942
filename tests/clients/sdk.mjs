// The official TypeScript SDK through Tollgate: whole and streamed, a count, the model list, and a refusal.
//   node sdk.mjs BASE_URL KEY          all of that
//   node sdk.mjs BASE_URL KEY broke    one request, which the budget of the key refuses
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import Anthropic from "@anthropic-ai/sdk";

const [baseURL, authToken, broke] = process.argv.slice(2);
const client = new Anthropic({ baseURL, authToken, apiKey: null, maxRetries: 0 });
const ask = { model: "claude-sonnet-5-5", max_tokens: 64, messages: [{ role: "user", content: "Say hello." }] };
const manifest = new URL("./node_modules/@anthropic-ai/sdk/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(manifest, "utf8"));

if (broke) {
  const refusal = await client.messages.create(ask).catch((error) => error);
  assert.ok(refusal instanceof Anthropic.RateLimitError, `${refusal}`);
  const { type, message } = refusal.error.error;
  assert.equal(type, "billing_error");
  assert.match(message, /^The budget of the key "poor"/);
  console.log(`@anthropic-ai/sdk ${version} (TypeScript): ${type}`);
  process.exit();
}

const whole = await client.messages.create(ask);
assert.equal(whole.type, "message");
assert.ok(whole.content[0].text && whole.usage.input_tokens > 0 && whole.usage.output_tokens > 0);

let text = "";
const stream = client.messages.stream(ask).on("text", (piece) => (text += piece));
const final = await stream.finalMessage();
assert.equal(text, final.content[0].text);
assert.equal(final.stop_reason, "end_turn");

const count = await client.messages.countTokens({ model: ask.model, messages: ask.messages });
assert.ok(count.input_tokens > 0);

const models = await client.models.list();
assert.ok(models.data.some((model) => model.id.startsWith("claude-")));

await assert.rejects(
  new Anthropic({ baseURL, authToken: "tg_live_junk", apiKey: null, maxRetries: 0 }).messages.create(ask),
  (refusal) => refusal.status === 401 && /Tollgate/.test(refusal.message),
);

console.log(`@anthropic-ai/sdk ${version} (TypeScript): whole, streamed, counted, listed, refused`);
