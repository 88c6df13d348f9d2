#!/bin/sh
# Assembles all labs, and what learners begin with, and lists their checksums. Needs nasm. The result does not
# depend on time, place or machine. usage: build.sh [output directory]
set -eu
cd "$(dirname "$0")"
output=${1:-.}
mkdir -p "$output/start"
for source in *.asm start/*.asm; do
  nasm -i ./ -f bin -w+all -o "$output/${source%.asm}.bin" "$source"
done
cd "$output"
sha256sum -- *.bin start/*.bin > SHA256SUMS
