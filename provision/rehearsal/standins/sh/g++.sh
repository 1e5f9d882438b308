#!/bin/sh
echo "g++ (GCC) 10.3.1"
