local status, image_id, kept = get('status'), ARGV[4], {}
if status ~= 'succeeded' or get('owner') ~= ARGV[3] or get('deleted') == '1' then return false end
local images, gone = stored('images'), {}
for _, image in ipairs(images) do
  if image.image_id ~= image_id then kept[#kept + 1] = cjson.encode(image) end
end
if #kept == #images then return false end
redis.call('HSET', record, 'images', '[' .. table.concat(kept, ',') .. ']')
let_image_go(image_id, gone)
local fingerprints = get('fingerprints')
if fingerprints then
  fingerprints = cjson.decode(fingerprints)
  fingerprints[image_id] = nil
  redis.call('HSET', record, 'fingerprints', cjson.encode(fingerprints))
end
if #kept == 0 and image_id ~= get('image_id') then
  for _, id in ipairs(image_ids()) do let_image_go(id, gone) end
end
return gone
