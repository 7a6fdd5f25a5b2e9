// The conversations of both TypeScript clients: the same as steps.py, whose opening says what a step and a record are.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

// The packages are in tests/node, which is not above this file.
export const require = createRequire(new URL("../../node/package.json", import.meta.url));

const STEP_TAKES_AT_MOST = 8_000;
const COUNTED_WITHIN = 6_000;
const FILLERS = { string: "Ada", integer: 1, number: 1, boolean: true, array: [], object: {} };
const TOLD = /(list_changed|resources\/updated|elicitation\/complete)$/;

export const CAPABILITIES = { sampling: {}, roots: { listChanged: true }, elicitation: { form: {}, url: {} } };
export const INFO = { name: "interop", version: "1.0.0" };

export class Heard {
  action = "accept";
  lists = {};
  waiting = [];

  begin(step) {
    this.action = step.answer ?? "accept";
    this.lists = { progress: [], logs: [], heard: [], asked: [] };
  }

  note(kind, entry) {
    this.lists[kind].push(entry);
    for (const look of this.waiting.splice(0)) look();
  }

  async until(wanted) {
    const found = (what) => this.lists[what] ?? this.lists.heard.filter(([method]) => method === what);
    const missing = () => Object.entries(wanted).some(([what, number]) => found(what).length < number);
    while (missing()) await new Promise((resolve) => this.waiting.push(resolve));
  }

  onProgress = ({ progress, total }) => this.note("progress", [progress, total ?? null]);
  onLog = ({ params }) => this.note("logs", [params.level, params.data]);
  onNotification = ({ method, params }) => {
    if (TOLD.test(method)) this.note("heard", [method, params?.uri ?? null]);
  };

  elicit = ({ params }) => {
    const mode = params.mode ?? "form";
    this.note("asked", `${mode}: ${params.message}`);
    if (this.action !== "accept" || mode === "url") return { action: this.action };
    const { properties, required = [] } = params.requestedSchema;
    const content = Object.fromEntries(required.map((name) => [name, fill(properties[name])]));
    return { action: "accept", content };
  };

  sample = () => {
    this.note("asked", "sampling");
    return { role: "assistant", content: { type: "text", text: "Paris" }, model: "interop-model" };
  };

  roots = () => {
    this.note("asked", "roots");
    return { roots: [{ uri: "file:///interop", name: "interop" }] };
  };
}

function fill(schema) {
  return schema.default ?? schema.enum?.[0] ?? FILLERS[schema.type];
}

class Late extends Error {}

function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Late()), milliseconds)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function take(peer, heard, step) {
  heard.begin(step);
  const record = {};
  try {
    await within(STEP_TAKES_AT_MOST, doStep(peer, heard, step, record));
  } catch (error) {
    if (error instanceof Late) record.timeout = true;
    else if (error.code !== undefined) record.error = { code: error.code, message: error.message };
    else throw error;
  }
  for (const [kind, entries] of Object.entries(heard.lists)) if (entries.length) record[kind] = entries;
  return record;
}

async function doStep(peer, heard, step, record) {
  if (step.method === "about") record.result = peer.about();
  else if ("cancel" in step) record.result = await cancel(peer, heard, step);
  else if (step.pages) record.result = await allPages(peer, step.method);
  else record.result = await peer.request(step.method, step.params ?? {}, step.progress ? { onprogress: heard.onProgress } : {});
  await heard.until(step.until ?? {});
}

async function allPages(peer, method) {
  const member = { "resources/templates/list": "resourceTemplates" }[method] ?? method.split("/")[0];
  const items = [];
  let cursor;
  let pages = 0;
  do {
    const page = await peer.request(method, cursor === undefined ? {} : { cursor }, {});
    items.push(...page[member]);
    cursor = page.nextCursor;
    pages += 1;
  } while (cursor !== undefined);
  return { [member]: items, pages };
}

async function cancel(peer, heard, step) {
  const count = async () => {
    if (step.cancel === null) return 0;
    const result = await peer.request("tools/call", { name: step.cancel, arguments: {} }, {});
    return result.structuredContent.cancelled;
  };
  const before = await count();
  const abort = new AbortController();
  const call = peer.request(step.method, step.params, { onprogress: heard.onProgress, signal: abort.signal });
  const finished = call.then(() => true, () => false);
  await heard.until({ progress: 1 });
  abort.abort("interop");
  const giveUp = performance.now() + COUNTED_WITHIN;
  let noticed = step.cancel === null;
  while (!noticed && performance.now() < giveUp) noticed = (await count()) > before;
  return { finished: await finished, noticed };
}

export async function main(connect) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { target, mode, steps } = JSON.parse(line);
    const heard = new Heard();
    heard.begin({});
    const peer = await connect(target, mode, heard);
    const records = [];
    for (const step of steps) records.push(await take(peer, heard, step));
    await peer.close();
    process.stdout.write(`${JSON.stringify(records)}\n`);
  }
  process.exit(0);
}
