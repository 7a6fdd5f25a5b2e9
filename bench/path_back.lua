-- The back of the paths over HTTP: both eras, answers as JSON or as a stream, of any size; loaded by nginx's Lua module.
--
-- Its tools are FORM_SIZE (`json_100`, `sse_1000000`): one text of SIZE bytes, as JSON or as an event stream. Legacy
-- sessions get an id and nothing else: what they are for is the proxy's business. With a list given to `answer` it is one
-- of many backs: `M.fresh` and `M.stale` are 100 tools of about 250 bytes, good for an hour (for legacy clients: until they
-- are said to change, for which they have a stream) and for no time.

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

local function hundred(cache)
   local list = {}
   for number = 1, 99 do
      list[number] = '{"name":"tool_' .. number .. '","title":"Tool ' .. number .. '","description":"Does what the tool '
         .. 'before it does, and a little more of it than most would ask for.","inputSchema":{"type":"object",'
         .. '"properties":{"text":{"type":"string"},"count":{"type":"integer"}},"required":["text"]}}'
   end
   list[100] = '{"name":"json_100","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}'
   return cache .. '"tools":[' .. table.concat(list, ",") .. "]"
end

M.fresh = hundred('"ttlMs":3600000,"cacheScope":"public",')
M.stale = hundred(CACHE)

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

local function initialize(id, body, offered)
   sessions = sessions + 1
   ngx.header["Mcp-Session-Id"] = "bench-" .. sessions
   local version = body:match('"protocolVersion":%s*"([^"]+)"')
   local result = '"protocolVersion":"' .. version .. '","capabilities":{"tools":' .. offered .. "}," .. INFO
   send("json", {'{"jsonrpc":"2.0","id":', id, ',"result":{', result, "}}"})
end

-- The stream of what belongs to no call: a server without one could never say that its list has changed.
local function listen()
   ngx.header.content_type = "text/event-stream"
   ngx.send_headers()
   ngx.flush(true)
   ngx.sleep(86400)
end

function M.answer(tools)
   local verb = ngx.req.get_method()
   if verb == "GET" and tools == M.fresh then
      return listen()
   end
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
      return initialize(id, body, tools == M.fresh and '{"listChanged":true}' or "{}")
   end
   local result = method == "tools/list" and tools or known[method]
   if not result then
      return send("json", {'{"jsonrpc":"2.0","id":', id, ',"error":{"code":-32601,"message":"Method not found"}}'})
   end
   if result == "" then
      start = start:sub(1, -2)
   end
   send("json", {'{"jsonrpc":"2.0","id":', id, ',"result":{', start, result, "}}"})
end

return M
