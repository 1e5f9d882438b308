#!/bin/sh
# journalctl: of the journal a node has the kernel's messages. -o short (usual) and short-iso, -n counts, -u finds none.
kernel= iso= count= units=
while [ $# -gt 0 ]; do
  case $1 in
  --dmesg) kernel=1 ;;
  --lines=*) count=${1#*=} ;;
  --output=*) [ "${1#*=}" = short ] || iso=1 ;;
  -o | --output) [ "$2" = short ] || iso=1; shift ;;
  -n | --lines) count=$2; shift ;;
  -u | --unit) units=1; shift ;;
  --unit=*) units=1 ;;
  -S | -U | --since | --until | -p | --priority | -t) shift ;;
  -[bqr]*k* | -k*) kernel=1 ;;
  esac
  shift
done
if [ -z "$kernel" ] || [ "$units" ]; then echo '-- No entries --'; exit 0; fi
'@root@/usr/bin/dmesg' -T | awk -v iso="$iso" -v name='@name@' '{
  end = index($0, "]"); split(substr($0, 2, end - 2), at, " "); text = substr($0, end + 2)
  month = (index("JanFebMarAprMayJunJulAugSepOctNovDec", at[2]) + 2) / 3
  if (iso) stamp = sprintf("%s-%02d-%02dT%s+0000", at[5], month, at[3], at[4])
  else stamp = sprintf("%s %02d %s", at[2], at[3], at[4])
  print stamp " " name " kernel: " text
}' | if [ "$count" ]; then tail -n "$count"; else cat; fi
