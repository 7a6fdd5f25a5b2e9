// The TypeScript SDK 2.x as a client, in each of its modes.
import { CAPABILITIES, INFO, main, require } from "./steps.mjs";

const { Client, LOG_LEVEL_META_KEY, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");

const TOLD = [
  "notifications/tools/list_changed",
  "notifications/prompts/list_changed",
  "notifications/resources/list_changed",
  "notifications/resources/updated",
  "notifications/elicitation/complete",
];
const MODES = { legacy: "legacy", auto: "auto" };

await main(async (target, mode, heard) => {
  const versionNegotiation = { mode: MODES[mode] ?? { pin: mode } };
  const client = new Client(INFO, { capabilities: CAPABILITIES, versionNegotiation });
  client.setRequestHandler("elicitation/create", heard.elicit);
  client.setRequestHandler("sampling/createMessage", heard.sample);
  client.setRequestHandler("roots/list", heard.roots);
  client.setNotificationHandler("notifications/message", heard.onLog);
  for (const method of TOLD) client.setNotificationHandler(method, heard.onNotification);
  const transport = target.url
    ? new StreamableHTTPClientTransport(new URL(target.url))
    : new StdioClientTransport({ command: target.command[0], args: target.command.slice(1) });
  await client.connect(transport);
  const subscriptions = [];
  const modern = client.getProtocolEra() === "modern";
  const logged = (params) => (modern && mode === "auto" ? { ...params, _meta: { [LOG_LEVEL_META_KEY]: "info" } } : params);
  // The typed lists follow the cursors themselves; this shows each page.
  const page = (method) => (params) => client.request({ method, params });
  const senders = {
    ping: () => client.ping(),
    "tools/list": page("tools/list"),
    "tools/call": (params, options) => client.callTool(logged(params), options),
    "resources/list": page("resources/list"),
    "resources/templates/list": page("resources/templates/list"),
    "resources/read": (params) => client.readResource(params),
    "resources/subscribe": (params) => client.subscribeResource(params),
    "resources/unsubscribe": (params) => client.unsubscribeResource(params),
    "subscriptions/listen": async ({ notifications }) => {
      const subscription = await client.listen(notifications);
      subscriptions.push(subscription);
      return { notifications: subscription.honoredFilter };
    },
    "prompts/list": page("prompts/list"),
    "prompts/get": (params) => client.getPrompt(params),
    "completion/complete": (params) => client.complete(params),
    "logging/setLevel": (params) => client.setLoggingLevel(params.level),
    "notifications/roots/list_changed": () => client.sendRootsListChanged(),
  };
  return {
    about: () => ({
      protocolVersion: client.getNegotiatedProtocolVersion(),
      serverInfo: client.getServerVersion(),
      capabilities: client.getServerCapabilities(),
      instructions: client.getInstructions(),
    }),
    request: async (method, params, options) => (await senders[method](params, options)) ?? {},
    close: async () => {
      for (const subscription of subscriptions) await subscription.close();
      await transport.terminateSession?.();
      await client.close();
    },
  };
});
