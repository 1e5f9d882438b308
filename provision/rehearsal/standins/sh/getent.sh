#!/bin/sh
# getent: names and addresses of the node's /etc/hosts (the name server knows none), and who is in passwd and group.
read -r hang 2>/dev/null <'@state@/dns/hang' && { [ "$hang" = 1 ] && hang=100000; sleep "$hang"; }
# found WORD: sets address and names to the first line of /etc/hosts that has the word
found() {
  while read -r address names; do
    case " $address $names " in '' | ' #'*) ;; *" $1 "*) return 0 ;; esac
  done <'@root@/etc/hosts'
  return 1
}
case $1 in
hosts)
  [ "$2" ] || { cat '@root@/etc/hosts'; exit 0; }
  found "$2" && { printf '%-15s %s\n' "$address" "$names"; exit 0; } ;;
ahosts | ahostsv4)
  case $2 in *[!0-9.]*) found "$2" || exit 2 ;; *) address=$2 ;; esac
  printf '%-15s STREAM %s\n%-15s DGRAM  \n%-15s RAW    \n' "$address" "$2" "$address" "$address"
  exit 0 ;;
passwd) grep "^${2:-.*}:\|^[^:]*:[^:]*:${2:-.*}:" '@root@/etc/passwd' && exit 0 ;;
group) grep "^${2:-.*}:" '@root@/etc/group' && exit 0 ;;
esac
exit 2
