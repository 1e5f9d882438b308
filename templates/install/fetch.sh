# Gets the files that this node lacks from another node that has them, or is getting them itself. Above this stand: folder
# (of the files), plan (our folder on this node), list (digest of the list), unit (bytes of a block), patience (seconds
# without a byte after which a node is given up), silence (seconds after which a connection that is up and says nothing
# is cut), streams (connections at a time; 0: by the number of processors).
#
# In $plan: files (lines `size sha256 path`, the line is the file's number), want (numbers), parents (lines `name user
# address port`: asked in this order), bind (our address), key, known_hosts. What has come and was verified is in done/.
#
# A file arrives as `<path>.part`, is hashed as it is written, and gets its name when its SHA-256 is right. One that is
# here with a wrong content is compared block by block, and only blocks that differ are moved.

LC_ALL=C
export LC_ALL
umask 022
cd "$plan" || exit
mkdir -p done
[ ! -L "$folder/.qnext-verified" ] || rm -f -- "$folder/.qnext-verified"
rm -f failed fatal bad.* now.* refused.* struck.* ssh.* theirs.*
stamp='%s %.9Y %i'
bind=$(cat bind)
tee=tee
tee --output-error=exit /dev/null </dev/null >/dev/null 2>&1 && tee='tee --output-error=exit'
ciphers=$(ssh -Q cipher 2>/dev/null | awk '/gcm/ {a = a "," $0; next} !/cbc|arcfour/ {b = b "," $0} END {print substr(a b, 2)}')

# SHA-256 of standard input. OpenSSL's is three times as fast as that of coreutils, which has no use for the processor's
# own instructions; a node may lack it, or forbid it.
hash() {
  sha256sum
}
case $(printf x | openssl dgst -sha256 -r 2>/dev/null) in
2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881*)
  hash() {
    openssl dgst -sha256 -r
  }
  ;;
esac

say() {
  printf '%s\n' "$*"
}

# What cannot get better by trying again ends all.
fatal() {
  say "$*" >fatal
  say "$*"
}

size_of() {
  stat -L -c %s -- "$1" 2>/dev/null || echo 0
}

seconds() {
  read -r up rest </proc/uptime
  echo "${up%.*}"
}

