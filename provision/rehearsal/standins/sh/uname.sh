#!/bin/sh
# uname: an Atlas server's kernel and processor.
all=
read -r kernel 2>/dev/null <'@state@/kernel/version' || kernel='@kernel@'
read -r arch 2>/dev/null <'@state@/cpu/arch' || arch='@arch@'
for word; do
  case $word in
  --*) echo "uname: unrecognized option '$word'" >&2; exit 1 ;;
  *) all=$all${word#-} ;;
  esac
done
case ${all:=s} in *a*) all=snrvmo ;; esac
set --
case $all in *s*) set -- "$@" Linux ;; esac
case $all in *n*) set -- "$@" '@name@' ;; esac
case $all in *r*) set -- "$@" "$kernel" ;; esac
case $all in *v*) set -- "$@" '#1 SMP Thu Jun 27 00:00:00 UTC 2026' ;; esac
case $all in *[mpi]*) set -- "$@" "$arch" ;; esac
case $all in *o*) set -- "$@" GNU/Linux ;; esac
echo "$*"
