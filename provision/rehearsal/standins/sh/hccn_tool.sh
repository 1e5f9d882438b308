#!/bin/sh
# hccn_tool -i DEVICE -OBJECT -g: the NPU's own network. Errors go to stderr, the exit status is the code & 0xFF.
#
# Device d of node n has the address 29.n.112.(10+d) and, on A3, the vnic address 192.168.n.(199-d). A ping reaches any
# device of any node of the same rehearsal whose link is up. Faults are files below npu/d.
read -r hang 2>/dev/null <'@state@/command/hccn_tool' && { [ "$hang" = hang ] && hang=100000; sleep "$hang"; }
[ "${@me@:-root}" = root ] || { echo 'hccn_tool: permission denied' >&2; exit 12; }
[ $# -ge 4 ] && [ "$1" = -i ] || { echo 'Usage: hccn_tool -i <id> -<object> [-g|-s] [options]' >&2; exit 1; }
device=$2 object=${3#-} n='@number@'
case $device in '' | *[!0-9]*) device=99 ;; esac
state='@state@/npu/'$device
[ "$device" -lt '@dies@' ] && [ ! -e "$state/missing" ] || { echo 'No such device' >&2; exit 4; }
[ "$4" != -s ] || { echo 'Cmd executed successfully!'; exit 0; }

# said KEY DEFAULT: the fault, or how it is when all is well
said() { { read -r value <"$state/$1"; } 2>/dev/null || value=$2; }
said link UP
link=$value

# up ADDRESS: whether some node has a device of that address, with its link up
up() {
  case $1 in
  29.*.112.*) k=${1#29.} k=${k%%.*} d=$((${1##*.} - 10)) ;;
  192.168.*) k=${1#192.168.} k=${k%%.*} d=$((199 - ${1##*.})) ;;
  *) return 1 ;;
  esac
  peer='@nodes@/node'$k
  [ -e "$peer/root/dev/davinci$d" ] || return 1
  { read -r value <"$peer/state/npu/$d/link"; } 2>/dev/null || value=UP
  [ "$value" = UP ]
}

case $object in
link) echo "link status: $link" ;;
net_health)
  if [ "$link" = UP ]; then said net_health Success; else said net_health Fault; fi
  echo "net health status: $value" ;;
ip)
  said ip "29.$n.112.$((device + 10))"
  [ "$value" != none ] || { echo 'hccn_tool: no ip is set' >&2; exit 13; }
  printf 'ipaddr:%s\nnetmask:255.255.0.0\n' "$value" ;;
netdetect) echo "netdetect address: 29.$n.0.1" ;;
gateway) echo "default gateway:29.$n.0.1, Iface:eth$device" ;;
tls)
  said tls 0
  echo "dev_id:$device, tls switch[$value](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset)," \
    'tls alarm time threshold[60]days' ;;
vnic)
  said vnic UP
  printf 'vnic link status: %s\nvnic ipaddr: 192.168.%s.%s\nvnic netmask: 255.255.255.0\n' "$value" "$n" $((199 - device)) ;;
lldp)
  [ "$link" = UP ] || { echo 'End of LLDPDU TLV'; exit 0; }
  printf 'Chassis ID TLV\n\tMAC: 48:dc:2d:11:22:33\nPort ID TLV\n\tIfname: 400GE1/%s/%s\n' "$n" $((device + 1))
  printf 'System Description TLV\n\tVersatile Routing Platform Software\nMaximum Frame Size TLV\n\t9216\nEnd of LLDPDU TLV\n' ;;
link_stat)
  echo "[devid $device]current time        : Sun Aug  2 03:36:43 2026"
  echo "[devid $device]link up count       : 2"
  echo "[devid $device]link change records :"
  echo "[devid $device]    Sat Aug  1 14:44:40 2026    LINK $link"
  echo "[devid $device]    Sat Aug  1 14:43:26 2026    LINK UP" ;;
fec) echo 'fec mode: rs FEC mode' ;;
stat) printf 'packet statistics:\nroce_rx_err_pkt_num:0\nroce_tx_err_pkt_num:0\n' ;;
optical) printf 'optical info:\npresent              : present\nTx Power0            : 1.1021 mW\nRx Power0            : 0.9811 mW\n' ;;
ping | hccs_ping)
  for target; do :; done
  if [ "$link" = UP ] && up "$target"; then got=3 lost=0.00 status=0; else got=0 lost=100.00 status=1; fi
  if [ $object = hccs_ping ]; then
    kind='HCCS PING' packet='This pkt ping success!' word=packets
    [ $got = 3 ] || packet='This pkt send fail!'
  else
    kind=PING packet='recv seq=%s,time=1.418000ms' word=packet
    [ $got = 3 ] || packet='recv seq=%s timeout'
  fi
  echo "device $device $kind $target"
  for seq in 0 1 2; do printf "$packet\n" $seq; done
  echo "3 packets transmitted, $got received, $lost% $word loss"
  exit $status ;;
*) echo "Unsupported object: $object" >&2; exit 1 ;;
esac
