#!/bin/sh
# Assembles the guests. Needs nasm. usage: build.sh [output directory]
set -eu
cd "$(dirname "$0")"
output=${1:-.}
mkdir -p "$output"
for source in *.asm; do
  nasm -i ../../guests/labs/ -i ./ -f bin -w+all -o "$output/${source%.asm}.bin" "$source"
done
