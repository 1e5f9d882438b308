# The environment of CANN: toolkit and NNAL, without which neither torch_npu loads nor an operator compiles.
toolkit='' nnal=/usr/local/Ascend/nnal/atb/set_env.sh
for file in /usr/local/Ascend/ascend-toolkit/set_env.sh /usr/local/Ascend/cann/set_env.sh \
	/usr/local/Ascend/ascend-toolkit/latest/set_env.sh; do
	test -n "$toolkit" || ! test -f "$file" || toolkit=$file
done
test -n "$toolkit" || refuse "CANN's set_env.sh is not there: install the packages Ascend-cann-toolkit and" \
	"Ascend-cann-*-ops $cann_wanted of this processor on $(uname -n)"
test -f "$nnal" || refuse "$nnal is not there: install the package Ascend-cann-nnal $cann_wanted on $(uname -n)"
set +e
. "$toolkit"
. "$nnal"
set -e
cann=$(sed -n 's/^version=//p' "$(dirname "$toolkit")"/latest/*-linux/ascend_toolkit_install.info \
	"${ASCEND_TOOLKIT_HOME:-/usr/local/Ascend/ascend-toolkit/latest}"/*-linux/ascend_toolkit_install.info \
	2>/dev/null | head -n 1)
echo "CANN ${cann:-of an unknown version}: $toolkit, $nnal"
if test -n "$cann" && test -n "$cann_wanted" && test "$cann" != "$cann_wanted"; then
	echo "== warning: CANN is $cann, and this release is made for $cann_wanted"
fi
