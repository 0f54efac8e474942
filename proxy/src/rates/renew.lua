-- Counts a request as open for another while, also where nobody knows of it.
-- Arguments: the name of the request, and for how many milliseconds.
for _, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[2], ARGV[1])
    redis.call('PEXPIRE', key, ARGV[2])
end
return 0
