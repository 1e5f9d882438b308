#!/bin/sh
# id: the user that the session stands for.
user=${@me@:-root}
case $user in
root) number=0 groups=root ;;
operator) number=1000 groups=operator ;;
sudoer) number=1001 groups='sudoer sudo' ;;
*) number=1002 groups=$user ;;
esac
case "$*" in
-u | -g) echo $number ;;
-un | -nu | '-u -n' | '-n -u' | -gn) echo "$user" ;;
-G) echo $number ;;
-Gn | -nG | '-G -n') echo "$groups" ;;
'') echo "uid=$number($user) gid=$number($user) groups=$number($user)" ;;
*) echo "id: extra operand '$1'" >&2; exit 1 ;;
esac
