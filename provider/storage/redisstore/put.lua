local now, version, prev, sort, score = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local expires, ttl, groups, value = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local mark, bound, grouplife, base = ARGV[10], ARGV[11], ARGV[12], ARGV[13]
local mode, touch = ARGV[14], ARGV[15]

local r, bad = stored(KEYS[1])
if bad then
	return bad
end
local live = r and r.expires > now
if live and r.version == version then -- this very Put, resent
	if touch == '1' then
		redis.call('SETRANGE', KEYS[1], 0, '\1') -- for WAIT: the first one may have reached no replica
	end
	return {'same'}
end
if live and r.version ~= prev or not live and prev ~= '' then
	return {'conflict'}
end
if live and r.groups ~= groups then
	return {'groups'}
end

local moved = groups ~= '' and not (live and r.sort == sort and number(r.bound, 1) >= number(expires, 1))
if moved and mode == 'ask' then
	return {'move'}
end
local full = {}
if moved and mode == 'here' then
	for i = 2, #KEYS do
		if join(KEYS[i], score, base .. mark, grouplife) then
			full[#full + 1] = tostring(i - 1)
		end
	end
end
if live and not moved then
	mark, bound = r.mark, r.bound
end
local length = string.char(math.floor(#groups / 256), #groups % 256)
local record = '\1' .. version .. mark .. expires .. sort .. bound .. length .. groups .. value
if ttl == '' then
	redis.call('SET', KEYS[1], record)
else
	redis.call('SET', KEYS[1], record, 'PX', ttl)
end

-- What the record leaves behind in its groups.
local oldgroups, oldmark = '', ''
if live and moved and mode == 'here' then
	for i = 2, #KEYS do
		redis.call('ZREM', KEYS[i], base .. r.mark)
	end
elseif r and (moved or not live) then
	oldgroups, oldmark = r.groups, r.mark
end
return {'stored', oldgroups, oldmark, unpack(full)}
