#!/bin/sh
# sysctl: reads and writes the node's /proc/sys. Setting a parameter mends the fault sysctl/<name>.
bare= status=0
for word; do
  case $word in
  -n) bare=1 ;;
  -*) ;;
  *)
    name=${word%%=*}
    name=${name% }
    file='@root@/proc/sys/'$(echo "$name" | tr . /)
    if [ ! -r "$file" ]; then
      echo "sysctl: cannot stat /proc/sys/$(echo "$name" | tr . /): No such file or directory" >&2
      status=255
      continue
    fi
    case $word in
    *=*)
      [ "${@me@:-root}" = root ] || { echo "sysctl: permission denied on key \"$name\"" >&2; status=255; continue; }
      echo "${word#*=}" >"$file"
      rm -f '@state@/sysctl/'"$name" ;;
    esac
    if [ "$bare" ]; then cat "$file"; else echo "$name = $(cat "$file")"; fi ;;
  esac
done
exit $status
