-- The back of the paths over HTTP: both eras, answers as JSON or as a stream, of any size; loaded by nginx's Lua module.
--
-- Its tools are FORM_SIZE (`json_100`, `sse_1000000`): one text of SIZE bytes, as JSON or as an event stream. Legacy
-- sessions get an id and nothing else: what they are for is the proxy's business.

local M = {}

local INFO = '"serverInfo":{"name":"bench","version":"1"}'
local CACHE = '"ttlMs":0,"cacheScope":"private",'
local MODERN = "2026-07-28"
local results, sessions = {}, 0

local function tools()
   local list = {}
   for _, form in ipairs({"json", "sse"}) do
      for _, size in ipairs({100, 10000, 1000000, 16000000}) do
         list[#list + 1] = '{"name":"' .. form .. "_" .. size
            .. '","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}'
      end
   end
   return CACHE .. '"tools":[' .. table.concat(list, ",") .. "]"
end

local known = {
   ["ping"] = "",
   ["server/discover"] = CACHE .. '"supportedVersions":["' .. MODERN .. '"],"capabilities":{"tools":{}}',
   ["tools/list"] = tools(),
}

local function content(size)
   if not results[size] then
      results[size] = '"content":[{"type":"text","text":"' .. string.rep("x", tonumber(size) - 2) .. 'ok"}]'
   end
   return results[size]
end

local function send(form, parts)
   ngx.header.content_type = form == "sse" and "text/event-stream" or "application/json"
   if form == "sse" then
      ngx.print("event: message\ndata: ", parts, "\n\n")
      return
   end
   local length = 0
   for _, part in ipairs(parts) do
      length = length + #part
   end
   ngx.header.content_length = length
   ngx.print(parts)
end

local function initialize(id, body)
   sessions = sessions + 1
   ngx.header["Mcp-Session-Id"] = "bench-" .. sessions
   local version = body:match('"protocolVersion":%s*"([^"]+)"')
   local result = '"protocolVersion":"' .. version .. '","capabilities":{"tools":{}},' .. INFO
   send("json", {'{"jsonrpc":"2.0","id":', id, ',"result":{', result, "}}"})
end

function M.answer()
   local verb = ngx.req.get_method()
   if verb ~= "POST" then
      return ngx.exit(verb == "DELETE" and 204 or 405)
   end
   ngx.req.read_body()
   local body = ngx.req.get_body_data()
   local id = body:match('"id":%s*("[^"]*")') or body:match('"id":%s*(%d+)')
   if not id then
      return ngx.exit(202)
   end
   local start = ngx.var.http_mcp_protocol_version == MODERN and '"resultType":"complete",' or ""
   local form, size = body:match('"name":%s*"(%a+)_(%d+)"')
   if form then
      return send(form, {'{"jsonrpc":"2.0","id":', id, ',"result":{', start, content(size), "}}"})
   end
   local method = body:match('"method":%s*"([^"]+)"')
   if method == "initialize" then
      return initialize(id, body)
   end
   local result = known[method]
   if not result then
      return send("json", {'{"jsonrpc":"2.0","id":', id, ',"error":{"code":-32601,"message":"Method not found"}}'})
   end
   if result == "" then
      start = start:sub(1, -2)
   end
   send("json", {'{"jsonrpc":"2.0","id":', id, ',"result":{', start, result, "}}"})
end

return M
