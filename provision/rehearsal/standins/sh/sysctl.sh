#!/bin/sh
# sysctl: reads the node's /proc/sys; settings are taken and forgotten.
bare=
for word; do
  case $word in
  -n) bare=1 ;;
  -* | *=*) ;;
  *)
    file='@root@/proc/sys/'$(echo "$word" | tr . /)
    [ -r "$file" ] || { echo "sysctl: cannot stat /proc/sys/$word: No such file or directory" >&2; exit 255; }
    if [ "$bare" ]; then cat "$file"; else echo "$word = $(cat "$file")"; fi ;;
  esac
done
