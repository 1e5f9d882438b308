#!/bin/sh
# ip: what iproute2 prints of a node's interfaces and routes, in the one-line form.
family= object= device=
while [ $# -gt 0 ]; do
  case $1 in
  -6) family=6 ;;
  -*) ;;
  dev | show | list) [ $# -gt 1 ] && [ "$2" != dev ] && device=$2 ;;
  get) object=get target=$2 ;;
  *) [ "$object" ] || object=$1 ;;
  esac
  shift
done
show() {
  [ "$device" ] || cat '@root@/proc/net/.'"$1"
  [ -z "$device" ] || grep "^[0-9]*: $device[: ]" '@root@/proc/net/.'"$1"
}
case $object in
a | ad | addr | address) [ "$family" = 6 ] || show addr ;;
l | li | link) show link ;;
r | ro | route) cat '@root@/proc/net/.route' ;;
get) echo "$target dev eth0 src @address@ uid 0\\    cache" ;;
*) echo "Object \"$object\" is unknown, try \"ip help\"." >&2; exit 1 ;;
esac
