-- Each script touches one key in a cluster: see doc.go. A record is a string:
-- a byte 1, version (16 bytes), mark (16), expires, sort and bound (8 each, signed,
-- the highest byte first), the length of groups (2), groups, value.

-- number returns the 8 bytes at place at of b as a Lua number. That is exact to
-- 2^53, and for what is beyond only the comparison with a time near now matters.
local function number(b, at)
	local n = string.byte(b, at)
	if n > 127 then
		n = n - 256
	end
	for i = at + 1, at + 7 do
		n = n * 256 + string.byte(b, i)
	end
	return n
end

-- stored returns what is known of the record under key, nil when there is none, and
-- an error when the key holds something else.
local function stored(key)
	local h = redis.call('GETRANGE', key, 0, 58)
	if h == '' then
		return nil
	end
	if #h < 59 or string.byte(h) ~= 1 then
		return nil, redis.error_reply('FOREIGN the key holds no record')
	end
	local length = string.byte(h, 58) * 256 + string.byte(h, 59)
	local r = {
		version = string.sub(h, 2, 17),
		mark = string.sub(h, 18, 33),
		expires = number(h, 34),
		sort = string.sub(h, 42, 49),
		bound = string.sub(h, 50, 57),
		groups = '',
	}
	if length > 0 then
		r.groups = redis.call('GETRANGE', key, 59, 58 + length)
	end
	return r
end

-- join puts member into a group and has the group live for at least ttl
-- milliseconds, for ever when ttl is empty. It reports whether it is time to look
-- for garbage in the group.
local function join(group, score, member, ttl)
	local left = redis.call('PTTL', group)
	redis.call('ZADD', group, score, member)
	if ttl == '' then
		redis.call('PERSIST', group)
	elseif left == -2 or left >= 0 and left < tonumber(ttl) then
		redis.call('PEXPIRE', group, ttl)
	end
	return redis.call('ZCARD', group) % 32 == 0
end
