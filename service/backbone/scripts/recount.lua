if (get('status') ~= 'succeeded' and get('status') ~= 'failed') or get('deleted') == '1' then return end
local sizes = cjson.decode(ARGV[3])
for _, image in ipairs(stored('images')) do
  local size_bytes = sizes[image.image_id]
  if size_bytes then note_stored(image_object(image.image_id), size_bytes, tostring(get('owner'))) end
end
for _, file in ipairs(stored('files')) do
  local size_bytes = sizes[file.file_id]
  if size_bytes then note_stored(file_object(file.file_id), size_bytes, tostring(get('owner'))) end
end
