#!/bin/sh
# firewall-cmd: firewalld runs only where the fault firewall says so, and then lets ssh in and nothing else.
{ read -r fault <'@state@/firewall'; } 2>/dev/null || fault=
[ "$fault" = firewalld ] || { echo 'not running' >&2; exit 252; }
case "$*" in
*--state*) echo running ;;
*--get-default-zone*) echo public ;;
*--get-active-zones*) printf 'public\n  interfaces: eth0\n' ;;
*--list-ports* | *--list-rich-rules*) echo ;;
*--list-services*) echo 'dhcpv6-client ssh' ;;
*--list-all*)
  printf 'public (active)\n  target: default\n  icmp-block-inversion: no\n  interfaces: eth0\n  sources: \n  services: dhcpv6-client ssh\n'
  printf '  ports: \n  protocols: \n  forward: no\n  masquerade: no\n  forward-ports: \n  source-ports: \n  icmp-blocks: \n  rich rules: \n' ;;
*--version*) echo 1.0.2 ;;
*) echo success ;;
esac
