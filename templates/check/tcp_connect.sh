# What tcp_connect.py does, where a node has no python3: sh tcp_connect.sh SECONDS SAMPLES NAME=WORD=ADDRESS=PORT,PORT…,
# with bash or an nc that knows -z. It measures nothing. "no tool" where there is neither.
seconds=${1%.*}
shift 2
[ "$seconds" -gt 0 ] 2>/dev/null || seconds=1
if command -v bash >/dev/null; then
  one() { timeout "$seconds" bash -c 'exec 3<>"/dev/tcp/$1/$2" && { [ -z "$3" ] || IFS= read -r l <&3; echo "=$l"; }' - "$@" 2>&1; }
elif command -v nc >/dev/null; then
  one() { timeout "$seconds" nc -z -v -w "$seconds" "$1" "$2" </dev/null 2>&1 && echo "=$3"; }
else echo 'no tool'; exit 0; fi
try() {
  said=$(one "$3" "$4" "$2"); status=$?
  case $status,$said in
  *"=$2"*) outcome=ok ;;
  *,=) outcome=silent ;;
  *,=*) outcome=stranger ;;
  *refused*) outcome=refused ;;
  *'No route'* | *unreachable* | *'nvalid argument'*) outcome=unreachable ;;
  *'not permitted'* | *'ermission denied'*) outcome=forbidden ;;
  *reset*) outcome=reset ;;
  124,* | 143,* | *'timed out'*) outcome=timeout ;;
  *) outcome=failed ;;
  esac
  echo "$1 $4 $outcome"
}
started=0
for target; do
  name=${target%%=*} rest=${target#*=}
  word=${rest%%=*} rest=${rest#*=}
  address=${rest%%=*} ports=${rest#*=}
  for port in $(echo "$ports" | tr , ' '); do
    try "$name" "$word" "$address" "$port" &
    started=$((started + 1))
    [ $((started % 64)) -ne 0 ] || wait
  done
done
wait
