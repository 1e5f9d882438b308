#!/bin/sh
case "$*" in
*--value*) echo yes ;;
*show*) printf 'Timezone=UTC\nNTP=yes\nNTPSynchronized=yes\n' ;;
*) printf '               Time zone: UTC (UTC, +0000)\nSystem clock synchronized: yes\n              NTP service: active\n' ;;
esac
