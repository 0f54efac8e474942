// The clients of npm at servers of tools behind Tollgate: prints what one found, as one line of JSON.
//   node mcp_client.mjs URL KEY sdk|client          lists, and uses one of each thing that `fixture` has
//   node mcp_client.mjs URL KEY sdk|client twice    calls, says so, and calls again in the same session after a line of input
// `sdk` is @modelcontextprotocol/sdk, for revisions with sessions; `client` is @modelcontextprotocol/client, which finds out the revision.
import { createInterface } from "node:readline/promises";

const [url, key, which, what] = process.argv.slice(2);
const denied = "fixture__test_image_content";
const requestInit = { headers: { Authorization: `Bearer ${key}` } };
const fillIn = async (request) => ({
  action: "accept",
  content: Object.fromEntries(Object.keys(request.params.requestedSchema.properties).map((name) => [name, "ada"])),
});

async function connected() {
  const about = { name: "tollgate-test", version: "1" };
  const capabilities = { elicitation: {} };
  if (which === "sdk") {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const { ElicitRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
    const client = new Client(about, { capabilities });
    client.setRequestHandler(ElicitRequestSchema, fillIn);
    const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
    await client.connect(transport);
    return { client, revision: transport.protocolVersion };
  }
  const { Client, StreamableHTTPClientTransport } = await import("@modelcontextprotocol/client");
  const client = new Client(about, { capabilities, versionNegotiation: { mode: "auto" } });
  client.setRequestHandler("elicitation/create", fillIn);
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }));
  return { client, revision: client.getNegotiatedProtocolVersion() };
}

// What came of a call: a text, or why there is none.
async function outcome(name, args) {
  try {
    const result = await client.callTool({ name, arguments: args });
    const text = result.content.filter((part) => part.type === "text").map((part) => part.text).join(" ");
    return { text, is_error: Boolean(result.isError) };
  } catch (error) {
    return { refused: `${error.constructor.name}: ${error.message}` };
  }
}

const { client, revision } = await connected();
let found;
if (what === "twice") {
  console.log(JSON.stringify(await outcome("fixture__test_simple_text", {})));
  const input = createInterface({ input: process.stdin });
  await input.question("");
  input.close();
  found = await outcome("fixture__test_simple_text", {});
} else {
  const asks = revision < "2026" ? "test_elicitation" : "test_input_required_result_elicitation";
  const resource = await client.readResource({ uri: "fixture+test://static-text" });
  const prompt = await client.getPrompt({ name: "fixture__test_prompt_with_arguments", arguments: { arg1: "one", arg2: "two" } });
  found = {
    revision,
    tools: (await client.listTools()).tools.map((tool) => tool.name),
    resources: (await client.listResources()).resources.map((each) => each.uri),
    prompts: (await client.listPrompts()).prompts.map((each) => each.name),
    called: await outcome("fixture__test_simple_text", {}),
    resource: resource.contents[0].text,
    prompt: prompt.messages[0].content.text,
    elicited: await outcome(`fixture__${asks}`, revision < "2026" ? { message: "Who?" } : {}),
    denied: await outcome(denied, {}),
  };
}
console.log(JSON.stringify(found));
await client.close();
process.exit();
