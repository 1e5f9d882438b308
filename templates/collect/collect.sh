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
# Words with tabs between them; a tab within one, or an end of a line, would spoil the stream.
_line() { printf '%s' "$1"; shift; for _w; do printf '\n'; printf '%s' "$_w" | tr '\t\n' '  '; done | tr '\n' '\t'; echo; }
_omit() { _line @omit "$@" | _z; }
# _take KIND FORM PATH PROCESS CAP COMMAND-AS-TOLD WORDS…: what WORDS print, of a file the last CAP bytes.
_take() {
_h=$(_line @file "$1" "$2" "$3" "$4" "$6"); _cap=$5; _end=tail
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
# _tree KIND PATH PROCESS MAX_FILE MAX_ALL FOLDER FIND-WORDS…: its files, the newest first, 1000 at most. A name with an
# end of a line in it could pass for another file's, so those are passed over.
_nl='
'
_tree() {
[ -d "$6" ] || return 0
_k=$1 _p=$2 _q=$3 _m=$4 _left=$5 _d=${6%/}
shift 6
find "$_d/" -name "*$_nl*" -prune -o -type f "$@" -exec stat -c '%Y %s %n' {} + 2>/dev/null | sort -rn |
awk -v m="$_m" -v left="$_left" '{ match($0, /^[0-9]+ [0-9]+ /); n = substr($0, RLENGTH + 1); s = $2 + 0
t = s < m ? s : m; if (t > left) t = left
if (NR <= 1000 && (t > 0 || s == 0)) { left -= t; printf "%.0f %.0f %s\n", t, s, n }
else if (++more <= 10) printf "- %.0f %s\n", s, n
else rest += s }
END { if (more > 10) printf "+ %.0f %d\n", rest, more - 10; if (NR == 0) print "0 - -" }' |
while IFS= read -r _f; do
_n=${_f%% *} _f=${_f#* }; _w=${_f%% *} _f=${_f#* }
_to=$_p/${_f#"$_d"/}
case $_n,$_w in
0,-) [ -z "$_q" ] || _omit "$_k" "$_p" "$_q" 0 'the folder is empty' ;;
-,*) _omit "$_k" "$_to" "$_q" "$_w" 'left out: newer files of the folder filled its limit' ;;
+,*) _omit "$_k" "$_p" "$_q" "$_w" "left out: $_f older files" ;;
*) [ -L "$_f" ] || _file "$_k" "$_to" "$_q" "$_n" "$_f" ;;
esac
done
}
# _within ROOT PATH: _at is where the folder PATH of a container is on the host. Links lead where they lead in there.
_within() {
_at=$1 _rest=${2#/} _links=0
while [ "$_rest" ]; do
_part=${_rest%%/*}
case $_rest in */*) _rest=${_rest#*/} ;; *) _rest= ;; esac
case $_part in '' | .) continue ;; ..) return 1 ;; esac
if [ -L "$_at/$_part" ]; then
_links=$((_links + 1)) _link=$(readlink "$_at/$_part")
[ "$_link" ] && [ $_links -lt 20 ] || return 1
case $_link in /*) _at=$1 ;; esac
_rest=${_link#/}/$_rest
else _at=$_at/$_part
fi
done
[ -d "$_at" ]
}
# _reach ID PATH: the same, of a container that runs by its process, of an ended one by what it wrote or mounted. Fails
# where that can't be told: its files come through the engine then, in the order that it gives.
_reach() {
_of() { timeout -k 2 20 docker inspect --type container --format "$2" "$1" 2>/dev/null; }
_pid=$(_of "$1" '{{.State.Pid}}')
case $_pid in
'' | *[!0-9]*) return 1 ;;
0) ;;
*) grep -qs "$1" "/proc/$_pid/cgroup" && _within "/proc/$_pid/root" "$2"; return ;;
esac
_bound=$(_of "$1" '{{range .Mounts}}{{.Destination}}:{{.Source}}{{println}}{{end}}' | while IFS=: read -r _in _out; do
case /${2#/}/ in "${_in%/}"/*) echo "$_out:${2#"${_in#/}"}"; break ;; esac
done)
[ -z "$_bound" ] || { _within "${_bound%%:*}" "${_bound#*:}"; return; }
_up=$(_of "$1" '{{.GraphDriver.Data.UpperDir}}')
case $_up in /*) _within "$_up" "$2" ;; *) return 1 ;; esac
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
# _npu_info BUDGET "NPU-SMI READS A DIE" "HCCN READS A DEVICE" [WHY-NOT-MORE]: one tool after the other, never two at
# once. For the dies "-" stands for what one call tells of all.
_npu_info() {
_over= _each=10 _until=$(($(date +%s) + $1)) _dies=$2 _reads=$3
[ -z "$4" ] || echo "why $4" >&3
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
[ "$_dies" = - ] || { _smi info -t topo; for _what in $_dies; do for _c in $_cards; do _smi info -i "${_c%,*}" -c "${_c#*,}" -t "$_what" || break 2; done; done; }
fi
for _what in $_reads; do
for _i in $(ls /dev 2>/dev/null | sed -n 's/^davinci\([0-9][0-9]*\)$/\1/p' | sort -n); do _hccn -i "$_i" "-$_what" -g || break 2; done
done
}
