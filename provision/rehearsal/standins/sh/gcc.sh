#!/bin/sh
echo "gcc (GCC) 10.3.1"
