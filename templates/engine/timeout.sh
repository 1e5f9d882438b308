# Scripts say "timeout 10 docker …": the limit is handed to whatever docker stands for.
timeout() {
_ew=timeout
while :; do case $1 in -k | -s) _ew="$_ew $1 $2"; shift 2 ;; -*) _ew="$_ew $1"; shift ;; *) break ;; esac; done
_ew="$_ew $1"; shift
if [ "$1" = docker ]; then shift; docker "$@"; else command $_ew "$@"; fi
set -- $?; _ew=; return $1
}
_ew=
# Text with each $2 in it replaced by $3, in _es.
_eswap() {
_es=$1
while :; do case $_es in *"$2"*) _es=${_es%%"$2"*}$3${_es#*"$2"} ;; *) return 0 ;; esac; done
}
