#!/bin/sh
# chronyc: tracking and sources of a daemon that follows its server; timesync = off: it has lost it, none: no daemon.
read -r fault 2>/dev/null <'@state@/timesync' || fault=
[ "$fault" != none ] || { echo '506 Cannot talk to daemon'; exit 1; }
for command; do case $command in -*) ;; *) break ;; esac; done
case $command in
tracking)
  if [ "$fault" ]; then id='00000000 ()' stratum=0 offset=0.000000000 leap='Not synchronised'
  else id='0A4D00FE (10.77.0.254)' stratum=3 offset=0.000012345 leap=Normal; fi
  printf '%-16s: %s\n' 'Reference ID' "$id" Stratum $stratum 'Ref time (UTC)' 'Tue Nov 24 09:00:00 2026' \
    'System time' "$offset seconds fast of NTP time" 'Last offset' "+$offset seconds" 'RMS offset' '0.000021345 seconds' \
    Frequency '12.345 ppm slow' 'Residual freq' '+0.001 ppm' Skew '0.045 ppm' 'Root delay' '0.000412345 seconds' \
    'Root dispersion' '0.000212345 seconds' 'Update interval' '64.2 seconds' 'Leap status' "$leap" ;;
sources)
  printf 'MS Name/IP address         Stratum Poll Reach LastRx Last sample\n%s\n' \
    '==============================================================================='
  if [ "$fault" ]; then echo '^? 10.77.0.254                   0   7     0     -     +0ns[   +0ns] +/-    0ns'
  else echo '^* 10.77.0.254                   2   6   377    23   +12us[  +13us] +/-  412us'; fi ;;
makestep) [ "${@me@:-root}" = root ] || { echo '501 Not authorised'; exit 1; }; rm -f '@state@/clock/skew' '@state@/timesync'; echo '200 OK' ;;
*) echo 'Unrecognized command'; exit 1 ;;
esac
