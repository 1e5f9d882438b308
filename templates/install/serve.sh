# Gives files of one list to another node. Run by sshd, as the forced command of a key that only that node may use; above
# this stand: folder (of the files), plan (our folder on this node), list (digest of the list), rate (bytes a second, 0:
# no limit), unit (bytes of a block).
#
# It is asked on standard input: `list DIGEST`, then any number of
#   file N OFFSET    the bytes of file N from OFFSET on; one that is still arriving here is followed as it grows
#   sums N           SHA-256 of each block of file N
#   block N INDEX    one block
# Each answer begins with a line `= N …`; a line `! …` says why there is none, and ends it. Files go by their number in
# the list, so nothing outside of it can be named.

LC_ALL=C
export LC_ALL

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

refuse() {
  printf '! %s\n' "$*"
  exit 65
}

# Whether this node's copy of the file is right: it never lacked it, or has verified it since.
holds() {
  [ ! -f "$plan/want" ] || ! grep -qx "$number" "$plan/want" || [ -f "$plan/done/$number" ]
}

size_of() {
  stat -L -c %s -- "$1" 2>/dev/null || echo -1
}

seconds() {
  read -r up rest </proc/uptime
  echo "${up%.*}"
}

# Whether it is in vain to wait for what this node itself is getting: its job has failed, or gives no sign any more.
stalled() {
  [ -d "$plan" ] && [ ! -f "$plan/failed" ] || return 0
  age=$(($(seconds) - $(cat "$plan/alive" 2>/dev/null || echo "$began")))
  [ $age -lt 0 ] || [ $age -gt 30 ]
}

await_own() {
  until holds; do
    ! stalled || refuse "this node itself could not get $path"
    sleep 0.2
  done
  [ "$(size_of "$folder/$path")" = "$size" ] || refuse "$path is not here as it was verified"
}

# Everything that the open file (descriptor 3) has from where it was read to, at no more than the rate.
flow() {
  [ "$rate" -gt 0 ] || { cat <&3; return; }
  first=$(at)
  last=$first
  begun=$(hundredths)
  while :; do
    dd bs=16384 count=$((rate / 65536 + 1)) <&3 2>/dev/null
    here=$(at)
    [ "$here" != "$last" ] || return 0
    last=$here
    early=$((begun + (here - first) * 100 / rate - $(hundredths)))
    [ $early -le 0 ] || sleep $((early / 100)).$((early / 10 % 10))$((early % 10))
  done
}

at() {
  sed -n 's/^pos:[[:space:]]*//p' /proc/self/fdinfo/3
}

hundredths() {
  read -r up rest </proc/uptime
  echo "${up%.*}${up#*.}"
}

# Descriptor 3 is the file, or what has arrived of it: its rest, to the end of the file.
pour() {
  printf '= %s %s %s\n' "$number" "$offset" $((size - offset))
  dd bs=1 skip="$offset" count=0 <&3 2>/dev/null
  while :; do
    now=$(stat -L -c %s /proc/self/fd/3)
    [ "$now" -le "$size" ] || exit 75
    flow
    [ "$now" -lt "$size" ] || return 0
    ! stalled || exit 75
    [ "$source" -ef /proc/self/fd/3 ] || [ "$folder/$path" -ef /proc/self/fd/3 ] || exit 75
    sleep 0.1
  done
}

give() {
  poured=
  while [ ! "$poured" ]; do
    if holds; then
      await_own
      source=$folder/$path
    else
      source=$folder/$path.part
      ! stalled || refuse "this node itself could not get $path"
    fi
    if [ "$(size_of "$source")" -ge "$offset" ]; then
      { poured=1; pour; } 3<"$source"
    else
      sleep 0.1
    fi
  done
}

sums() {
  await_own
  printf '= %s %s 0\n' "$number" $(((size + unit - 1) / unit))
  left=$(((size + unit - 1) / unit))
  { while [ $left -gt 0 ]; do
    dd bs="$unit" count=1 <&3 2>/dev/null | hash
    left=$((left - 1))
  done; } 3<"$folder/$path"
}

block() {
  await_own
  length=$((size - offset * unit))
  [ $length -ge 0 ] || refuse "no such block"
  [ $length -le "$unit" ] || length=$unit
  printf '= %s %s %s\n' "$number" "$offset" $length
  dd bs="$unit" skip="$offset" count=1 if="$folder/$path" 2>/dev/null
}

began=$(seconds)
read -r word digest || exit 0
[ "$word" = list ] && [ "$digest" = "$list" ] || refuse "another list of files is spread from this node now"
while read -r word number offset rest; do
  offset=${offset:-0}
  case ${number:-x}$offset$rest in *[!0-9]*) refuse "not understood" ;; esac
  entry=$(sed -n "${number}p" "$plan/files")
  [ "$entry" ] || refuse "there is no file $number"
  size=${entry%% *}
  path=${entry#* }
  path=${path#* }
  [ "$offset" -le "$size" ] || refuse "$path has no byte $offset"
  case $word in
  file) give ;;
  sums) sums ;;
  block) block ;;
  *) refuse "not understood" ;;
  esac
done
