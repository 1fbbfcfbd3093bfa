-- A small JSON post; counts answers, those of the canary, and bad ones.
local threads = {}
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.body = '{"id":"' .. string.rep("x", 200) .. '","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'

function setup(thread) table.insert(threads, thread) end

function init() total, canary, bad = 0, 0, 0 end

function response(status, headers)
  total = total + 1
  if (headers["x-model"] or headers["X-Model"]) == "canary" then canary = canary + 1 end
  if status ~= 200 then bad = bad + 1 end
end

function done(summary)
  local sums = { 0, 0, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout }
  for _, thread in ipairs(threads) do
    sums = { sums[1] + thread:get("total"), sums[2] + thread:get("canary"), sums[3] + thread:get("bad") }
  end
  print("counts " .. table.concat(sums, " "))
end
