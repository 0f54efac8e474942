// What each SDK is asked and must understand, as `checks.py` has it, out of the same `scenario.json`.
//
// A script gives surfaces, which put it into the SDK's words, and calls `main`:
//   node SCRIPT BASE_URL KEY UPSTREAM...
// One JSON line a check: row, upstream, check, and the fault; null where it passed.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

export const scenario = JSON.parse(readFileSync(new URL("./scenario.json", import.meta.url), "utf8"));
export const offered = Object.entries(scenario.tools_offered).map(([name, tool]) => ({ name, ...tool }));

async function text(surface, ask, model) {
  const { prompt, says } = scenario.text;
  const said = await ask(model, [surface.user(prompt)]);
  assert.deepEqual([said.text, said.calls, said.stop, said.usage], [says, [], surface.stops.end, surface.usage]);
}

async function length(surface, ask, model) {
  const { prompt, says, tokens } = scenario.length;
  const said = await ask(model, [surface.user(prompt)], { tokens });
  assert.deepEqual([said.text, said.stop], [says, surface.stops.length]);
}

async function tools(surface, ask, model) {
  await loop(surface, ask, model, scenario.tools, false);
}

async function thinking(surface, ask, model) {
  await loop(surface, ask, model, scenario.thinking, true);
}

async function loop(surface, ask, model, part, thinks) {
  const asked = [surface.user(part.prompt)];
  const offer = { tools: true, thinking: thinks, tokens: 4096 };
  const said = await ask(model, asked, offer);
  if (thinks && surface.showsThinking) assert.equal(said.thinking, part.thinks);
  assert.deepEqual([said.text, said.calls.map(([, name, input]) => [name, input]), said.stop], [part.says, part.calls, surface.stops.tools]);
  const ids = said.calls.map(([id]) => id);
  assert.ok(ids.every(Boolean) && new Set(ids).size === ids.length, `ids of calls: ${ids}`);
  assert.ok(said.usage.at(0) && said.usage.at(-1), `usage: ${said.usage}`);
  const then = await ask(model, [...asked, ...said.turns, ...surface.results(said.calls, part.results)], offer);
  assert.deepEqual([then.text, then.calls, then.stop], [part.then, [], surface.stops.end]);
}

async function image(surface, ask, model) {
  const { prompt, png, says } = scenario.image;
  assert.equal((await ask(model, [surface.user(prompt, png)])).text, says);
}

async function document(surface, ask, model) {
  const { prompt, pdf, says } = scenario.document;
  assert.equal((await ask(model, [surface.user(prompt, null, pdf)])).text, says);
}

async function choice(surface, ask, model) {
  const { prompt, name, calls } = scenario.choice;
  const said = await ask(model, [surface.user(prompt)], { tools: true, choice: name });
  assert.deepEqual(said.calls.map(([, name, input]) => [name, input]), calls);
}

async function schema(surface, ask, model) {
  const { prompt, schema, gives } = scenario.schema;
  const said = await ask(model, [surface.user(prompt)], { schema });
  assert.deepEqual(JSON.parse(said.text), gives);
}

async function failed(surface, ask, model, prompt) {
  const failure = await ask(model, [surface.user(prompt)]).then(
    (said) => assert.fail(`no error, but ${JSON.stringify(said)}`),
    (error) => error,
  );
  const told = surface.failure(failure);
  if (!told) throw failure;
  return told;
}

async function refused(surface, ask, model) {
  for (const { prompt, route, status, says } of scenario.refused)
    assert.deepEqual(await failed(surface, ask, model.replace("to-", `${route}-`), prompt), [status, surface.kinds[status], says]);
}

async function broken(surface, ask, model) {
  const [, kind, sentence] = await failed(surface, ask, model, scenario.broken.prompt);
  assert.deepEqual([kind, sentence], [surface.kinds[429], scenario.broken.says]);
}

async function severed(surface, ask, model) {
  const [, kind, sentence] = await failed(surface, ask, model, scenario.severed.prompt);
  assert.ok(kind && sentence, `kind ${kind}, sentence ${sentence}`);
}

export async function listed(surface, ask, model) {
  const names = await surface.models();
  assert.ok(names.includes(model), `${model} is not among ${names.length} models`);
}

const CHECKS = [text, length, tools, choice, thinking, image, document, schema, refused];
const MODES = [["whole", false, CHECKS], ["streamed", true, [...CHECKS, broken, severed]]];

export async function main(make) {
  const [base, key, ...upstreams] = process.argv.slice(2);
  for (const surface of make(base, key)) {
    for (const [mode, stream, checks] of [...(surface.modes ?? MODES), ...(surface.alone ?? [])]) {
      const row = `${surface.name} ${mode}`;
      for (const upstream of upstreams) {
        for (const check of checks) {
          const system = scenario.system.replace("%s", `${row}/${upstream}/${check.name}`.replaceAll(" ", "/"));
          const ask = (model, turns, rest = {}) => surface.ask(model, turns, { system, stream, tokens: 1024, ...rest });
          const fault = await check(surface, ask, `to-${upstream}`).then(() => null, (error) => `${error.name}: ${error.message}`);
          console.log(JSON.stringify({ row, upstream, check: check.name, fault }));
        }
      }
    }
  }
}
