#!/bin/sh
case $1 in
'' | -s | --short | -f | --fqdn) echo '@name@' ;;
-i | -I) echo '@address@ ' ;;
*) echo 'hostname: you must be root to change the host name' >&2; exit 1 ;;
esac
