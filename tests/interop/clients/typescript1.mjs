// The TypeScript SDK 1.x as a client.
import { CAPABILITIES, INFO, main, require } from "./steps.mjs";

const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { SSEClientTransport } = require("@modelcontextprotocol/sdk/client/sse.js");
const { StdioClientTransport } = require("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const types = require("@modelcontextprotocol/sdk/types.js");

const TOLD = [
  types.ToolListChangedNotificationSchema,
  types.PromptListChangedNotificationSchema,
  types.ResourceListChangedNotificationSchema,
  types.ResourceUpdatedNotificationSchema,
  types.ElicitationCompleteNotificationSchema,
];

await main(async (target, _mode, heard) => {
  const client = new Client(INFO, { capabilities: CAPABILITIES });
  client.setRequestHandler(types.ElicitRequestSchema, heard.elicit);
  client.setRequestHandler(types.CreateMessageRequestSchema, heard.sample);
  client.setRequestHandler(types.ListRootsRequestSchema, heard.roots);
  client.setNotificationHandler(types.LoggingMessageNotificationSchema, heard.onLog);
  for (const schema of TOLD) client.setNotificationHandler(schema, heard.onNotification);
  const Http = target.url?.endsWith("/sse") ? SSEClientTransport : StreamableHTTPClientTransport;
  const transport = target.url
    ? new Http(new URL(target.url))
    : new StdioClientTransport({ command: target.command[0], args: target.command.slice(1) });
  let protocolVersion = null;
  transport.setProtocolVersion = ((given) => (version) => {
    protocolVersion = version;
    given?.call(transport, version);
  })(transport.setProtocolVersion);
  await client.connect(transport);
  const senders = {
    ping: () => client.ping(),
    "tools/list": (params) => client.listTools(params),
    "tools/call": (params, options) => client.callTool(params, undefined, options),
    "resources/list": (params) => client.listResources(params),
    "resources/templates/list": (params) => client.listResourceTemplates(params),
    "resources/read": (params) => client.readResource(params),
    "resources/subscribe": (params) => client.subscribeResource(params),
    "resources/unsubscribe": (params) => client.unsubscribeResource(params),
    "prompts/list": (params) => client.listPrompts(params),
    "prompts/get": (params) => client.getPrompt(params),
    "completion/complete": (params) => client.complete(params),
    "logging/setLevel": (params) => client.setLoggingLevel(params.level),
    "notifications/roots/list_changed": () => client.sendRootsListChanged(),
  };
  return {
    about: () => ({
      protocolVersion,
      serverInfo: client.getServerVersion(),
      capabilities: client.getServerCapabilities(),
      instructions: client.getInstructions(),
    }),
    request: async (method, params, options) => (await senders[method](params, options)) ?? {},
    close: async () => {
      await transport.terminateSession?.();
      await client.close();
    },
  };
});
