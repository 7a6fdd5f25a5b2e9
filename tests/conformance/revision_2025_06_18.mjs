// Preloaded into the suite: it can run the scenarios of 2025-06-18 but still says 2025-11-25 when it connects.
// What it sends is rewritten here, and what both sides said about the version is noted, one JSON line each.
import { appendFileSync } from "node:fs";

const REVISION = "2025-06-18";
const HEADER = "mcp-protocol-version";
const NOTES = process.env.CONFORMANCE_WIRE_NOTES;
const plain = globalThis.fetch;

const note = (line) => NOTES && appendFileSync(NOTES, `${JSON.stringify(line)}\n`);

const messages = (text) => {
  const bodies = text.startsWith("{") ? [text] : text.split(/\r?\n/).filter((l) => l.startsWith("data:")).map((l) => l.slice(5));
  return bodies.filter((b) => b.trim()).map((b) => JSON.parse(b));
};

async function noteAnswer(response, id) {
  const answer = messages(await response.text()).find((m) => m.id === id);
  note({ negotiated: answer?.result?.protocolVersion ?? null });
}

globalThis.fetch = async function (input, init = {}) {
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  if (headers.has(HEADER)) headers.set(HEADER, REVISION);
  let { body } = init;
  let id;
  let method;
  if (typeof body === "string" && body.startsWith("{")) {
    const message = JSON.parse(body);
    ({ id, method } = message);
    if (method === "initialize") {
      message.params.protocolVersion = REVISION;
      body = JSON.stringify(message);
    }
  }
  note({ sent: method ?? init.method ?? "GET", header: headers.get(HEADER) });
  const response = await plain(input, { ...init, headers, body });
  if (method === "initialize") noteAnswer(response.clone(), id).catch((error) => note({ failed: String(error) }));
  return response;
};
