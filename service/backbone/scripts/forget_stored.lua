for _, name in ipairs(ARGV) do forget_stored(name) end
