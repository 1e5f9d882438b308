#!/bin/sh
# date: the machine's, or ahead of it by clock/skew seconds.
read -r skew 2>/dev/null <'@state@/clock/skew' || exec '@real@' "$@"
now=$('@real@' +%s%N) sign='' part=${skew#*.}000000000
case $skew in -*) sign=- ;; esac
case $skew in *.*) ;; *) part=000000000 ;; esac
whole=${skew%%.*} whole=${whole#-} part=$(printf %.9s "$part")
now=$((now + (${sign}1) * (whole * 1000000000 + 1$part - 1000000000)))
exec '@real@' -d "@$((now / 1000000000)).$(printf %09d $((now % 1000000000)))" "$@"
