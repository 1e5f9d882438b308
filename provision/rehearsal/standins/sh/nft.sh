#!/bin/sh
# nft: no rules of its own, unless the fault firewall = nft put a chain there that drops what comes in, but for ssh.
[ "${@me@:-root}" = root ] || { echo 'Operation not permitted (you must be root)' >&2; exit 1; }
{ read -r fault <'@state@/firewall'; } 2>/dev/null || fault=
case "$*" in
*list*)
  [ "$fault" = nft ] || exit 0
  printf 'table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n'
  printf '\t\tct state established,related accept\n\t\tiifname "lo" accept\n\t\ttcp dport 22 accept\n\t}\n}\n' ;;
*) exit 0 ;;
esac
