#!/bin/sh
# hccn_tool -i DEVICE -OBJECT -g: the NPU's own network, in the words of the tool's own source. Messages marked "error"
# there go to stderr, others to stdout; the exit status is the code & 0xFF.
#
# Device d of node n has the address 29.n.112.(10+d) and, on A3, the vnic address 192.168.n.(199-d). A ping reaches any
# device of any node of the same rehearsal whose link is up. Faults are files below npu/d. Nothing here forks.
tell() { echo "$2" >&2; exit "$1"; }
[ "${@me@:-root}" = root ] || tell 12 'permission denied: pls check this cmd run permission.'
[ $# -ge 4 ] && [ "$1" = -i ] || tell 1 'Usage: hccn_tool -i <id> -<object> [-g|-s] [options]'

# Neither this tool nor npu-smi may run beside the other on one host: whoever comes second is told so.
born() { shift 19 && born=$1; }
busy() {
  { read -r pid since <'@lock@' && read -r line <"/proc/$pid/stat"; } 2>/dev/null || return 1
  born ${line##*) } && case ${line##*) } in [ZX]*) return 1 ;; esac
  [ "$born" = "$since" ] && [ "$pid" != $$ ]
}
busy && { echo 'hccn_tool is busy, please try again.'; exit 11; }
read -r line <"/proc/$$/stat" && born ${line##*) } && echo "$$ $born" >'@lock@'
read -r hang 2>/dev/null <'@state@/command/hccn_tool' && { [ "$hang" = hang ] && hang=100000; sleep "$hang"; }

device=$2 object=${3#-} n='@number@' action=$4
case $device in '' | *[!0-9]* | ???*) device=99 ;; esac
state='@state@/npu/'$device
[ "$device" -lt '@dies@' ] && [ ! -e "$state/missing" ] || tell 4 'The device is not exist!'
[ "$action" != -s ] || { echo 'Cmd executed successfully!'; exit 0; }

# said KEY DEFAULT: the fault, or how it is when all is well
said() { { read -r value <"$state/$1"; } 2>/dev/null || value=$2; }
said roce ''
lonely=$value
link=DOWN
[ "$lonely" ] || { said link UP && link=$value; }

# owner ADDRESS KIND: the node (k) and device (d) that have the address; KIND is ip or vnic
owner() {
  case $1 in *[!0-9.]*) return 1 ;; esac
  k=0 d=99
  case $1 in
  29.*.112.1? | 29.*.112.2?) k=${1#29.} k=${k%%.*} d=$((${1##*.} - 10)) ;;
  192.168.*.1[89]?) k=${1#192.168.} k=${k%%.*} d=$((199 - ${1##*.})) ;;
  esac
  [ -e '@nodes@/node'"$k/root/dev/davinci$d" ] && said_of "$2" "$1" && [ "$value" = "$1" ] && return 0
  for file in '@nodes@'/node*/state/npu/*/"$2"; do
    { read -r value <"$file"; } 2>/dev/null && [ "$value" = "$1" ] || continue
    d=${file%/"$2"} d=${d##*/} k=${file#'@nodes@'/node} k=${k%%/*}
    return 0
  done
  return 1
}
# said_of KEY DEFAULT: what the device (k, d) says
said_of() { { read -r value <'@nodes@/node'"$k/state/npu/$d/$1"; } 2>/dev/null || value=$2; }
# reaches ADDRESS KIND: whether the other end answers; sets fate to what happens on the way
reaches() {
  fate=
  owner "$1" "$2" || return 1
  said_of missing '' && [ -z "$value" ] || return 1
  [ "$2" = vnic ] || { said_of link UP && [ "$value" = UP ] && said_of roce '' && [ -z "$value" ]; } || return 1
  [ "$2" = vnic ] || [ "$k" != "$n" ] || [ '@chips@' = 1 ] || [ $((d / 2)) != $((device / 2)) ] || [ "$d" = "$device" ] || return 1
  said "ping/node$k:$d" '' && fate=$value
  [ "$fate" ] || { said "ping/node$k" '' && fate=$value; }
  [ "$fate" != lost ]
}

# Times in microseconds, made from who pings whom: the first packet takes longer, as the path is looked up.
pass() { micros=$(($2 * 17 + d * 7 + k * 5 + device * 3)); [ "$1" != 0 ] && micros=$((40 + micros % 30)) || micros=$((110 + micros % 80)); }
packet_time() {
  pass "$seq" "$seq"
  case $fate in slow\ *) micros=$((${fate#slow } * 1000 + micros)) ;; esac
}
thousandths() { whole=$(($1 / 1000)) rest=$(($1 % 1000)); while [ ${#rest} -lt 3 ]; do rest=0$rest; done; }
percent() { hundredths=$(($1 * 10000 / $2)) loss=$((hundredths / 100)) hundredths=$((hundredths % 100)); [ ${#hundredths} = 2 ] || hundredths=0$hundredths; loss=$loss.$hundredths; }

roce_ping() {
  if [ "$link" = UP ] && reaches "$target" ip; then first=0; else first=$count; fi
  [ "$fate" != partial ] || first=1
  echo "device $device PING $target"
  seq=0 got=0
  while [ $seq -lt "$count" ]; do
    if [ $seq -lt $first ]; then echo "recv time out seq=$seq"; else
      packet_time && thousandths $micros && echo "recv seq=$seq,time=$whole.${rest}000ms" && got=$((got + 1))
    fi
    seq=$((seq + 1))
  done
  percent $((count - got)) "$count"
  echo "$count packets transmitted, $got received, $loss% packet loss"
  [ $got -gt 0 ]
}

# The tool ends with success whatever was lost: its counts tell.
hccs_ping() {
  said vnic UP
  first=$count
  case $value in DOWN | none) ;; *) reaches "$target" vnic && vnic_up && first=0 ;; esac
  [ "$fate" != partial ] || first=1
  printf 'device %s PING %s\n\n' "$device" "$target"
  seq=0 got=0 most=0 least=0 sum=0
  while [ $seq -lt "$count" ]; do
    micros=0
    if [ $seq -lt $first ]; then echo 'This pkt send fail!'; else
      packet_time && micros=$((micros / 4)) got=$((got + 1)) sum=$((sum + micros))
      [ $micros -le $most ] || most=$micros
      [ $least != 0 ] && [ $micros -ge $least ] || least=$micros
      echo 'This pkt ping success!'
    fi
    echo "recv seq $seq, time = $micros.000us, L1 plane check result = 0x0"
    seq=$((seq + 1))
  done
  percent $((count - got)) "$count"
  echo "$count packets transmitted, $got received, $loss% packets loss"
  printf 'max time %s.000us\nmin time %s.000us\naverage time %s.000us\nTP95 time %s.000us\n' \
    $most $least $((got ? sum / got : 0)) $most
}
vnic_up() { said_of vnic UP; case $value in DOWN | none) return 1 ;; esac; }

ping_options() {
  shift 4
  target= count=3
  while [ $# -ge 2 ]; do
    case $1 in
    address) target=$2 ;;
    cnt) count=$2 ;;
    pkt | interval | timeout) ;;
    *) tell 3 'Get unknown option!' ;;
    esac
    shift 2
  done
  case $target in '' | *[!0-9.]*) tell 1 'Cmd execute failed!' ;; esac
  case $count in '' | *[!0-9]* | 0 | ????*) tell 1 'Cmd execute failed!' ;; esac
}

case $object in
link) echo "link status: $link" ;;
net_health)
  usual=Success
  [ "$link" = UP ] || usual=Fault
  said netdetect ''
  [ "$value" != none ] && [ -z "$lonely" ] || usual=Init
  if [ "$link" = UP ]; then said net_health $usual; else value=$usual; fi
  echo "net health status: $value" ;;
