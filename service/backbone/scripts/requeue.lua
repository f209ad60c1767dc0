if not is_ours(ARGV[3]) then return 0 end
set_back()
return 1
