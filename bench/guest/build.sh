#!/usr/bin/env bash
# Compiles bench.c for i386 (x87, no SSE) and x86-64 (SSE2). The programs in this folder are what the gcc of
# Debian 12 makes of it, so that a benchmark needs no compiler. `build.sh DIRECTORY` puts them elsewhere.
# Needs gcc on x86-64; neither a C library nor gcc-multilib, since nothing is linked in.
set -euo pipefail
cd "$(dirname "$0")"
output=${1:-.}

flags=(-std=gnu11 -O2 -Wall -Wextra -Werror -ffreestanding -fno-pie -fno-stack-protector -fno-math-errno
  -fno-asynchronous-unwind-tables -fcf-protection=none -fno-tree-loop-distribute-patterns
  -nostdlib -static -no-pie -s -Wl,--build-id=none -Wl,-z,noseparate-code)

command -v gcc > /dev/null || { echo 'build.sh: there is no gcc: sudo apt-get install gcc' >&2; exit 1; }
gcc -m32 -march=i686 -mno-mmx -mno-sse -mfpmath=387 "${flags[@]}" -o "$output/bench-i386" bench.c
gcc -m64 "${flags[@]}" -o "$output/bench-x86_64" bench.c
cd "$output"
sha256sum bench-i386 bench-x86_64 > SHA256SUMS
