local status, image_id = get('status'), ARGV[4]
if status ~= 'succeeded' or get('owner') ~= ARGV[3] or get('deleted') == '1' then return 0 end
local images, kept = cjson.decode(get('images') or '[]'), {}
for _, image in ipairs(images) do
  if image.image_id ~= image_id then kept[#kept + 1] = cjson.encode(image) end
end
if #kept == #images then return 0 end
redis.call('HSET', record, 'images', '[' .. table.concat(kept, ',') .. ']')
return 1
