# Start a cache before the first repository that has the image: a registry that fetches what it is asked for and lacks.
# Set before: tag, digest, container, image, folder, port, labels (a file for docker run); as words the repositories. Prints
# "remote REPOSITORY".
chosen=$1
for source; do
  if ask "$source" "${digest:-$tag}" >/dev/null; then
    chosen=$source
    break
  fi
done
remote=${chosen%%/*}
case $remote in
  docker.io) remote=registry-1.docker.io ;;
  *.* | *:* | localhost) ;;
  *) remote=registry-1.docker.io ;;
esac
scheme=https
case $remote in 127.* | localhost*) scheme=http ;; esac
docker info --format '{{json .RegistryConfig.IndexConfigs}}' 2>/dev/null | tr '{}' '\n\n' |
  grep -F "\"Name\":\"$remote\"," | grep -q '"Secure":false' && scheme=http
umask 077
docker rm -f "$container" >/dev/null 2>&1
rm -rf "$folder/data"
mkdir -p "$folder/data" || exit
{
  echo "REGISTRY_PROXY_REMOTEURL=$scheme://$remote"
  echo "REGISTRY_HTTP_ADDR=127.0.0.1:$port"
  echo "OTEL_TRACES_EXPORTER=none"
  docker info --format 'HTTP_PROXY={{.HTTPProxy}}
HTTPS_PROXY={{.HTTPSProxy}}
NO_PROXY={{.NoProxy}}' 2>/dev/null | grep '=.'
  if kept=$(pair_for "$chosen") && [ -n "$kept" ]; then
    echo "REGISTRY_PROXY_USERNAME=${kept%%:*}"
    echo "REGISTRY_PROXY_PASSWORD=${kept#*:}"
  fi
} >"$work/environment"
echo "qnext.remote=$chosen" >>"$labels"
docker run -d --name "$container" --network host --env-file "$work/environment" --label-file "$labels" \
  -v "$folder/data:/var/lib/registry" "$image" >/dev/null || exit
turn=0
until grep -qi "0100007F:$(printf '%04X' "$port") 00000000:0000 0A" /proc/net/tcp; do
  turn=$((turn + 1))
  if [ $turn -gt 100 ] || [ "$(docker inspect --format '{{.State.Running}}' "$container")" != true ]; then
    echo 'the cache does not come up:' >&2
    docker logs "$container" 2>&1 | grep -v "level=info" | head -n 3 >&2
    docker rm -f "$container" >/dev/null
    exit 1
  fi
  sleep 0.2
done
echo "remote $chosen"
