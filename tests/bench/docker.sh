#!/bin/sh
# docker on a node whose container runs as declared: the answers that satisfied.py wrote, by the address of the node.
# Anything else that is asked, and whatever would change something, is an error, so that no run can pass by accident.
connection=${SSH_CONNECTION% *}
here=${0%/*}/../docker/${connection##* }
say() { while IFS= read -r line; do printf '%s\n' "$line"; done <"$here/$1"; }
case "$*" in
--version) echo 'Docker version 27.5.1, build 9f9e405' ;;
info\ *) say info ;;
image\ inspect\ *) say image ;;
ps\ *'{{.ID}} '*) say process ;;
ps\ *) say id ;;
inspect\ *' @env '*) say container ;;
inspect\ *) say state ;;
logs\ *) echo 'INFO: Application startup complete.' ;;
*) echo "docker: this node is not to be changed: docker $*" >&2; exit 1 ;;
esac
