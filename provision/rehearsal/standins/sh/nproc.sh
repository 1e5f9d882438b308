#!/bin/sh
echo '@cpus@'
