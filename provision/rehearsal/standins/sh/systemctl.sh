#!/bin/sh
# systemctl: whether services are active. What a fault started can be stopped; that mends the fault.
command= units= property= value=
for word; do
  case $word in
  -p) property=next ;;
  --property=*) property=${word#*=} ;;
  --value) value=1 ;;
  -*) ;;
  *) if [ "$property" = next ]; then property=$word; elif [ "$command" ]; then units="$units ${word%.service}"; else command=$word; fi ;;
  esac
done
state_of() {
  state=inactive
  case $1 in
  docker) state=active; read -r fault 2>/dev/null <'@state@/docker/daemon' && state=failed ;;
  sshd | ssh | containerd) state=active ;;
  chronyd | chrony) state=active; { read -r fault <'@state@/timesync'; } 2>/dev/null && [ "$fault" = none ] && state=inactive ;;
  irqbalance) [ -e '@state@/irqbalance' ] && state=active ;;
  firewalld | ufw | iptables | nftables | nft)
    { read -r fault <'@state@/firewall'; } 2>/dev/null || fault=
    [ "$fault" = "$1" ] || [ "$fault:$1" = nft:nftables ] && state=active ;;
  esac
}
status=0
case $command in
is-active)
  for unit in $units; do state_of "$unit"; echo $state; [ $state = active ] || status=3; done ;;
is-enabled)
  for unit in $units; do
    state_of "$unit"
    if [ $state = active ]; then echo enabled; else echo disabled; status=1; fi
  done ;;
show)
  for unit in $units; do
    state_of "$unit"
    [ "$value" ] && echo $state || echo "${property:-ActiveState}=$state"
  done ;;
status)
  for unit in $units; do
    state_of "$unit"
    printf '* %s.service\n     Loaded: loaded (/usr/lib/systemd/system/%s.service)\n     Active: %s\n' "$unit" "$unit" $state
    [ $state = active ] || status=3
  done ;;
stop | disable | mask)
  [ "${@me@:-root}" = root ] || { echo 'Access denied' >&2; exit 4; }
  for unit in $units; do
    case $unit in
    irqbalance)
      read -r pid born 2>/dev/null <'@processes@/irqbalance' && kill "$pid" 2>/dev/null
      rm -rf '@root@/proc/'"${pid:?}"
      rm -f '@state@/irqbalance' '@processes@/irqbalance' ;;
    firewalld | ufw | iptables | nftables) rm -f '@state@/firewall' ;;
    esac
  done ;;
start | restart | reload | enable | unmask | daemon-reload) ;;
is-system-running) echo running ;;
reboot)
  [ "${@me@:-root}" = root ] || { echo 'Failed to set wall message, ignoring: Access denied' >&2; exit 1; }
  mkdir -p '@state@/boot' && echo 1 >'@state@/boot/requested' ;;
*) echo "Unknown command verb $command." >&2; exit 1 ;;
esac
exit $status
