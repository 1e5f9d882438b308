#!/bin/sh
# journalctl: of the journal a node has the kernel's messages.
case " $* " in
*' -k '* | *' --dmesg '* | *' -kb '* | *' -bk '*) '@root@/usr/bin/dmesg' -T | sed 's/^\[\([^]]*\)\]/\1 @name@ kernel:/' ;;
*) echo '-- No entries --' ;;
esac
