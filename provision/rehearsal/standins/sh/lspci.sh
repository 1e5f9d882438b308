#!/bin/sh
# lspci: the node's PCI functions, in names, or in numbers with -n and -nn; -D with domains, -d and -s choose.
numbers= domains= vendor= device= slot=
while [ $# -gt 0 ]; do
  case $1 in
  -d) id=$2 vendor=${id%%:*} device=${id#*:}; shift ;;
  -d*) id=${1#-d} vendor=${id%%:*} device=${id#*:} ;;
  -s) slot=$2; shift ;;
  -nn*) numbers=2 ;;
  -*n*) numbers=1 ;;
  esac
  case $1 in -*D*) domains=1 ;; esac
  shift
done
device=${device%%:*}
while read -r address class maker model; do
  [ -z "$vendor" ] || [ "$vendor" = "$maker" ] || continue
  [ -z "$device" ] || [ "$device" = "$model" ] || continue
  case $address in *"$slot"*) ;; *) continue ;; esac
  [ "$domains" ] || address=${address#0000:}
  case $class in
  0604) kind='PCI bridge' ;; 0300) kind='VGA compatible controller' ;; 0200) kind='Ethernet controller' ;;
  0108) kind='Non-Volatile memory controller' ;; *) kind='Processing accelerators' ;;
  esac
  case $maker in
  19e5) who='Huawei Technologies Co., Ltd.' ;; 8086) who='Intel Corporation' ;; 1a03) who='ASPEED Technology, Inc.' ;;
  *) who='Samsung Electronics Co Ltd' ;;
  esac
  case $numbers in
  1) echo "$address $class: $maker:$model (rev 20)" ;;
  2) echo "$address $kind [$class]: $who Device [$maker:$model] (rev 20)" ;;
  *) echo "$address $kind: $who Device $model (rev 20)" ;;
  esac
done <'@root@/sys/bus/pci/.lspci'
