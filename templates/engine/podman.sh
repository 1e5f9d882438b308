# podman where our scripts say docker: its templates name fields otherwise, and times are in the node's zone.
docker() {
case $1 in
info) [ $# -lt 2 ] || set -- info --format '{"ServerVersion":{{json .Version.Version}},"DockerRootDir":{{json .Store.GraphRoot}},"Driver":{{json .Store.GraphDriverName}},"DefaultRuntime":{{json .Host.OCIRuntime.Name}},"Architecture":"'"$(uname -m)"'"}' ;;
ps | inspect | image | logs)
_en=$#; _ep=; _ei=$1
while [ $_en -gt 0 ]; do
_ea=$1; shift; _en=$((_en - 1))
case $_ep$_ea in
--tailall | -nall) _ea=-1 ;;
*'{{json .}}') _ea='{{with .}}{{json .}}{{end}}' ;;
*'{{'*) _eswap "$_ea" '.Label ' 'index .Labels '; [ $_ei != image ] || _eswap "$_es" '{{.Id}' 'sha256:{{.ID}'
_eswap "$_es" '.Id}' '.ID}'; _ea=$_es ;;
esac
_ep=$_ea; set -- "$@" "$_ea"
done ;;
esac
env TZ=UTC0 $_ew podman "$@"
}
