--- console_place (kernel): where the console's socket is when nobody says.
--
-- The first of these whose directory can be had: $XDG_RUNTIME_DIR/anomalyd/console.sock,
-- /run/anomalyd/console.sock, /tmp/anomalyd-UID/console.sock. A client looks in the same places.
local console_place = {}

--- The places, in order.
-- @param getenv function(name) -> text or nil
-- @param uid the user's number
function console_place.list(getenv, uid)
  local places, runtime = {}, getenv("XDG_RUNTIME_DIR")
  if runtime and runtime:sub(1, 1) == "/" then places[1] = runtime .. "/anomalyd/console.sock" end
  places[#places + 1] = "/run/anomalyd/console.sock"
  places[#places + 1] = ("/tmp/anomalyd-%d/console.sock"):format(uid)
  return places
end

return console_place
