#!/bin/sh
# ssh: the machine's own client. What the way to the other node has (tcp/<peer>) it meets before, in the client's words.
port=22 wait=127 address=
next=
for word; do
  case $next in
  skip) next='' ; continue ;;
  port) port=$word next='' ; continue ;;
  option) case $word in ConnectTimeout=*) wait=${word#*=} ;; esac; next='' ; continue ;;
  esac
  case $word in
  -p) next=port ;;
  -o) next=option ;;
  -[BbcDEeFIiJLlmOQRSWw]) next=skip ;;
  -*) ;;
  *) address=${word#*@}; break ;;
  esac
done
for fault in '@state@'/tcp/*; do
  [ -e "$fault" ] && grep -qx "address=$address" '@nodes@'/"${fault##*/}"/node || continue
  read -r kind milliseconds <"$fault"
  case $kind in
  refused) echo "ssh: connect to host $address port $port: Connection refused" >&2; exit 255 ;;
  dropped) sleep "$wait"; echo "ssh: connect to host $address port $port: Connection timed out" >&2; exit 255 ;;
  slow) sleep "$(awk "BEGIN {print ${milliseconds:-500} / 1000}")" ;;
  esac
done
exec '@real@' "$@"
