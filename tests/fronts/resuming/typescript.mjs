// Calls a tool through a connection that breaks, with the TypeScript SDK 1.x or 2.x; says on stdout what came of it.
import { createRequire } from "node:module";

const require = createRequire(new URL("../../node/package.json", import.meta.url));
const [url, version] = process.argv.slice(2);
const logs = [];
const onLog = ({ params }) => void logs.push(params.data);
let client, transport;
if (version === "1") {
  const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { LoggingMessageNotificationSchema } = require("@modelcontextprotocol/sdk/types.js");
  client = new Client({ name: "resuming", version: "1" });
  client.setNotificationHandler(LoggingMessageNotificationSchema, onLog);
  transport = new StreamableHTTPClientTransport(new URL(url));
} else {
  const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
  client = new Client({ name: "resuming", version: "1" }, { versionNegotiation: { mode: "legacy" } });
  client.setNotificationHandler("notifications/message", onLog);
  transport = new StreamableHTTPClientTransport(new URL(url));
}
await client.connect(transport);
const result = await client.callTool({ name: "a" });
console.log(JSON.stringify({ said: [result.content[0].text], logs }));
await client.close();