ip)
  said ip "29.$n.112.$((device + 10))"
  [ "$value" != none ] && [ -z "$lonely" ] || tell 13 'Get ipconf failed, because no ip was preset there!'
  printf 'ipaddr:%s\nnetmask:255.255.0.0\n' "$value" ;;
netdetect)
  said netdetect "29.$n.0.1"
  [ "$value" != none ] && [ -z "$lonely" ] || value=0.0.0.0
  echo "netdetect address: $value" ;;
gateway)
  said gateway "29.$n.0.1"
  [ "$value" != none ] && [ -z "$lonely" ] || tell 2 'Get gateway failed, because no gateway was preset there!'
  echo "default gateway:$value, Iface:eth$device" ;;
tls)
  said tls 0
  echo "dev_id:$device, tls switch[$value](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset)," \
    'tls alarm time threshold[60]days' ;;
vnic)
  said vnic UP
  address="192.168.$n.$((199 - device))" up=UP
  case $value in
  DOWN) up=DOWN ;;
  none) tell 13 'Get ipconf failed, because no ip was preset there!' ;;
  *.*) address=$value ;;
  esac
  printf 'vnic link status: %s\nvnic ipaddr: %s\nvnic netmask: 255.255.255.0\n' "$up" "$address" ;;
lldp)
  said lldp ''
  [ "$link" = UP ] && [ "$value" != none ] || { echo 'End of LLDPDU TLV'; exit 0; }
  printf 'Chassis ID TLV\n\tMAC: 48:dc:2d:11:22:33\nPort ID TLV\n\tIfname: 400GE1/%s/%s\n' "$n" $((device + 1))
  printf 'System Description TLV\n\tVersatile Routing Platform Software\nVRP (R) software, Version 8.211 (DX511 V200R021C10SPC600)\n\nHuarong DX511\n\n'
  printf 'System Capabilities TLV\n\tEnabled capabilities: Bridge, Router\nMaximum Frame Size TLV\n\t9216\nEnd of LLDPDU TLV\n' ;;
