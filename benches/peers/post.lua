-- JSON posts; `wrk ... URL -- BYTES` makes them so large. Small ones name 5,000 users in turn: a sticky split needs keys.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local requests, at = {}, 0

function init(args)
  local bytes = tonumber(args[1] or 0)
  local body = '{"id":"%s","inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3,4]}]}'
  wrk.body = body:format(string.rep("x", math.max(200, bytes - #body + 2)))
  for user = 1, bytes > 0 and 1 or 5000 do
    if bytes == 0 then wrk.headers["x-user"] = "u" .. user end
    requests[user] = wrk.format()
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary)
  local e = summary.errors
  print("counts " .. summary.requests .. " " .. e.connect + e.read + e.write + e.status + e.timeout)
end
