#!/bin/sh
# df: a big file system at / and a tmpfs at /dev/shm. disk/full, or disk/free in bytes, say what is left on the big one.
read -r hang 2>/dev/null <'@state@/command/df' && { [ "$hang" = hang ] && hang=100000; sleep "$hang"; }
size=7696581394432 free=5497558138880 status=0 unit=1024 inodes=
read -r free 2>/dev/null <'@state@/disk/free' || free=5497558138880
[ -e '@state@/disk/full' ] && free=0
options= mounts=
for word; do
  case $word in
  -*) options=$options$word ;;
  *)
    case $word in / | '@root@'*) path=$word ;; /*) path='@root@'$word ;; *) path=$word ;; esac
    if [ ! -e "$path" ]; then
      echo "df: $word: No such file or directory" >&2
      status=1
    else
      case $word in *dev/shm*) mounts="$mounts /dev/shm" ;; *) mounts="$mounts /" ;; esac
    fi ;;
  esac
done
case $options in *B1 | *block-size=1) unit=1 ;; *h*) unit=1073741824 ;; esac
case $options in *i*) inodes=1 ;; esac
[ "$mounts" ] || { [ $status = 0 ] || exit $status; mounts='/ /dev/shm'; }
if [ "$inodes" ]; then
  echo 'Filesystem        Inodes   IUsed     IFree IUse% Mounted on'
else
  echo 'Filesystem     1024-blocks       Used  Available Capacity Mounted on'
fi
for mount in $mounts; do
  case $mount in
  /) device=/dev/nvme0n1p2 all=$size left=$free ;;
  *) device=tmpfs all=549755813888 left=549755813888 ;;
  esac
  if [ "$inodes" ]; then all=480000000 left=478800000 unit=1; fi
  used=$((all - left))
  printf '%-14s %12s %12s %12s %4s%% %s\n' $device $((all / unit)) $((used / unit)) $((left / unit)) \
    $(((used * 100 + all - 1) / all)) $mount
done
exit $status
