#!/bin/sh
# iptables: what docker put there; the fault firewall = iptables or ufw drops what comes in, but for ssh.
[ "${@me@:-root}" = root ] || { echo 'iptables v1.8.7 (legacy): can'\''t initialize iptables table `filter'\'': Permission denied (you must be root)' >&2; exit 4; }
{ read -r fault <'@state@/firewall'; } 2>/dev/null || fault=
policy=ACCEPT
case $fault in iptables | ufw) policy=DROP ;; esac
chain=
for word; do case $word in INPUT | FORWARD | OUTPUT | DOCKER) chain=$word ;; esac; done
case "$*" in
*-S*)
  {
  printf -- '-P INPUT %s\n-P FORWARD ACCEPT\n-P OUTPUT ACCEPT\n-N DOCKER\n' $policy
  [ $policy = ACCEPT ] || printf -- '-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n'
  echo '-A FORWARD -o docker0 -j DOCKER'
  } | while read -r line; do case $line in *" ${chain:+$chain }"* | *" $chain") echo "$line" ;; esac; done ;;
*-L*)
  printf 'Chain INPUT (policy %s)\ntarget     prot opt source               destination         \n' $policy
  [ $policy = ACCEPT ] || printf 'ACCEPT     tcp  --  0.0.0.0/0            0.0.0.0/0            tcp dpt:22\n'
  printf '\nChain FORWARD (policy ACCEPT)\ntarget     prot opt source               destination         \nDOCKER     all  --  0.0.0.0/0            0.0.0.0/0           \n'
  printf '\nChain OUTPUT (policy ACCEPT)\ntarget     prot opt source               destination         \n' ;;
*-V* | *--version*) echo 'iptables v1.8.7 (legacy)' ;;
*) exit 0 ;;
esac
