# Which image a tag is now: the first repository that answers says it, for all nodes. Set before: tag, and as words the
# repositories. Prints "digest REPOSITORY DIGEST", or why not: "failed REPOSITORY: TEXT", "unable".
for source; do
  said=$(ask "$source" "$tag")
  case $? in
    0)
      echo "digest $source $said"
      exit 0
      ;;
    1) echo "failed $source: $said" ;;
    *) echo unable ;;
  esac
done
exit 0