entry() {
  row=$(sed -n "${1}p" files)
  size=${row%% *}
  path=${row#* }
  sum=${path%% *}
  path=${path#* }
  number=$1
}

# Ask the parent: requests are standard input, answers standard output. Started so that "tell" can end it.
reach() {
  exec 3<&0
  ssh -F /dev/null -T ${bind:+-b "$bind"} -i "$plan/key" ${ciphers:+-c "$ciphers"} \
    -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o PreferredAuthentications=publickey \
    -o StrictHostKeyChecking=yes -o "UserKnownHostsFile=\"$plan/known_hosts\"" -o GlobalKnownHostsFile=/dev/null \
    -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=3 -o Compression=no -o ControlPath=none \
    -o LogLevel=ERROR -p "$port" -l "$user" "$address" serve 2>"said.$me" <&3 3<&- &
  say $! >"ssh.$me"
  wait $!
  say $? >"status.$me"
  rm -f "ssh.$me"
}

# Whether a file is to be mended where it is: it is there, large, and wrong.
mendable() {
  [ ! -L "$folder/$path.fix.part" ] || rm -f -- "$folder/$path.fix.part"
  [ -f "$folder/$path.fix.part" ] || { [ ! -f "$folder/$path.part" ] && [ "$(size_of "$folder/$path")" -ge "$unit" ]; }
}

# Bytes that have come of a file. What is longer than it is the part of another one; a link is not ours, and nothing is
# written through it.
begun() {
  part=$folder/$path.part
  if [ -L "$part" ] || [ "$(size_of "$part")" -gt "$size" ]; then rm -f -- "$part"; fi
  size_of "$part"
}

# The numbers of this worker's files that are not done, with the way they are got.
todo() {
  turn=0
  while read -r number; do
    turn=$(((turn + 1) % workers))
    [ $turn = "$me" ] && [ ! -f "done/$number" ] || continue
    entry "$number"
    if mendable; then say "mend $number"; else say "file $number $(begun)"; fi
  done <want
}

arrived() {
  { sync "$1" 2>/dev/null || sync; } && mv -f -- "$1" "$folder/$path" || { fatal "cannot write $folder/$path"; return 1; }
  mark=$(stat -L -c "$stamp" -- "$folder/$path")
  { printf '%s %s %s\n' "$sum" "$mark" "$path" >>"$folder/.qnext-verified"; } 2>/dev/null
  say "$mark" >".done.$me" && mv -f ".done.$me" "done/$number"
  say "$size" >>got
  say "+ $2 $size $path"
}

# SHA-256 of descriptor 0 from `offset` on, together with what the part had before, while it is written.
written() {
  rm -f "unwritten.$me"
  {
    [ "$offset" = 0 ] || head -c "$offset" -- "$part"
    dd iflag=fullblock,count_bytes bs=1048576 count="$length" 2>/dev/null | { $tee -a -- "$part" || say $? >"unwritten.$me"; }
  } | hash
}

take() {
  entry "$number"
  part=$folder/$path.part
  mkdir -p -- "${part%/*}" || { fatal "cannot write below $folder"; return 1; }
  [ "$offset" != 0 ] || : >"$part" || { fatal "cannot write $part"; return 1; }
  [ "$(size_of "$part")" = "$offset" ] && [ $((offset + length)) -eq "$size" ] || return 1
  say "$part" >"now.$me"
  found=$(written)
  [ ! -f "unwritten.$me" ] || { fatal "cannot write $part"; return 1; }
  [ "$(size_of "$part")" = "$size" ] || return 1
  rm -f "now.$me"
  if [ "${found%% *}" = "$sum" ]; then arrived "$part" got; return; fi
  rm -f -- "$part"
  spoiled
}

# A file that came wrong is fetched anew, three times at most.
spoiled() {
  say "$number" >>"bad.$me"
  say "wrong: SHA-256 of $path from $parent is ${found%% *}, not $sum"
  [ "$(grep -cx "$number" "bad.$me")" -lt 3 ] || { fatal "$path came three times with a wrong content from $parent"; return 1; }
}

answers() {
  while read -r word number offset length; do
    [ "$word" = '=' ] || { say "$number $offset $length" >"refused.$me"; return 1; }
    case ${number:-x}${offset:-x}${length:-x} in *[!0-9]*) say "an answer is no answer" >"refused.$me"; return 1 ;; esac
    "$1" || return 1
  done
}

ask() {
  rm -f "refused.$me"
  { say "list $list"; cat; } | reach | answers "$1"
}

their_sums() {
  left=$offset
  while [ "$left" -gt 0 ]; do
    read -r line rest || return 1
    say "$line"
    left=$((left - 1))
  done >"theirs.$me"
}

our_sums() {
  left=$(((size + unit - 1) / unit))
  { while [ $left -gt 0 ]; do
    dd bs="$unit" count=1 <&3 2>/dev/null | hash | cut -d ' ' -f 1
    left=$((left - 1))
  done; } 3<"$fix" >"ours.$me"
}

patched() {
  dd iflag=fullblock,count_bytes bs="$unit" count="$length" seek="$offset" of="$fix" conv=notrunc 2>"dd.$me" ||
    { fatal "cannot write $fix: $(head -n 1 "dd.$me")"; return 1; }
  moved=$((moved + length))
  say $moved >"moved.$me"
}

# Mend one file by the blocks that differ. The wrong one loses its name at once; where others share its content, a copy
# is mended.
mend() {
  entry "$1"
  fix=$folder/$path.fix.part
  if [ ! -f "$fix" ]; then
    if [ -L "$folder/$path" ] || [ "$(stat -c %h -- "$folder/$path")" -gt 1 ]; then
      rm -f -- "$fix.new" && cp -L -- "$folder/$path" "$fix.new" && mv -f -- "$fix.new" "$fix"
    else
      mv -f -- "$folder/$path" "$fix"
    fi || { fatal "cannot write $fix"; return 1; }
  fi
  rm -f "theirs.$me"
  say "sums $number" | ask their_sums || return 1
  [ "$(wc -l <"theirs.$me")" = $(((size + unit - 1) / unit)) ] || return 1
  our_sums
  paste -d ' ' "theirs.$me" "ours.$me" | awk -v n="$number" '$1 != $2 {print "block", n, NR - 1}' >"blocks.$me"
  moved=0
  say 0 >"moved.$me"
  ask patched <"blocks.$me" || return 1
  dd bs=1 count=0 seek="$size" of="$fix" 2>/dev/null
  found=$(hash <"$fix")
  if [ "${found%% *}" = "$sum" ]; then arrived "$fix" "mended($(cat "moved.$me"))"; return; fi
  [ "$(cat "status.$me")" = 0 ] || return 1
  rm -f -- "$fix"
  spoiled
}

session() {
  todo >"todo.$me"
  grep '^file' "todo.$me" >"files.$me"
  grep '^mend' "todo.$me" >"mends.$me"
  if [ -s "files.$me" ]; then
    ask take <"files.$me" || return 1
    [ "$(cat "status.$me")" = 0 ] || return 1
  fi
  while read -r word number; do
    mend "$number" </dev/null || return 1
  done <"mends.$me"
}

# How much has come so far: any growth is a reason for going on with this parent.
gained() {
  { cat got "bad.$me" | wc -l; for each in now."$me"; do [ -f "$each" ] && size_of "$(cat "$each")"; done; cat "moved.$me"; } 2>/dev/null
}

hopeless() {
  grep -qE 'Permission denied|Host key verification|No matching|no matching|sudo:|not found|Cannot assign' "said.$me" ||
    { [ -f "refused.$me" ] && [ ! -s "said.$me" ]; }
}

# How long it is asked again: not long where sshd itself says no.
limit() {
  if grep -q 'Connection refused' "said.$me"; then echo $((patience / 20)); else echo "$patience"; fi
}

# From one parent, until all is here, or nothing comes any more.
follow() {
  since=$(seconds)
  pause=0.2
  while :; do
    before=$(gained)
    session
    [ ! -f fatal ] || return 1
    [ "$(todo)" ] || return 0
    if [ "$before" != "$(gained)" ]; then since=$(seconds) pause=0.2; fi
    why=$(cat "refused.$me" 2>/dev/null || tail -n 1 "said.$me")
    say "? $parent at $address port $port: ${why:-the connection ended}"
    if [ "$before" = "$(gained)" ]; then
      ! hopeless || return 1
      [ $(($(seconds) - since)) -lt "$(limit)" ] || return 1
    fi
    sleep $pause
    case $pause in 0.2) pause=1 ;; 1) pause=3 ;; *) pause=8 ;; esac
  done
}

