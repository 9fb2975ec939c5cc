-- Values are int64 and never Lua numbers, which are exact to 2^53 only.
local now, delta, expires, ttl = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4]
local e = redis.call('HGET', KEYS[1], 'e')
if not e or (tonumber(e) or 0) <= now then
	if delta == '0' or string.sub(delta, 1, 1) == '-' then
		return {'counted', '0'}
	end
	redis.call('HSET', KEYS[1], 'n', delta, 'e', expires)
	if ttl == '' then
		redis.call('PERSIST', KEYS[1])
	else
		redis.call('PEXPIRE', KEYS[1], ttl)
	end
	return {'counted', delta}
end
if delta ~= '0' then
	local sum = redis.pcall('HINCRBY', KEYS[1], 'n', delta)
	if type(sum) == 'table' then
		if not string.find(sum.err, 'overflow', 1, true) then
			return sum
		end
		redis.call('HSET', KEYS[1], 'n', '9223372036854775807')
	elseif sum < 0 then -- rounded, but its sign is right
		redis.call('HSET', KEYS[1], 'n', '0')
	end
end
return {'counted', redis.call('HGET', KEYS[1], 'n')}
