# Gives one image to another node. Run by sshd, as the forced command of a key that only that node may use; above this
# stand: ref (the image's name), id (what it must be).

LC_ALL=C
export LC_ALL
now=$(docker image inspect -f '{{.Id}}' "$ref") || exit
[ "$now" = "$id" ] || {
  echo "$ref is $now here, not $id" >&2
  exit 65
}
docker image inspect -f '{{.Size}}' "$ref"
docker save "$ref"
