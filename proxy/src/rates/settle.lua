-- Corrects what a request has taken when it ends.
-- Arguments: the name of the request, and for each key the kind, the amount, its span in milliseconds, and what was taken
-- and used.
for at, key in ipairs(KEYS) do
    local kind, amount, span = ARGV[at * 5 - 3], tonumber(ARGV[at * 5 - 2]), tonumber(ARGV[at * 5 - 1])
    if kind == 'open' then
        redis.call('ZREM', key, ARGV[1])
    else
        local used, rest = level(key, amount, span)
        used = used + tonumber(ARGV[at * 5 + 1]) - tonumber(ARGV[at * 5])
        if used < 0 then
            used, rest = 0, 0
        end
        store(key, amount, span, used, rest)
    end
end
return 0
