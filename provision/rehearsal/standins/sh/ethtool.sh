#!/bin/sh
# ethtool INTERFACE: speed, duplex and link, of the node's own /sys.
folder='@root@/sys/class/net/'$1
[ $# = 1 ] && [ -d "$folder" ] || { echo 'netlink error: No such device' >&2; exit 75; }
speed='Unknown!' duplex='Unknown! (255)' link=no
read -r value 2>/dev/null <"$folder/speed" && speed=${value}Mb/s duplex=Full
read -r value 2>/dev/null <"$folder/carrier" && [ "$value" = 1 ] && link=yes
printf 'Settings for %s:\n\tSpeed: %s\n\tDuplex: %s\n\tAuto-negotiation: off\n\tPort: FIBRE\n\tLink detected: %s\n' "$1" "$speed" "$duplex" $link
