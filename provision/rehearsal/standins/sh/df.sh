#!/bin/sh
# df: a big file system at / and a tmpfs at /dev/shm. disk/full, or disk/free in bytes, say what is left on the big one;
# disk/tmp, disk/data and disk/var make such a folder a file system of its own with so many bytes left.
read -r hang 2>/dev/null <'@state@/command/df' && { [ "$hang" = hang ] && hang=100000; sleep "$hang"; }
size=7696581394432 status=0 unit=1024 inodes=
read -r free 2>/dev/null <'@state@/disk/free' || free=5497558138880
[ -e '@state@/disk/full' ] && free=0
read -r inodes_free 2>/dev/null <'@state@/inodes' || inodes_free=478800000
read -r shm 2>/dev/null <'@state@/shm/size' || shm=549755813888
read -r shm_free 2>/dev/null <'@state@/shm/free' || shm_free=$shm
options= mounts=
for word; do
  case $word in
  -*) options=$options$word ;;
  *)
    case $word in / | '@root@'*) path=$word ;; /*) path='@root@'$word ;; *) path=$word ;; esac
    if [ ! -e "$path" ]; then
      echo "df: $word: No such file or directory" >&2
      status=1
      continue
    fi
    inner=${path#'@root@'} mount=/
    case $inner in
    *dev/shm*) mount=/dev/shm ;;
    /tmp* | /data* | /var*)
      inner=${inner#/} inner=${inner%%/*}
      [ -e '@state@/disk/'"$inner" ] && mount=/$inner ;;
    esac
    mounts="$mounts $mount" ;;
  esac
done
case $options in *B1 | *block-size=1) unit=1 ;; *h*) unit=1073741824 ;; esac
case $options in *i*) inodes=1 ;; esac
if [ -z "$mounts" ]; then
  [ $status = 0 ] || exit $status
  mounts='/ /dev/shm'
  for inner in tmp data var; do [ -e '@state@/disk/'$inner ] && mounts="$mounts /$inner"; done
fi
if [ "$inodes" ]; then
  echo 'Filesystem        Inodes   IUsed     IFree IUse% Mounted on'
else
  echo 'Filesystem     1024-blocks       Used  Available Capacity Mounted on'
fi
for mount in $mounts; do
  case $mount in
  /) device=/dev/nvme0n1p2 all=$size left=$free ;;
  /dev/shm) device=tmpfs all=$shm left=$shm_free ;;
  *) device=/dev/nvme1n1p1 all=$size && read -r left <'@state@/disk/'"${mount#/}" ;;
  esac
  if [ "$inodes" ]; then all=480000000 unit=1 left=478800000; [ $mount = /dev/shm ] || left=$inodes_free; fi
  used=$((all - left))
  printf '%-14s %12s %12s %12s %4s%% %s\n' $device $((all / unit)) $((used / unit)) $((left / unit)) \
    $(((used * 100 + all - 1) / all)) $mount
done
exit $status
