#!/bin/sh
# Assembles the guest of the exit benchmarks. Needs nasm. The result does not depend on time, place or machine.
# usage: build.sh [output directory]
set -eu
cd "$(dirname "$0")"
nasm -f bin -w+all -o "${1:-.}/guest.bin" guest.asm
