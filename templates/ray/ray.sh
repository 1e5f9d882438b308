#!/bin/sh
# Ray inside a container. The environment is set before Ray starts: what it starts later inherits it.
#
#   sh /qnext/ray.sh head ADDRESS PORT NODES NPUS SECONDS vllm serve …
#       starts Ray's head, waits until all nodes and NPUs are registered, and becomes the server.
#   sh /qnext/ray.sh worker ADDRESS HEAD:PORT vllm serve …
#       joins, lends its devices to that server, and ends when the head is gone.

set -u

say() {
	printf 'qnext: %s\n' "$*" >&2
}

# Living nodes, NPU and GPU of the cluster, as `ray status` tells them.
registered() {
	timeout 30 ray status --address="$address:$port" 2>/dev/null | awk '
		/^[^ ]/ { alive = /^(Active|Idle):/ }
		alive && $1 ~ /^[0-9]+$/ { nodes += $1 }
		$2 == "NPU" || $2 == "GPU" { split($1, amount, "/"); total[$2] = amount[2] }
		END { printf "%d %d %d\n", nodes, total["NPU"], total["GPU"] }'
}

# Waits; says what is missing when that changes.
complete() {
	began=$(date +%s) said='' short=0
	while :; do
		set -- $(registered)
		have="Ray has $2 of $npus NPU"
		missing=$((nodes - $1))
		if test "$missing" -le 0 && test "$2" -ge "$npus"; then
			say "$have and all $nodes nodes"
			return 0
		fi
		if test "$missing" -gt 0; then have="$have; waiting for $missing of $nodes nodes"; fi
		if test "$have" != "$said"; then say "$have"; fi
		said=$have
		# A node brings its devices when it joins: those that are missing now won't come.
		if test "$missing" -le 0; then short=$((short + 1)); fi
		if test "$short" -ge 3; then
			too_few "$2" "$3"
			return 1
		fi
		if test $(($(date +%s) - began)) -ge "$seconds"; then
			say "Ray is incomplete after $seconds s: $2 of $npus NPU, $missing of $nodes nodes have not joined; their workers' logs say why"
			return 1
		fi
		sleep 2
	done
}

too_few() {
	each=$(((npus + nodes - 1) / nodes))
	if test "$2" -gt 0; then
		say "Ray counts $2 GPU and $1 of $npus NPU: NPUs were registered as GPU; set RAY_OVERRIDE_RESOURCES: '{\"NPU\": $each}' in qnext.serve.env"
	else
		say "Ray has $1 of $npus NPU though all $nodes nodes have joined: Ray does not find the devices of some container; does npu-smi info show $each in each?"
	fi
}

case ${1-} in
worker)
	say "joins Ray at $3"
	exec ray start --address="$3" --node-ip-address="$2" --disable-usage-stats --block
	;;
head)
	address=$2 port=$3 nodes=$4 npus=$5 seconds=$6
	shift 6
	ray start --head --node-ip-address="$address" --port="$port" --disable-usage-stats || exit
	complete || exit 1
	exec "$@"
	;;
*)
	say "ray.sh: head or worker?"
	exit 2
	;;
esac
