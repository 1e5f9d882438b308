#!/bin/sh
# timedatectl: the clock is synchronised unless the fault timesync says otherwise.
read -r fault 2>/dev/null <'@state@/timesync' || fault=
synchronized=yes ntp=yes service=active
[ -z "$fault" ] || synchronized=no
[ "$fault" != none ] || { ntp=no service=inactive; }
case "$*" in
*set-ntp*) rm -f '@state@/timesync' ;;
*NTPSynchronized*--value* | *--value*NTPSynchronized*) echo $synchronized ;;
*--value*) echo $ntp ;;
*show*) printf 'Timezone=UTC\nLocalRTC=no\nCanNTP=yes\nNTP=%s\nNTPSynchronized=%s\n' $ntp $synchronized ;;
*) printf '               Time zone: UTC (UTC, +0000)\nSystem clock synchronized: %s\n              NTP service: %s\n          RTC in local TZ: no\n' $synchronized $service ;;
esac
