-- The load: modern `tools/call` requests, each with an id never used before, posted by wrk.
--
--   wrk ... -s post.lua URL -- load|check PREFIX
--
-- PREFIX is digits, different for every wrk process of a run. In `check` mode (as many threads as connections, so that a
-- thread knows which request it is waiting for) every answer must have status 200, the very id just sent and the text of
-- the back, and a millisecond passes before the next request; in `load` mode answers are only counted. Checking all of
-- them costs the load's core so much that a fast proxy is never full.

local threads = {}

function setup(thread)
   threads[#threads + 1] = thread
   thread:set("thread_no", #threads + 9)
end

local FIRST = 10000000
local head, tail, prefix
local count = FIRST
checked, wrong, example = 0, 0, ""

local function body(id)
   return '{"jsonrpc":"2.0","id":' .. id .. ',"method":"tools/call","params":{"name":"echo","arguments":{"text":"hello"},'
      .. '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",'
      .. '"io.modelcontextprotocol/clientInfo":{"name":"wrk","version":"1"},'
      .. '"io.modelcontextprotocol/clientCapabilities":{}}}}'
end

local function check(status, _, answer)
   checked = checked + 1
   local good = status == 200
      and answer:find('"id":%s*' .. prefix .. count .. "%s*[,}]")
      and answer:find('"text":%s*"ok"')
   if not good then
      wrong = wrong + 1
      if example == "" then
         example = "status " .. status .. " to id " .. prefix .. count .. ": " .. answer:sub(1, 300):gsub("%c", " ")
      end
   end
end

local function pause()
   return 1
end

function init(args)
   prefix = args[2] .. thread_no
   if args[1] == "check" then
      response = check
      delay = pause
   end
   local id = prefix .. FIRST
   local whole = wrk.format("POST", "/mcp", {
      ["Content-Type"] = "application/json",
      ["Accept"] = "application/json, text/event-stream",
      ["MCP-Protocol-Version"] = "2026-07-28",
      ["Mcp-Method"] = "tools/call",
      ["Mcp-Name"] = "echo",
   }, body(id))
   local from, to = whole:find(id, 1, true)
   head, tail = whole:sub(1, from - 1) .. prefix, whole:sub(to + 1)
end

function request()
   count = count + 1
   return head .. count .. tail
end

function done(summary, latency)
   local checks, wrongs = 0, 0
   for _, thread in ipairs(threads) do
      checks = checks + thread:get("checked")
      wrongs = wrongs + thread:get("wrong")
      if thread:get("example") ~= "" then
         io.write("WRONG ", thread:get("example"), "\n")
      end
   end
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"calls":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"checked":%d,"wrong":%d,'
         .. '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), checks, wrongs,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
