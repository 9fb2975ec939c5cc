local score, member, ttl = ARGV[1], ARGV[2], ARGV[3]
if join(KEYS[1], score, member, ttl) then
	return {'full'}
end
return {'joined'}
