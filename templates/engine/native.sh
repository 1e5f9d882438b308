# No container engine: what our scripts ask docker is answered from the run folders of supervise.py, $_er/*/run/*.
_eboot=none
{ read -r _eboot </proc/sys/kernel/random/boot_id; } 2>/dev/null
_eget() { _eg=; { read -r _eg <"$1"; } 2>/dev/null; }
_elives() {
{ read -r _ep _et _eb <"$1/pid" && [ ! -f "$1/exit" ] && read -r _ex <"/proc/$_ep/stat"; } 2>/dev/null || return 1
set -- ${_ex##*) }
[ "$_eb" = "$_eboot" ] && [ "$_et" = "${20}" ] && [ "$1" != Z ]
}
_efind() {
for _ed in "$_er"/*/run/*; do
_eget "$_ed/id"; [ "$_eg" ] || continue
case $_eg in "$1"*) return 0 ;; esac
_eget "$_ed/name"; [ "$_eg" != "$1" ] || return 0
done
echo "Error: No such container: $1" >&2; return 1
}
_eps() {
_eall= _eq= _ef= _el=
while [ $# -gt 0 ]; do
case $1 in
--filter) case $2 in status=*) _eall=$2 ;; *) _el="$_el ${2#label=}" ;; esac; shift ;;
--format) _ef=$2; shift ;;
--no-trunc) ;;
-*) case $1 in *a*) _eall=${_eall:-all} ;; esac; case $1 in *q*) _eq=1 ;; esac ;;
esac
shift
done
for _ed in "$_er"/*/run/*; do
_eget "$_ed/id"; [ "$_eg" ] || continue
_ei=$_eg
for _ek in $_el; do grep -qxF -e "$_ek" "$_ed/labels" || continue 2; done
_es=exited; ! _elives "$_ed" || _es=running
case $_eall in status=$_es | all) ;; '') [ $_es = running ] || continue ;; *) continue ;; esac
if [ "$_eq" ]; then echo "$_ei"; elif [ "$_ef" ]; then
_eget "$_ed/name"; _ea=$_es
_eswap "$_ef" '{{.ID}}' "$_ei"; _eswap "$_es" '{{.Names}}' "$_eg"; _eswap "$_es" '{{.State}}' $_ea
while :; do case $_es in
*'{{.Label "'*) _ek=${_es#*'{{.Label "'}; _ek=${_ek%%'"'*}
_eswap "$_es" "{{.Label \"$_ek\"}}" "$(sed -n "s/^$_ek=//p" "$_ed/labels")" ;;
*) break ;; esac; done
echo "$_es"
else _eget "$_ed/name"; echo "$_ei $_eg $_es"; fi
done
}
_estate() {
_ez=0001-01-01T00:00:00Z; _eget "$_ed/started"; _ek=${_eg:-$_ez}
_es='"dead","Running":false' _ee=137 _eo=false _ef=$_ez _ei=0
if [ -f "$_ed/exit" ]; then
{ read -r _ee _eo _ef <"$_ed/exit"; } 2>/dev/null; _es='"exited","Running":false'
elif _elives "$_ed"; then { read -r _ei _et <"$_ed/server"; } 2>/dev/null; _ee=0 _es='"running","Running":true'
fi
_eget "$_ed/about"
printf '{%s,"State":{"Status":%s,"Pid":%s,"ExitCode":%s,"OOMKilled":%s,"Error":"","StartedAt":"%s","FinishedAt":"%s"}}\n' \
"$_eg" "$_es" "$_ei" "$_ee" "$_eo" "$_ek" "$_ef"
}
_einspect() {
_ec=0
while :; do case $1 in --type) shift 2 ;; --format) _en=$2; shift 2 ;; *) break ;; esac; done
for _ea; do
_efind "$_ea" || { _ec=1; continue; }
case $_en in
'{{range .Config.Env}}'*) cat "$_ed/secrets" 2>/dev/null ;;
'{"Id":'*) _estate ;;
*) echo "no such answer without a container engine: inspect --format $_en" >&2; return 125 ;;
esac
done
return $_ec
}
_eimage() {
for _ea; do :; done
_es=$(tr -d '\n' 2>/dev/null <"$_ev/qnext.json")
case $1,$_ea,$_es in
inspect,"$_eref",*'"id"'*) ;;
*) echo "Error: No such image: $_ea" >&2; return 1 ;;
esac
_ej() { printf '%s' "$_es" | sed -n 's/.*"'$1'" *: *"\([^"]*\)".*/\1/p'; }
printf '{"Id":"%s","Created":"%s","Architecture":"%s","RepoDigests":[],"Config":{"Env":[]}}\n' \
"$(_ej id)" "$(_ej created)" "$(_ej arch)"
}
_esince() {
case $1 in
*[smh]) _en=$(($(echo "$1" | sed 's/ms/*0+/g;s/h/*3600+/g;s/m/*60+/g;s/s/+/g;s/\.[0-9]*//g')0)) && date -u -d "@$(($(date +%s) - _en))" +%FT%T ;;
*-*) case $1 in *T*[+-]*:*) date -u -d "$1" +%FT%T ;; *) echo "${1%Z}" ;; esac ;;
*) date -u -d "@${1%.*}" +%FT%T ;;
esac
}
_elogs() {
_em= _en=all _ef= _es=
while :; do case $1 in
--timestamps | -t) _em=1; shift ;; --tail | -n) _en=$2; shift 2 ;; --since) _es=$(_esince "$2"); shift 2 ;;
--follow | -f) _ef=1; shift ;; *) break ;;
esac; done
_efind "$1" || return
if [ "$_em" ]; then _eread; elif [ "$_ef" ]; then _eread | while IFS= read -r _ea; do printf '%s\n' "${_ea#* }"; done; else _eread | cut -d' ' -f2-; fi
}
_eread() {
if [ "$_ef" ]; then
[ $_en != all ] || _en=+1
[ -z "$_es" ] || _en=+$(($(awk -v s="$_es" '$1 >= s { exit } { n = NR } END { print n + 0 }' "$_ed/log") + 1))
tail -n "$_en" -F "$_ed/log" 2>/dev/null & _ek=$!
while _elives "$_ed"; do sleep 0.5; done
sleep 1.2; kill $_ek
elif [ "$_es" ] || [ $_en = all ]; then
for _ea in "$_ed/log.4" "$_ed/log.3" "$_ed/log.2" "$_ed/log.1" "$_ed/log"; do cat "$_ea" 2>/dev/null; done |
awk -v s="$_es" '$1 >= s' | if [ $_en = all ]; then cat; else tail -n "$_en"; fi
else { tail -n "$_en" "$_ed/log.1"; tail -n "$_en" "$_ed/log"; } 2>/dev/null | tail -n "$_en"
fi
}
_estop() {
_eh=10 _ec=0
[ "$1" != -t ] || { _eh=$2; shift 2; }
for _ea; do
if ! _efind "$_ea"; then _ec=1; elif _elives "$_ed"; then kill -TERM "$_ep"; fi
done
_eh=$((_eh * 10))
for _ea; do
_efind "$_ea" 2>/dev/null || continue
while [ $_eh -gt 0 ] && _elives "$_ed"; do sleep 0.1; _eh=$((_eh - 1)); done
_eend; echo "$_ea"
done
return $_ec
}
_eend() {
_eb=; _elives "$_ed"
if [ "$_eb" = "$_eboot" ] && read -r _eg _et <"$_ed/server"; then
_ex=; { read -r _ex <"/proc/$_eg/stat"; } 2>/dev/null
set -- ${_ex##*) }
case ${20-$_et} in "$_et") kill -KILL "-$_eg" ;; esac
_ei=100; while [ $_ei -gt 0 ] && _elives "$_ed"; do sleep 0.1; _ei=$((_ei - 1)); done
fi 2>/dev/null
_eget "$_ed/id"
for _ei in $(grep -lsF -e "QNEXT_RUN=${_eg:--}" /proc/[0-9]*/environ); do _ei=${_ei%/environ}; kill -KILL "${_ei##*/}" 2>/dev/null; done
}
_erm() {
_ek=
while :; do case $1 in -f | --force) _ek=1; shift ;; *) break ;; esac; done
_ec=0
for _ea; do
_efind "$_ea" || { [ "$_ek" ] || _ec=1; continue; }
if [ -z "$_ek" ] && _elives "$_ed"; then echo "Error: $_ea is running: stop it first" >&2; _ec=1; continue; fi
_eend; rm -rf -- "$_ed"; rmdir "${_ed%/*}" 2>/dev/null; echo "$_ea"
done
return $_ec
}
docker() {
_ea=$1; shift
case $_ea in
--version) echo 'processes version 1' ;;
info) printf '{"ServerVersion":"processes","DockerRootDir":"%s","Driver":"none","Architecture":"%s"}\n' "$_er" "$(uname -m)" ;;
ps) _eps "$@" ;; inspect) _einspect "$@" ;; image) _eimage "$@" ;; logs) _elogs "$@" ;; stop) _estop "$@" ;; rm) _erm "$@" ;;
exec) _efind "$1" || return; _elives "$_ed" || { echo "Error: $1 is not running" >&2; return 1; }
shift; _eget "$_ed/python"; env $_ew "$_eg" "$_ed/supervise.py" "$_ed" exec "$@" ;;
*) echo "docker $_ea: no container engine is used on this node (install.method: source)" >&2; return 125 ;;
esac
}
