# Open a way from this node's own loopback to the cache on another node, as dockerd trusts nothing but TLS and its own
# loopback. Set before: here and there (ports), key, known_hosts, bind (a file: our address), user, address, port.
bind=$(cat "$bind")
ssh -F /dev/null -N -T ${bind:+-b "$bind"} -i "$key" -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none \
  -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=\"$known_hosts\"" -o GlobalKnownHostsFile=/dev/null -o ExitOnForwardFailure=yes \
  -o ConnectTimeout=20 -o ServerAliveInterval=15 -p "$port" -L "127.0.0.1:$here:127.0.0.1:$there" \
  "$user@$address" >"$work/way" 2>&1 </dev/null &
way=$!
end() { kill $way 2>/dev/null; }
turn=0
while [ $turn -lt 100 ] && kill -0 $way 2>/dev/null &&
  ! grep -qi "0100007F:$(printf '%04X' "$here") 00000000:0000 0A" /proc/net/tcp; do
  sleep 0.2
  turn=$((turn + 1))
done
kill -0 $way 2>/dev/null || echo "no way to the cache on $address: $(tr '\n' ' ' <"$work/way")"
