#!/bin/sh
# Assembles all labs with nasm and lists their checksums. The result does not depend on time, place or
# machine. usage: build.sh [output directory]
set -eu
cd "$(dirname "$0")"
output=${1:-.}
mkdir -p "$output"
for source in *.asm; do
  nasm -f bin -w+all -o "$output/${source%.asm}.bin" "$source"
done
cd "$output"
sha256sum -- *.bin > SHA256SUMS