link_stat)
  said flaps 1
  echo "[devid $device]current time        : Sun Aug  2 03:36:43 2026"
  echo "[devid $device]link up count       : $value"
  echo "[devid $device]link change records :"
  [ "$link" = UP ] || echo "[devid $device]    Sun Aug  2 03:35:11 2026    LINK DOWN"
  [ "$value" -le 60 ] 2>/dev/null || value=60
  while [ "$value" -gt 1 ]; do
    at=$((value % 50))
    echo "[devid $device]    Sun Aug  2 03:$((value % 24 + 10)):$((at + 10)) 2026    LINK UP"
    echo "[devid $device]    Sun Aug  2 03:$((value % 24 + 10)):$((at + 9)) 2026    LINK DOWN"
    value=$((value - 1))
  done
  echo "[devid $device]    Sat Aug  1 14:43:26 2026    LINK UP" ;;
fec)
  said fec rs
  echo "fec mode: $value FEC mode" ;;
stat)
  said errors 0
  printf 'packet statistics:\nmac_tx_bad_pkt_num:0\nmac_rx_bad_pkt_num:0\nmac_rx_fcs_err_pkt_num:%s\n' "$value"
  printf 'roce_rx_err_pkt_num:%s\nroce_tx_err_pkt_num:0\nroce_out_of_order_num:%s\nroce_new_pkt_rty_num:%s\n' "$value" "$value" "$value" ;;
hw_stats)
  for pair in pd_alloc:1 pd_dealloc:0 mr_alloc:0 mr_dealloc:0 cq_alloc:1 cq_dealloc:0 qp_alloc:1 qp_dealloc:0 pd_active:1 \
    mr_active:0 cq_active:1 qp_active:1 aeqe:0 ceqe:0; do
    echo "[devid $device] ${pair%:*}: ${pair#*:}"
  done ;;
optical)
  said optical ''
  case $value in
  absent) present='not present' los=0xff receive=0.0000 ;;
  dark) present=present los=0xff receive=0.0001 ;;
  *) present=present los=0x0 receive=1.0189 ;;
  esac
  echo 'optical info:'
  printf '%-21s: %s\n' present "$present" 'Tx Power' '1.1021 mW' 'Rx Power' "$receive mW" 'Vcc High Thres' '3465.00 mV' \
    'Vcc Low Thres' '3135.00 mV' 'Temp High Thres' '70 C' 'Temp Low Thres' '0 C' 'TxPower High Thres' '3.5481 mW' \
    'TxPower Low Thres' '0.2818 mW' 'RxPower High Thres' '3.5481 mW' 'RxPower Low Thres' '0.1445 mW' 'Tx Bias' '7.9360 mA' \
    'Tx Los Flag' 0x0 'Rx Los Flag' "$los" 'Tx LoL Flag' 0x0 'Rx LoL Flag' "$los" ;;
route)
  echo 'Routing table:'
  echo 'Destination     Gateway         Genmask         Flags Metric Ref    Use Iface'
  printf '%-15s %-15s %-15s %-5s 0      0        0 %s\n' default "29.$n.0.1" 0.0.0.0 UG "eth$device" \
    "29.$n.0.0" '*' 255.255.0.0 U "eth$device" 127.0.0.1 '*' 255.255.255.255 UH lo ;;
speed) echo 'Speed: 200000 Mb/s' ;;
ping)
  ping_options "$@"
  roce_ping ;;
hccs_ping)
  [ '@chips@' = 2 ] || { echo 'The command is not supported on this product.'; exit 13; }
  ping_options "$@"
  hccs_ping ;;
*) tell 3 "Get unknown option!" ;;
esac
