#!/bin/sh
# ulimit: the limits of a login on the node, from its /proc/self/limits, in the shell's units. Setting one is let through.
hard= letter=f value=
for word; do
  case $word in -*) case $word in *H*) hard=1 ;; esac; letter=${word#-} letter=${letter#[HS]} letter=${letter#[HS]} ;; *) value=$word ;; esac
done
[ -z "$value" ] || exit 0
unit=1
case ${letter:-f} in
n) name='Max open files' ;; l) name='Max locked memory' unit=1024 ;; u) name='Max processes' ;;
s) name='Max stack size' unit=1024 ;; c) name='Max core file size' unit=512 ;; *) echo unlimited; exit 0 ;;
esac
while read -r line; do
  case $line in "$name "*) set -- ${line#"$name"}; value=$1; [ -z "$hard" ] || value=$2 ;; esac
done <'@root@/proc/self/limits'
case $value in *[!0-9]*) echo "$value" ;; *) echo $((value / unit)) ;; esac
