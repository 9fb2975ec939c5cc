-- Written each time: whether the server takes writes is part of the question.
local layout = redis.call('GET', KEYS[1]) or ARGV[1]
redis.call('SET', KEYS[1], layout)
return {layout}
