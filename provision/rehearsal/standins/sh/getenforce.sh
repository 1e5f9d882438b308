#!/bin/sh
{ read -r mode <'@state@/selinux'; } 2>/dev/null || mode=Disabled
echo "$mode"
