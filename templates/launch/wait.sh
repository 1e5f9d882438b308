#!/bin/bash
# Waits until other processes of a cluster are so far that one may start. Made by qnext-provision render.
#
#   wait.sh SECONDS tcp://ADDRESS:PORT … http://ADDRESS:PORT/PATH …
#
# tcp: the port takes connections; http: the path answers 200. Says what it waits for, and gives up after SECONDS.

set -u

say() {
	printf 'qnext: %s\n' "$*" >&2
}

# One look, of 10 seconds at most: bash itself opens the connection, so that the node needs no other tool.
look() {
	timeout 10 bash -c '
		exec 3<>"/dev/tcp/$1/$2" || exit 1
		test "$3" || exit 0
		printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$3" "$1" >&3
		read -r status <&3
		case $status in *" 200 "*) exit 0 ;; esac
		exit 1' look "$1" "$2" "$3" 2>/dev/null
}

reached() {
	place=${1#*://}
	authority=${place%%/*} path=''
	case $1 in http://*) path=/${place#*/} ;; esac
	host=${authority%:*}
	host=${host#[}
	look "${host%]}" "${authority##*:}" "$path"
}

seconds=$1
shift
began=$SECONDS
for gate; do
	reached "$gate" && continue
	say "waiting for $gate"
	until reached "$gate"; do
		if test $((SECONDS - began)) -ge "$seconds"; then
			say "$gate does not answer after $seconds s: see the log of the process there"
			exit 1
		fi
		sleep 2
	done
done
