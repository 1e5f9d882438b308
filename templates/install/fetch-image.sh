# Gets an image from another node that has it. Above this stand: ref (its name), id (what it must be), plan (our folder
# on this node, with parents, bind, key and known_hosts as in fetch.sh).
#
# Nothing is packed on the way: links between nodes are faster than gzip is.

LC_ALL=C
export LC_ALL
cd "$plan" || exit
bind=$(cat bind)
ciphers=$(ssh -Q cipher 2>/dev/null | awk '/gcm/ {a = a "," $0; next} !/cbc|arcfour/ {b = b "," $0} END {print substr(a b, 2)}')
is() {
  docker image inspect -f '{{.Id}}' "$1" 2>/dev/null
}

reach() {
  ssh -F /dev/null -T ${bind:+-b "$bind"} -i "$plan/key" ${ciphers:+-c "$ciphers"} \
    -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o PreferredAuthentications=publickey \
    -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=\"$plan/known_hosts\"" -o GlobalKnownHostsFile=/dev/null \
    -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o Compression=no -o ControlPath=none \
    -o LogLevel=ERROR -p "$port" -l "$user" "$address" image </dev/null 2>said
  echo $? >status
}

# The stream through dd, which says how much has come when it is asked to.
counted() {
  read -r size || return
  rm -f pid
  tell >/dev/null &
  sh -c 'echo $$ >pid; exec dd bs=1048576' 2>counted
  kill $! 2>/dev/null
}

tell() {
  while sleep 2 && kill -USR1 "$(cat pid)" 2>/dev/null; do
    came=$(sed -n 's/^\([0-9]*\) bytes.*/\1/p' counted | tail -n 1)
    echo "@ $(cut -d ' ' -f 1 /proc/uptime) ${came:-0} $size" >&2
  done
}

attempt=0
while [ $attempt -lt 3 ] && [ "$(is "$ref")" != "$id" ] && [ "$(is "$id")" != "$id" ]; do
  attempt=$((attempt + 1))
  while read -r parent user address port; do
    reach | counted | docker load >loaded 2>&1
    grep -v '^Loaded image' loaded
    [ "$(is "$ref")" != "$id" ] && [ "$(is "$id")" != "$id" ] || break
    why=$(tail -n 1 said)
    echo "? $parent at $address port $port: ${why:-the connection ended}"
  done <parents
  sleep $attempt
done
[ "$(is "$ref")" = "$id" ] || docker tag "$id" "$ref"
now=$(is "$ref")
[ "$now" = "$id" ] && { echo "$ref is here"; exit 0; }
echo "failed: $ref is ${now:-not here}, not $id"
exit 1
