local score, base, most, count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

-- behind reports whether member, without its mark, is behind base. The < of Lua
-- compares by the server's locale; the order of a sorted set is that of the bytes.
local function behind(member)
	local length = #member - 16
	if string.sub(member, 1, length) == base then
		return false
	end
	for i = 1, math.min(length, #base) do
		local a, b = string.byte(member, i), string.byte(base, i)
		if a ~= b then
			return a > b
		end
	end
	return length > #base
end

local first = 0
if base ~= '' then
	first = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. score)
	local last = redis.call('ZCOUNT', KEYS[1], '-inf', score)
	while first < last do
		local middle = math.floor((first + last) / 2)
		if behind(redis.call('ZRANGE', KEYS[1], middle, middle)[1]) then
			last = middle
		else
			first = middle + 1
		end
	end
end
local last = math.min(first + count, redis.call('ZCOUNT', KEYS[1], '-inf', most)) - 1
if last < first then
	return {}
end
return redis.call('ZRANGE', KEYS[1], first, last, 'WITHSCORES')
