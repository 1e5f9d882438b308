# Asking registries on a node that has nothing but docker: "docker system dial-stdio" carries HTTP to the daemon, which
# has the node's own proxies, mirrors and certificates. POSIX sh and awk. Set before: api (yes or no: may it be tried).
#
# The daemon gives up on a request whose sender has closed its end, so that end is kept open by a named pipe that its
# reader itself has open for writing.

work=$(mktemp -d) || exit 1
end() { :; }
trap 'end; rm -rf "$work"' EXIT
trap 'exit 143' HUP INT TERM
calls=0

json() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

# The login (user:password) that docker keeps for a repository's registry: empty where there is none. Status 1: only
# docker's own client can find it (a credential helper, a token).
pair_for() {
  config=${DOCKER_CONFIG:-${HOME:-/root}/.docker}/config.json
  [ -r "$config" ] || return 0
  host=$(index_of "$1")
  flat=$(tr -d ' \t\r\n' <"$config")
  case $flat in *"\"$host\":\""*) return 1 ;; *"\"$host\":{"*) ;; *) return 0 ;; esac
  entry=${flat#*"\"$host\":{"}
  entry=${entry%%\}*}
  case $entry in *token\":\"[!\"]*) return 1 ;; *'"auth":"'[!\"]*) ;; *) return 1 ;; esac
  entry=${entry#*'"auth":"'}
  printf '%s' "${entry%%\"*}" | base64 -d 2>/dev/null
}

# The name under which logins for a repository's registry are kept.
index_of() {
  case ${1%%/*} in
    docker.io) echo https://index.docker.io/v1/ ;;
    *.* | *:* | localhost) echo "${1%%/*}" ;;
    *) echo https://index.docker.io/v1/ ;;
  esac
}

# The same as the daemon takes it.
login() {
  pair=$(pair_for "$1") || return 1
  [ -n "$pair" ] || return 0
  printf '{"username":"%s","password":"%s","serveraddress":"%s"}' \
    "$(json "${pair%%:*}")" "$(json "${pair#*:}")" "$(index_of "$1")" | base64 | tr -d '\n' | tr '+/' '-_'
}

# call METHOD PATH REPOSITORY SECONDS: the daemon's answer with its header. Status 9: it can't be asked in this way.
call() {
  [ "$api" = yes ] && header=$(login "$3") || return 9
  calls=$((calls + 1))
  pipe=$work/call-$calls${5:-}
  mkfifo "$pipe" || return 9
  (
    exec 3<>"$pipe"
    printf '%s %s HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n' "$1" "$2" >&3
    [ -z "$header" ] || printf 'X-Registry-Auth: %s\r\n' "$header" >&3
    printf '\r\n' >&3
    timeout "$4" docker system dial-stdio <"$pipe"
  )
  status=$?
  rm -f "$pipe"
  return $status
}

# ask REPOSITORY TAG-OR-DIGEST: prints the digest. Status 1: what the registry or the daemon says instead is printed;
# 2: this daemon can't be asked.
ask() {
  case $2 in sha256:*) name=$1@$2 ;; *) name=$1:$2 ;; esac
  said=$(call GET "/distribution/$name/json" "$1" 25 "${3:-}" 2>&1)
  status=$?
  case $said in
    HTTP/1.?\ 200*)
      said=$(printf '%s\n' "$said" | sed -n 's/.*"Descriptor":{[^}]*"digest":"\(sha256:[0-9a-f]*\)".*/\1/p')
      [ -n "$said" ] || return 2
      echo "$said"
      ;;
    HTTP/1.*)
      printf '%s\n' "$said" | sed -n '/^{/{s/.*"message":"//; s/"}[[:space:]]*$//; s/\\"/"/g; s/\\n/ /g; p;}' | head -n 1
      return 1
      ;;
    *)
      if [ $status -eq 124 ]; then
        echo 'no answer within 25 s'
        return 1
      fi
      return 2
      ;;
  esac
}
