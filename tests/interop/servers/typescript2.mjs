// A server written with the TypeScript SDK 2.x: on stdio, or on HTTP with `--http PORT`.
// With `--modern` it speaks only the revision of 2026.
// Over HTTP its legacy side has no sessions: each request is served alone.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { Readable } from "node:stream";

const require = createRequire(new URL("../../node/package.json", import.meta.url));
const mcp = require("@modelcontextprotocol/server");
const { serveStdio } = require("@modelcontextprotocol/server/stdio");

const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
const NOTE = "test://note";
const said = (text) => ({ content: [{ type: "text", text }] });
const object = (properties = {}) =>
  mcp.fromJsonSchema({ type: "object", properties, required: Object.keys(properties) });
const string = { type: "string" };
const number = { type: "number" };
let cancelled = 0;
let notify = null;

const NAME = { type: "object", properties: { name: string }, required: ["name"] };

function ask(key, request, read) {
  return async (_, ctx) => {
    const answer = mcp.inputResponse(ctx.mcpReq.inputResponses, key);
    if (answer.kind === "missing") return mcp.inputRequired({ inputRequests: { [key]: request }, requestState: "asked-once" });
    return said(read(answer));
  };
}

async function slow({ steps, seconds }, ctx) {
  const { _meta, signal } = ctx.mcpReq;
  for (let step = 1; step <= steps; step += 1) {
    const params = { progress: step, total: steps, progressToken: _meta?.progressToken };
    if (params.progressToken !== undefined) await ctx.mcpReq.notify({ method: "notifications/progress", params });
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, (1000 * seconds) / steps);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });
    if (signal.aborted) {
      cancelled += 1;
      throw new Error("cancelled");
    }
  }
  return said("done");
}

function build() {
  const info = { name: "typescript2", version: "1.0.0" };
  const server = new mcp.McpServer(info, {
    instructions: "A server of the TypeScript SDK 2.",
    capabilities: { logging: {}, resources: { subscribe: true, listChanged: true }, tools: { listChanged: true } },
  });
  const tool = (name, inputSchema, run, more = {}) => server.registerTool(name, { inputSchema, ...more }, run);
  tool("echo", object({ text: string }), async ({ text }) => said(text));
  tool("add", object({ a: number, b: number }), async ({ a, b }) => ({ ...said(`${a + b}`), structuredContent: { sum: a + b } }), {
    outputSchema: object({ sum: number }),
  });
  tool("picture", object(), async () => ({ content: [{ type: "image", data: PNG, mimeType: "image/png" }] }));
  tool("fail", object(), async () => {
    throw new Error("as it should");
  });
  tool("slow", object({ steps: number, seconds: number }), slow);
  tool("stats", object(), async () => ({ ...said(`${cancelled}`), structuredContent: { cancelled } }), {
    outputSchema: object({ cancelled: number }),
  });
  tool("log_at", object({ level: string, message: string }), async ({ level, message }, ctx) => {
    await ctx.mcpReq.log(level, message);
    return said("logged");
  });
  const form = mcp.inputRequired.elicit({ message: "What is your name?", requestedSchema: NAME });
  tool("ask", object(), ask("name", form, (a) => (a.action === "accept" ? `accept: ${a.content.name}` : a.action)));
  const url = mcp.inputRequired.elicitUrl({ message: "Please confirm", url: "https://example.com/x" });
  tool("ask_url", object(), ask("url", url, (a) => a.action));
  const prompt = { messages: [{ role: "user", content: { type: "text", text: "Hello?" } }], maxTokens: 9 };
  const sampling = mcp.inputRequired.createMessage(prompt);
  tool("ask_model", object(), ask("model", sampling, ({ result }) => `${result.model}: ${result.content.text}`));
  tool("show_roots", object(), ask("roots", mcp.inputRequired.listRoots(), (a) => a.roots.map((root) => root.uri).join(" ")));
  tool("toggle_tool", object(), async () => (notify ? notify.toolsChanged() : server.sendToolListChanged(), said("announced")));
  tool("touch", object(), async () => {
    if (notify) notify.resourceUpdated(NOTE);
    else await server.server.sendResourceUpdated({ uri: NOTE });
    return said("touched");
  });
  const contents = (uri, text) => ({ contents: [{ uri: String(uri), mimeType: "text/plain", text }] });
  server.registerResource("note", NOTE, { mimeType: "text/plain" }, async (uri) => contents(uri, "a note"));
  const template = new mcp.ResourceTemplate("test://item/{number}", { list: undefined });
  server.registerResource("item", template, {}, async (uri, { number }) => contents(uri, `item ${number}`));
  const argsSchema = mcp.fromJsonSchema({ type: "object", properties: { name: string }, required: ["name"] });
  const message = ({ name }) => ({ messages: [{ role: "user", content: { type: "text", text: `Greet ${name}.` } }] });
  server.registerPrompt("greet", { argsSchema }, message);
  return server;
}

async function answer(handler, request, response) {
  const controller = new AbortController();
  response.on("close", () => controller.abort());
  const hasBody = !["GET", "DELETE"].includes(request.method);
  const body = hasBody ? { body: Readable.toWeb(request), duplex: "half" } : {};
  const url = `http://${request.headers.host}${request.url}`;
  const given = { method: request.method, headers: request.headers, signal: controller.signal, ...body };
  const answered = await handler.fetch(new Request(url, given));
  response.writeHead(answered.status, Object.fromEntries(answered.headers));
  response.flushHeaders();
  if (answered.body) for await (const chunk of answered.body) response.write(chunk);
  response.end();
}

const at = process.argv.indexOf("--http");
if (at < 0) {
  serveStdio(build);
} else {
  const legacy = process.argv.includes("--modern") ? "reject" : "stateless";
  const handler = mcp.createMcpHandler(build, { legacy });
  notify = handler.notify;
  const shown = (error) => console.error(error);
  createServer((request, response) => answer(handler, request, response).catch(shown)).listen(
    Number(process.argv[at + 1]),
    "127.0.0.1",
  );
}
