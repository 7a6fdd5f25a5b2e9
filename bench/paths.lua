-- The load of the paths: requests from a file, posted in turn by wrk, each with an id never used before.
--
--   wrk ... -s paths.lua URL -- load|check|beside PREFIX FILE MARK
--
-- FILE holds whole HTTP requests, parted by a NUL, each with the place of its id marked `@@@@@@@@@@@@@@`: as many bytes
-- as an id gets, so that Content-Length holds. In the modes `check` and `beside` (one connection) every answer must have
-- status 200, the very id just sent and the text MARK, and in `beside` a millisecond passes before the next request; in
-- the mode `load` only the status is looked at: checking all answers costs the load's core so much that a fast proxy is
-- never full.

local threads = {}

function setup(thread)
   threads[#threads + 1] = thread
   thread:set("thread_no", #threads + 9)
end

local FIRST = 10000000
local heads, tails = {}, {}
local prefix, mark
local count = FIRST
checked, wrong, example = 0, 0, ""

local function check(status, _, answer)
   checked = checked + 1
   local id = prefix .. count
   local good = status == 200 and answer:find(mark, 1, true) and answer:find('"id":%s*' .. id .. "%s*[,}]")
   if not good then
      wrong = wrong + 1
      if example == "" then
         example = "status " .. status .. " to id " .. id .. ": " .. answer:sub(1, 300):gsub("%c", " ")
      end
   end
end

local function pause()
   return 1
end

function init(args)
   prefix = args[2] .. thread_no
   mark = args[4]
   if args[1] ~= "load" then
      response = check
   end
   if args[1] == "beside" then
      delay = pause
   end
   for request in io.open(args[3], "rb"):read("*a"):gmatch("[^%z]+") do
      local from, to = request:find(("@"):rep(14), 1, true)
      heads[#heads + 1] = request:sub(1, from - 1) .. prefix
      tails[#tails + 1] = request:sub(to + 1)
   end
end

function request()
   count = count + 1
   local which = count % #heads + 1
   return heads[which] .. count .. tails[which]
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
      'RESULT {"calls":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"checked":%d,"wrong":%d,"bytes":%d,'
         .. '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), checks, wrongs, summary.bytes,
      errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