work() {
  [ "$(todo)" ] || return 0
  while read -r parent user address port; do
    follow </dev/null && return 0
    [ ! -f fatal ] || return 1
  done <parents
  return 1
}

# How it goes, for the log; that it goes at all, for those who wait for what comes here; and an end to connections that
# are up while nothing comes.
tell() {
  heard=
  while kill -0 $$ 2>/dev/null; do
    seconds >.alive && mv -f .alive alive
    came=$(awk '{n += $1} END {printf "%.0f", n}' got)
    last=
    for each in now.*; do
      [ -f "$each" ] || continue
      last=$(cat "$each") && came=$((came + $(size_of "$last")))
    done
    say "@ $(cut -d ' ' -f 1 /proc/uptime) $came $total ${last##*/}"
    is="$came $(cat moved.* theirs.* 2>/dev/null | wc -c) $(cat moved.* 2>/dev/null)"
    if [ "$is" != "$heard" ]; then
      heard=$is
      quiet=$(seconds)
    elif [ $(($(seconds) - quiet)) -ge "$silence" ]; then
      quiet=$(seconds)
      for each in ssh.*; do
        [ ! -f "$each" ] || { say "? nothing came for $silence s"; kill "$(cat "$each")" 2>/dev/null; }
      done
    fi
    sleep 2 >/dev/null 2>&1
  done
}

: >got
total=$(awk 'NR == FNR {want[$1]; next} FNR in want {n += $1} END {printf "%.0f", n}' want files)
while read -r number; do
  [ ! -f "done/$number" ] || { entry "$number"; say "$size" >>got; }
done <want
workers=$streams
[ "$workers" -gt 0 ] || workers=$(($(nproc 2>/dev/null || echo 1) / 8))
[ "$workers" -ge 1 ] || workers=1
[ "$workers" -le 4 ] || workers=4
tell &
teller=$!
trap 'kill $teller 2>/dev/null' EXIT
me=0
others=
while [ $((me + 1)) -lt $workers ]; do
  work &
  others="$others $!"
  me=$((me + 1))
done
work
for each in $others; do wait "$each"; done
[ -s want ] || { say "failed: $plan was taken away meanwhile"; exit 1; }
missing=0
while read -r number; do [ -f "done/$number" ] || missing=$((missing + 1)); done <want
kill $teller 2>/dev/null
if [ $missing -gt 0 ]; then
  : >failed
  say "failed: $missing of $(wc -l <want) files have not come"
  exit 1
fi
say "all files are here and verified"
