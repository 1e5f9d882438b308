#!/bin/sh
# dd: the machine's, or as slow as a disk of read/slow MB a second.
read -r speed 2>/dev/null <'@state@/read/slow' || exec '@real@' "$@"
bytes() { case $1 in *[kK]) echo $((${1%?} * 1024)) ;; *[mM]) echo $((${1%?} * 1048576)) ;; *[gG]) echo $((${1%?} * 1073741824)) ;; *) echo "$1" ;; esac; }
size=512 count= file= quiet=
for word; do
  case $word in bs=*) size=$(bytes "${word#*=}") ;; count=*) count=${word#*=} ;; if=*) file=${word#*=} ;; status=none) quiet=1 ;; esac
done
case $file in / | '@root@'* | '' | /dev/*) ;; /*) file='@root@'$file ;; esac
there=$(stat -Lc %s "$file" 2>/dev/null || echo 0) || there=0
wanted=$there
[ -z "$count" ] || [ $((size * count)) -gt "$there" ] && [ "$there" -gt 0 ] || wanted=$((size * ${count:-0}))
thousandths=$((wanted / (${speed%.*} * 1000)))
rest=$((thousandths % 1000))
while [ ${#rest} -lt 3 ]; do rest=0$rest; done
sleep $((thousandths / 1000)).$rest
said=$('@real@' "$@" 2>&1 >&3) 3>&1
status=$?
[ "$quiet" ] || printf '%s\n' "$said" | sed "s|copied, .*|copied, $((thousandths / 1000)).$rest s, $speed MB/s|" >&2
exit $status
