#!/bin/sh
echo "GNU Make 4.3"
