#!/bin/sh
case $1 in
_NPROCESSORS_*) echo '@cpus@' ;;
*) exec '@real@' "$@" ;;
esac
