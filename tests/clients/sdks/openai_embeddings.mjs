// npm `openai`: embeddings. Of the upstream dialects only those of OpenAI have them: elsewhere they must be refused in a sentence.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { main } from "./checks.mjs";

async function embedded({ client }, ask, model) {
  const has = ["to-chat", "to-responses"].includes(model);
  const create = (form) => client.embeddings.create({ model, input: ["one", "two"], ...form });
  const answers = await Promise.all([create({}), create({ encoding_format: "float" })]).catch((refusal) => {
    if (!(refusal instanceof OpenAI.APIError) || has) throw refusal;
    assert.match(refusal.message, /mbedding/);
  });
  if (!answers) return;
  assert.ok(has, "an answer of a provider without embeddings");
  for (const { data, usage } of answers) {
    assert.deepEqual(data.map(({ index }) => index), [0, 1]);
    assert.ok(data.every(({ embedding }) => embedding.length) && usage.prompt_tokens);
  }
  assert.deepEqual([...answers[0].data[0].embedding], answers[1].data[0].embedding);
}

await main((base, apiKey) => {
  const client = new OpenAI({ baseURL: `${base}/v1`, apiKey, maxRetries: 0 });
  return [{ name: "js openai", client, modes: [], alone: [["embeddings", false, [embedded]]] }];
});
