-- Takes what a request asks from every bucket, or from none. One bucket is one key.
-- Arguments: the name of the request; how long it counts as open unless that is renewed, in milliseconds; and for each key
-- the kind, the amount, its span in milliseconds and the count. Of open requests the span is when to try again.
-- Answers {0, 0}, or which key has to wait longest and for how many milliseconds.
local name, lease = ARGV[1], tonumber(ARGV[2])
local worst, wait, levels = 0, 0, {}

for at, key in ipairs(KEYS) do
    local kind, amount = ARGV[at * 4 - 1], tonumber(ARGV[at * 4])
    local span, count = tonumber(ARGV[at * 4 + 1]), tonumber(ARGV[at * 4 + 2])
    local late = 0
    if kind == 'open' then
        redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
        if redis.call('ZCARD', key) + count > amount then
            late = span
        end
    else
        local used, rest = level(key, amount, span)
        local over = used + count - amount
        levels[at] = { used + count, rest }
        if over > 0 or (over == 0 and rest > 0) then
            late = math.max(math.ceil((over * span + rest) / amount), 1)
        end
    end
    if late > wait then
        worst, wait = at, late
    end
end

if worst > 0 then
    return { worst, wait }
end

for at, key in ipairs(KEYS) do
    if levels[at] then
        store(key, tonumber(ARGV[at * 4]), tonumber(ARGV[at * 4 + 1]), levels[at][1], levels[at][2])
    else
        redis.call('ZADD', key, now + lease, name)
        redis.call('PEXPIRE', key, lease)
    end
end
return { 0, 0 }
