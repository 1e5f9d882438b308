#!/bin/sh
echo "${@me@:-root}"
