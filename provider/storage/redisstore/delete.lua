local kind, touch = ARGV[1], ARGV[2]
local oldgroups, oldmark = '', ''
if kind ~= 'counter' then
	local r, bad = stored(KEYS[1])
	if bad then
		return bad
	end
	if r then
		oldgroups, oldmark = r.groups, r.mark
	end
end
if redis.call('DEL', KEYS[1]) == 0 and touch == '1' then
	-- For WAIT: the deletion that was made before may have reached no replica.
	redis.call('SET', KEYS[1], '')
	redis.call('DEL', KEYS[1])
end
return {'deleted', oldgroups, oldmark}
