#!/bin/sh
# dmesg: the node's kernel log. -r and -x show levels, -T times of day, -l and --level= choose levels.
raw= shown= human= levels=
while [ $# -gt 0 ]; do
  case $1 in
  --level=*) levels=${1#*=} ;;
  -l | --level) levels=$2; shift ;;
  --decode) shown=1 ;;
  --ctime) human=1 ;;
  --raw) raw=1 ;;
  -*[crf]* | --[a-z]*) ;;
  esac
  case $1 in --*) ;; -*x*) shown=1 ;; esac
  case $1 in --*) ;; -*T*) human=1 ;; esac
  case $1 in --*) ;; -*r*) raw=1 ;; esac
  shift
done
booted=0
[ -z "$human" ] || while read -r word value; do [ "$word" = btime ] && booted=$value; done </proc/stat
read -r skew 2>/dev/null <'@state@/clock/skew' || skew=0
booted=$((booted + ${skew%%.*}))
exec awk -v raw="$raw" -v shown="$shown" -v human="$human" -v levels="$levels" -v booted="$booted" '
function day(at,  d, era, y, m, s) {
  s = int(at) % 86400; d = int(at / 86400); w = (d + 4) % 7
  d += 719468; era = int(d / 146097); d -= era * 146097
  y = int((d - int(d / 1460) + int(d / 36524) - int(d / 146096)) / 365)
  d -= 365 * y + int(y / 4) - int(y / 100); m = int((5 * d + 2) / 153)
  d = d - int((153 * m + 2) / 5) + 1; m = m < 10 ? m + 3 : m - 9; y += era * 400 + (m <= 2)
  return sprintf("%s %s %2d %02d:%02d:%02d %d", substr("SunMonTueWedThuFriSat", w * 3 + 1, 3), \
    substr("JanFebMarAprMayJunJulAugSepOctNovDec", m * 3 - 2, 3), d, s / 3600, s / 60 % 60, s % 60, y)
}
BEGIN { split("emerg alert crit err warn notice info debug", names, " "); n = split(levels, chosen, ",") }
{
  level = substr($0, 2, 1); name = names[level + 1]; text = substr($0, 4)
  if (n) { keep = 0; for (i in chosen) if (chosen[i] == name) keep = 1; if (!keep) next }
  if (raw) { print; next }
  if (human) { match(text, /[0-9.]+/); text = "[" day(booted + substr(text, RSTART, RLENGTH)) "]" substr(text, index(text, "]") + 1) }
  if (shown) text = sprintf("kern  :%-6s: %s", name, text)
  print text
}' '@root@/var/log/.kernel'
