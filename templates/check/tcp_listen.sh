# What tcp_listen.py does, where a node has no python3: sh tcp_listen.sh WORD SECONDS ADDRESS COUNT PORT…, with socat or
# with an nc that knows -k. nc greets nobody: it says "mute". "no tool" where there is neither.
word=$1 seconds=$2 address=$3 count=$4
shift 4
if command -v socat >/dev/null; then tool=socat
elif command -v nc >/dev/null; then tool=nc; echo mute
else echo 'no tool'; exit 0; fi
listens() { grep -qi ":$(printf %04X "$1") [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null; }
listen() {
  case $tool in
  socat) command="socat TCP-LISTEN:$2,bind=$address,reuseaddr,fork SYSTEM:'echo $word'" ;;
  nc) command="nc -lk $address $2" ;;
  esac
  setsid timeout "$seconds" sh -c ": $word; exec $command" >/dev/null 2>&1 </dev/null &
  pid=$! n=0
  while [ $n -lt 10 ]; do
    listens "$2" && { echo "$1 $2"; echo "pid $pid"; return 0; }
    sleep 0.1 && n=$((n + 1))
  done
  kill "$pid" 2>/dev/null
  return 1
}
for port; do
  if listens "$port"; then echo "taken $port"; else listen port "$port" || echo "cannot $port $tool does not listen"; fi
done
for port in $(awk -v n="$count" 'BEGIN { srand(); for (i = 0; i < 3 * n; i++) print 33000 + int(rand() * 27000) }'); do
  [ "$count" -gt 0 ] || break
  listens "$port" || { listen random "$port" && count=$((count - 1)); }
done
exit 0
