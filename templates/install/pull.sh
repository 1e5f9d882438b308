# Bring an image onto this node from the first of several repositories that has exactly it. Set before: ref (what it is
# called here), tag, digest (empty where it could not be asked: then the tag's, whatever it is), order (in-order or race),
# retries, pause; as words the repositories.
#
# What may pass (a registry that does not answer, a connection that breaks) is tried again, after all the others; what
# will not (another digest, no such image, no login) ends a source, and what is the node's own fault ends it all.

# Docker's progress, as lines that "docker pull" prints, and with bytes: "LAYER: Downloading 1048576 of 4194304", a few
# dozen a layer. Status 1: failed, and why is in the file errors; 9: that was no answer of a daemon.
follow() {
  awk -v errors="$work/errors" '
  function text(key, found) {
    if (!match($0, "\"" key "\":\"([^\"\\\\]|\\\\.)*\"")) return ""
    found = substr($0, RSTART + length(key) + 4, RLENGTH - length(key) - 5)
    gsub(/\\"/, "\"", found)
    gsub(/\\n/, " ", found)
    return found
  }
  function number(key) {
    if (!match($0, "\"" key "\":[0-9]+")) return ""
    return substr($0, RSTART + length(key) + 3, RLENGTH - length(key) - 3)
  }
  function fail(why) { print why >errors; failed = 1 }
  NR == 1 { answered = ($0 ~ /^HTTP\/1/); good = ($2 == 200); next }
  !body { body = ($0 ~ /^\r?$/); next }
  !good { fail(text("message")); next }
  {
    said = text("status"); id = text("id"); error = text("error")
    if (error != "") { fail(error); next }
    if (said == "" || id ~ /[:\/]/) next
    if (id == "") { if (said ~ /^(Digest|Status): /) { ended = 1; print said; fflush() } next }
    if (said == "Downloading" || said == "Extracting") {
      now = number("current"); total = number("total")
      step = total / 20; if (step < 4194304) step = 4194304; if (step > 33554432) step = 33554432
      if (total == "" || ((id, said) in seen && now - seen[id, said] < step)) next
      seen[id, said] = now + 0
      print id ": " said " " now " of " total
    } else {
      plain = said; sub(/[0-9]+ seconds?$/, "a few seconds", plain)
      if (last[id] == plain) next
      last[id] = plain
      print id ": " plain
    }
    fflush()
  }
  END {
    if (!answered) exit 9
    if (!failed && !ended) fail(good ? "the answer of the daemon broke off" : "the daemon refused without a word")
    exit failed
  }'
}

# Status 0: here; 1: it may pass; 2: not from there; 3: not on this node. What was said is in the file errors.
from() {
  : >"$work/errors"
  if [ -n "$digest" ]; then name=$1@$digest; else name=$1:$tag; fi
  echo "pulling $name"
  call POST "/images/create?fromImage=$1&tag=${digest:-$tag}" "$1" 1000000 2>"$work/client" | follow
  case $? in
    0) ;;
    9) docker pull "$name" 2>"$work/errors" || return "$(graver)" ;;
    *) return "$(graver)" ;;
  esac
  named "$1" 2>"$work/errors" || return "$(graver)"
}

# Give the image its name here, once it is proven to be the one that is wanted.
named() {
  held=$(docker image inspect --format '{{json .RepoDigests}}' "$name") || return
  if [ -z "$digest" ]; then
    digest=$(printf '%s\n' "$held" | tr ',[]' '\n' | sed -n "s#^\"$1@\\(sha256:[0-9a-f]*\\)\"\$#\\1#p" | head -n 1)
    [ -n "$digest" ] || { echo "docker does not tell the digest of $name: $held" >&2 && return 1; }
  fi
  case $held in
    *"@$digest\""*) ;;
    *) echo "docker holds $held where $digest was asked for: refused" >&2 && return 1 ;;
  esac
  case $ref in *@*) ;; *) [ "$name" = "$ref" ] || docker tag "$name" "$ref" || return ;; esac
  echo "digest $1 $digest"
}

graver() {
  if said 'no space left|disk quota|read-only file system|cannot connect to the docker|permission denied while trying|invalid tar header|failed to register layer|operation not permitted'; then
    echo 3
  elif said 'eof|time[d]? ?out|deadline|tls handshake|reset by peer|connection refused|no such host|temporary failure|unreachable|no route to host|server misbehaving|http status(:|code:)? ?(5|429)|(500|502|503|504) [a-z]|too ?many ?requests|broken pipe|broke off|cancell?ed|verification failed|no answer'; then
    echo 1
  else
    echo 2
  fi
}
said() { grep -qiE "$1" "$work/errors"; }

why() { printf '%s\n' "$1" >"$work/why-$(printf '%s' "$2" | tr '/:' '__')"; }
told() { cat "$work/why-$(printf '%s' "$1" | tr '/:' '__')" 2>/dev/null || echo 'not asked'; }

# The sources in the order in which they answer that they have it; those that don't, last. Who asks keeps no hold of our
# output, as our reader would else wait for the slowest.
raced() {
  : >"$work/first"
  : >"$work/all"
  turn=0
  for source; do
    turn=$((turn + 1))
    (
      ask "$source" "${digest:-$tag}" "-$turn" >/dev/null && echo "$source" >>"$work/first"
      echo "$source" >>"$work/all"
    ) >/dev/null 2>&1 &
  done
  while [ ! -s "$work/first" ] && [ "$(wc -l <"$work/all")" -lt $# ]; do sleep 0.1; done
  cp "$work/first" "$work/order"
  for source; do grep -qxF "$source" "$work/order" || echo "$source" >>"$work/order"; done
  cat "$work/order"
}

left=$*
if [ "$order" = race ] && [ $# -gt 1 ]; then
  left=$(raced "$@")
fi
turn=0
while [ -n "$left" ]; do
  later=
  for source in $left; do
    from "$source"
    case $? in
      0) exit 0 ;;
      1) later="$later $source" ;;
      3) left= later= broken=yes ;;
      *)
        if [ -n "$digest" ] && [ -n "$tag" ] && said 'manifest unknown|not found'; then
          served=$(ask "$source" "$tag") && [ "$served" != "$digest" ] &&
            echo "serves $served as $tag instead of $digest: refused" >"$work/errors"
        fi
        ;;
    esac
    reason=$(tr '\n' ' ' <"$work/errors")
    why "${reason:-$(tr '\n' ' ' <"$work/client")}" "$source"
    echo "not from $source: $(told "$source")"
    [ -z "${broken:-}" ] || break
  done
  left=$later
  [ -n "$left" ] && [ $turn -lt "$retries" ] || break
  turn=$((turn + 1))
  echo "waiting $pause s, then attempt $((turn + 1)) of $((retries + 1))"
  sleep "$pause"
  pause=$((pause * 3))
  [ $pause -le 60 ] || pause=60
done
for source; do echo "failed $source: $(told "$source")"; done
exit 1
