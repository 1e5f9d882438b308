#!/bin/sh
# getent: the node knows its own name, localhost, and who is in its passwd and group.
case $1 in
hosts)
  case $2 in
  '@name@' | '@address@') echo '@address@  @name@'; exit 0 ;;
  localhost) echo '127.0.0.1  localhost'; exit 0 ;;
  esac ;;
ahosts | ahostsv4)
  case $2 in '@name@') address='@address@' ;; localhost) address=127.0.0.1 ;; [0-9]*) address=$2 ;; *) exit 2 ;; esac
  printf '%s  STREAM %s\n%s  DGRAM  \n%s  RAW    \n' "$address" "$2" "$address" "$address"
  exit 0 ;;
passwd) grep "^${2:-.*}:\|^[^:]*:[^:]*:${2:-.*}:" '@root@/etc/passwd' && exit 0 ;;
group) grep "^${2:-.*}:" '@root@/etc/group' && exit 0 ;;
esac
exit 2
