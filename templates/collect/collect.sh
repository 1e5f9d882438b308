# All that a node has to tell, as one stream: nothing is written to its disk, which may be full. Tabs part the words.
#
#   @doing TEXT                              what runs from here on
#   @file KIND FORM PATH PROCESS COMMAND     FORM: file, or tar for a folder out of a container
#    …                                       its bytes, a space before each line, a newline after the last
#   @end EXIT SECONDS WHOLE PROBLEM          WHOLE: bytes there were, where only the end came
#   @omit KIND PATH PROCESS WHOLE PROBLEM    a file that was left out
#   @done                                    nothing is missing at the end
#
# Each of these is a gzip member of its own, so that it arrives when it is ready. What gives content may write
# "why TEXT" and "whole BYTES" to descriptor 3.
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/usr/local/Ascend/driver/tools
if command -v gzip >/dev/null 2>&1; then _z() { gzip -1 -c; }; else _z() { cat; }; fi
_doing() { printf '@doing\t%s\n' "$*" | _z; }
_omit() { printf '@omit\t%s\t%s\t%s\t%s\t%s\n' "$@" | _z; }
# _take KIND FORM PATH PROCESS CAP COMMAND-AS-TOLD WORDS…: what WORDS print, of a file the last CAP bytes.
_take() {
_h=$(printf '@file\t%s\t%s\t%s\t%s\t%s' "$1" "$2" "$3" "$4" "$6"); _cap=$5; _end=tail
[ "$2" = file ] || _end=head
shift 6
_t0=$(date +%s)
{
printf '%s\n' "$_h"
{ { { "$@" 2>&1 </dev/null; echo "rc $?" >&3; } | dd bs=65536 2>&3 | $_end -c "$_cap" | sed 's/^/ /' >&4; } 3>&1 | _trailer; } 4>&1
} | _z
}
_trailer() {
_rc= _whole=0 _said= _why=
while read -r _a _b _c; do
case $_a in
rc) _rc=$_b ;;
whole) _said=$_b ;;
why) _why="$_why${_why:+; }$_b $_c" ;;
*) case $_b in byte | bytes) _whole=$_a ;; esac ;;
esac
done
printf '\n@end\t%s\t%s\t%s\t%s\n' "${_rc:--}" "$(($(date +%s) - _t0))" "${_said:-$_whole}" "$_why"
}
# _file KIND PATH PROCESS CAP FILE
_file() {
[ -f "$5" ] || return 0
_take "$1" file "$2" "$3" "$4" "$5" _tailed "$4" "$5"
}
_tailed() {
echo "whole $(wc -c <"$2")" >&3
tail -c "$1" "$2"
}
# _tree KIND PATH PROCESS MAX_FILE MAX_ALL FOLDER FIND-WORDS…: its files, the newest first.
_tree() {
[ -d "$6" ] || return 0
_k=$1 _p=$2 _q=$3 _m=$4 _left=$5 _d=${6%/}
shift 6
find "$_d/" -type f "$@" -exec ls -1dt -- {} + 2>/dev/null | while IFS= read -r _f; do
_n=$(wc -c <"$_f" 2>/dev/null) || continue
_to=$_p/${_f#"$_d"/}
if [ "$_left" -le 0 ]; then _omit "$_k" "$_to" "$_q" "$_n" 'left out: newer files of the folder filled its limit'; continue; fi
[ "$_n" -le "$_m" ] || _n=$_m
[ "$_n" -le "$_left" ] || _n=$_left
_left=$((_left - _n))
_file "$_k" "$_to" "$_q" "$_n" "$_f"
done
}
# A folder out of a container, running or stopped, as tar; stderr would spoil it.
_cp() {
{ _e=$(timeout -k 2 "$1" docker cp $2 "$3" - 2>&1 >&6 6>&- 3>&- 4>&-); _r=$?; } 6>&1
[ $_r -ne 124 ] || _e="docker cp had not ended after $1 s"
[ -z "$_e" ] || echo "why $(printf '%s' "$_e" | tail -n 1 | tr '\t' ' ')" >&3
return $_r
}
# _ask SECONDS PROGRAM-AS-TOLD WORDS…: command and answer as MindCluster's collector writes them. A tool that hung twice
# is not asked again, nor is any after _until.
_hung= _until=
_ask() {
_lim=$1 _tool=$2; shift 2
case $_hung in *" $_tool "*" $_tool "*) return 1 ;; esac
if [ "$_until" ] && [ "$(date +%s)" -ge "$_until" ]; then
[ "$_over" ] || echo "why the tools took too long: $_tool $* and what comes after it was left out" >&3
_over=1; return 1
fi
printf '%s\n' "$_tool $*"
_out=$(timeout -k 2 "$_lim" "${_tool##*/}" "$@" 2>&1 3>&- 4>&- </dev/null); _r=$?
printf '%s\n\n\n' "$_out"
case $_r in 124 | 137)
_hung="$_hung $_tool "
echo "why $_tool $* had not answered after $_lim s" >&3
case $_hung in *" $_tool "*" $_tool "*) echo "why $_tool hung twice: not asked again" >&3 ;; esac
esac
return 0
}
_smi() { _ask "$_each" /usr/local/bin/npu-smi "$@"; }
_hccn() { _ask "$_each" /usr/local/Ascend/driver/tools/hccn_tool "$@"; }
# _npu_info BUDGET "NPU-SMI READS A DIE" "HCCN READS A DEVICE" MORE…: one tool after the other, never two at once.
_npu_info() {
_over= _each=10 _until=$(($(date +%s) + $1)) _dies=$2 _reads=$3
printf 'Datetime: %s\n\n\n' "$(date '+%Y-%m-%d %H:%M:%S')"
for _f in /usr/local/Ascend/driver/version.info /usr/local/Ascend/firmware/version.info /etc/ascend_install.info \
/usr/local/Ascend/ascend-toolkit/latest/*-linux/ascend_toolkit_install.info /usr/local/Ascend/nnae/latest/ascend_nnae_install.info /etc/hccn.conf; do
[ ! -f "$_f" ] || { echo "cat $_f"; cat "$_f"; printf '\n\n'; }
done
! command -v lspci >/dev/null 2>&1 || { echo 'lspci | grep acce'; timeout -k 2 10 lspci | grep acce; printf '\n\n'; }
if [ "$_dies" ]; then
_smi info -m
_cards=$(printf '%s\n' "$_out" | awk '$1 ~ /^[0-9]+$/ && $2 ~ /^[0-9]+$/ && $3 ~ /^[0-9]+$/ { print $1 "," $2 }')
_smi info
_smi info -t topo
for _what in $_dies; do for _c in $_cards; do _smi info -i "${_c%,*}" -c "${_c#*,}" -t "$_what" || break 2; done; done
fi
for _what in $_reads; do
for _i in $(ls /dev 2>/dev/null | sed -n 's/^davinci\([0-9][0-9]*\)$/\1/p' | sort -n); do _hccn -i "$_i" "-$_what" -g || break 2; done
done
}
