# Steps by name and time in the log: who reads it sees what is under way, and the one that failed.
n=0 step='' began=0 private=''
step() {
	over
	n=$((n + 1)) step=$1 began=$(date +%s)
	echo "== step $n/$steps: $step"
}
over() {
	test -z "$step" || echo "== done $n/$steps: $step ($(($(date +%s) - began)) s)"
}
end() {
	e=$?
	trap - EXIT
	test -z "$private" || rm -rf -- "$private"
	test "$e" -eq 0 || echo "== failed at step $n/$steps: $step (exit status $e after $(($(date +%s) - began)) s)"
	exit "$e"
}
refuse() {
	echo "$*" >&2
	exit 1
}
trap end EXIT
trap 'exit 143' HUP INT TERM
