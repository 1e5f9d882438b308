# nerdctl where our scripts say docker. A field that its version lacks fails the whole template, unless the first one
# fails: then it is filled from the object's JSON [nerdctl, pkg/formatter]. An info without a place of images gets one.
docker() {
case "$1 $2 $3" in
'inspect --type container')
case $5 in
'{"Id":'*) _es='{{with .Id}}{{end}}{"Id":{{json .Id}},"Name":{{json .Name}},"Image":{{json .Image}},"Created":{{json .Created}},"State":{{json .State}},"RestartCount":{{json (index . "RestartCount")}},"Ref":{{json (index .Config "Image")}},"Labels":{{json (index .Config "Labels")}},"User":{{json (index .Config "User")}},"HostConfig":{{json (index . "HostConfig")}}} @env {{json (index .Config "Env")}}'
shift 5; set -- inspect --type container --format "$_es" "$@" ;;
esac ;;
'info --format '*)
env TZ=UTC0 $_ew nerdctl "$@" | sed 's,^{,{"DockerRootDir":"/var/lib/containerd",'
return ;;
esac
env TZ=UTC0 $_ew nerdctl "$@"
}
