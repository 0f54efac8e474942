-- What the scripts share. A bucket of requests or tokens is one string: how many it is filled with, how many more parts of
-- which `span` make one, and when that was. Amounts are below 2^53 and spans at most a day of milliseconds, so that every
-- number here is whole and exact as a double.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function level(key, amount, span)
    local used, rest, at = string.match(redis.call('GET', key) or '', '^(%d+) (%d+) (%d+)$')
    if not used then
        return 0, 0
    end
    -- The whole amount leaks in each span; what is left of the time leaks in whole ones and parts.
    local elapsed = math.max(now - at, 0)
    local left = math.fmod(elapsed, span)
    local odd = math.fmod(amount, span)
    local parts = math.fmod(odd * left, span)
    local leaked = amount * ((elapsed - left) / span) + (amount - odd) / span * left + (odd * left - parts) / span
    used, rest = used - leaked, rest - parts
    if rest < 0 then
        used, rest = used - 1, rest + span
    end
    if used < 0 then
        return 0, 0
    end
    return used, rest
end

-- Kept until it is empty again, and a span at least, since the amount may be lowered.
local function store(key, amount, span, used, rest)
    local empty = math.ceil((used * span + rest) / amount) + 1
    local text = string.format('%.0f %.0f %.0f', used, rest, now)
    redis.call('SET', key, text, 'PX', string.format('%.0f', math.max(empty, span)))
end
