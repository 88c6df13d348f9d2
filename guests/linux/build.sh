#!/usr/bin/env bash
# Builds the bundled Linux guests from Debian's sources: kernels and initramfs images for x86-64 and i386,
# the same bytes each time. See README.md beside this file.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: guests/linux/build.sh [--work DIRECTORY] [--output DIRECTORY] [PART ...]
  PART      kernel-x86_64, kernel-i386, initramfs-x86_64, initramfs-i386 (default: all four)
  --work    where sources are unpacked and built (default: .cache/guests-linux in the project; 4 GB)
  --output  where the images go (default: guests/linux/images); another folder compares two builds
All four take about ten minutes on two cores.
TEXT
}

here=$(cd "$(dirname "$0")" && pwd)
work=$here/../../.cache/guests-linux
images=$here/images
parts=()
while [ $# -gt 0 ]; do
  case $1 in
    --work) work=${2:?--work needs a directory}; shift 2 ;;
    --output) images=${2:?--output needs a directory}; shift 2 ;;
    kernel-x86_64 | kernel-i386 | initramfs-x86_64 | initramfs-i386) parts+=("$1"); shift ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
[ ${#parts[@]} -gt 0 ] || parts=(kernel-x86_64 initramfs-x86_64 kernel-i386 initramfs-i386)

# The package versions that the images in the tree are built from. Another kernel version builds as well,
# but to other bytes.
linux_version=6.1.192-2
busybox_version=1:1.35.0-4+deb12u1
linux_tarball=/usr/src/linux-source-6.1.tar.xz

mkdir -p "$work" "$images"
work=$(cd "$work" && pwd)
images=$(cd "$images" && pwd)

# Nothing of when, where or by whom gets into the images.
export LC_ALL=C TZ=UTC SOURCE_DATE_EPOCH=1767225600
export KBUILD_BUILD_TIMESTAMP='2026-01-01 00:00:00 UTC' KBUILD_BUILD_VERSION=1
export KBUILD_BUILD_USER=type2 KBUILD_BUILD_HOST=type2
unset ARCH CROSS_COMPILE KBUILD_OUTPUT KCONFIG_CONFIG KCFLAGS KCPPFLAGS CFLAGS LDFLAGS MAKEFLAGS
umask 022

say() { printf '[%(%T)T] %s\n' -1 "$*"; }
fail() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

# Runs a build step quietly, its output in a log; shows the end of the log if it fails. $1: log
logged() {
  local log=$1
  shift
  "$@" > "$log" 2>&1 || {
    tail -n 20 "$log" >&2
    fail "failed: $* (all of its output: $log)"
  }
}

check_tools() {
  local missing=() pair
  for pair in gcc:gcc make:make flex:flex bison:bison bc:bc perl:perl lz4:lz4 xz:xz-utils dpkg-source:dpkg-dev; do
    command -v "${pair%%:*}" > /dev/null || missing+=("${pair##*:}")
  done
  [ -e "$linux_tarball" ] || missing+=(linux-source-6.1)
  [ -e /usr/include/libelf.h ] || missing+=(libelf-dev)
  echo 'int main(void) { return 0; }' > "$work/probe.c"
  gcc -static -o "$work/probe" "$work/probe.c" 2> /dev/null || missing+=(libc6-dev)
  gcc -m32 -static -o "$work/probe" "$work/probe.c" 2> /dev/null || missing+=(gcc-multilib libc6-dev-i386)
  [ ${#missing[@]} = 0 ] || fail "tools are missing. On Debian 12: sudo apt-get install ${missing[*]}"
}

# The kernel's sources: the tarball that the package linux-source-6.1 installs.
kernel=$work/linux-source-6.1
unpack_kernel() {
  local installed
  installed=$(dpkg-query -W -f '${Version}' linux-source-6.1 2> /dev/null || echo unknown)
  [ "$installed" = "$linux_version" ] ||
    say "note: linux-source-6.1 is $installed, the images in the tree are built from $linux_version"
  [ ! -e "$kernel/.unpacked" ] || return 0
  say "unpacking linux-source-6.1"
  rm -rf "$kernel"
  tar -C "$work" -xf "$linux_tarball"
  touch "$kernel/.unpacked"
}

# busybox's source package, which apt checks against the signed package lists. Most machines have no
# deb-src entries, so apt gets lists of its own here: the machine's, with deb replaced by deb-src.
busybox=$work/busybox-source
fetch_busybox() {
  [ ! -e "$busybox/.unpacked" ] || return 0
  say "fetching the source package busybox $busybox_version"
  local apt=$work/apt list dsc
  rm -rf "$apt" "$busybox"
  mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial"
  for list in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    case $list in
      *.list) [ ! -e "$list" ] || sed -n 's/^deb /deb-src /p' "$list" > "$apt/parts/$(basename "$list")" ;;
      *.sources) sed 's/^Types:.*/Types: deb-src/' "$list" > "$apt/parts/$(basename "$list")" ;;
    esac
  done
  local options=(-q -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/parts"
    -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=)
  # Lists of other vendors may have no sources; what counts is whether the package is found.
  apt-get "${options[@]}" update > "$apt/update.log" 2>&1 || true
  (cd "$work" && apt-get "${options[@]}" source --download-only "busybox=$busybox_version") > "$apt/source.log" 2>&1 || {
    tail -n 5 "$apt/update.log" "$apt/source.log" >&2
    fail "apt could not fetch the source package busybox $busybox_version. Put its three files
(busybox_${busybox_version#*:}.dsc, .debian.tar.xz and the .orig.tar.bz2) into $work, run
'dpkg-source -x busybox_${busybox_version#*:}.dsc $busybox && touch $busybox/.unpacked' there, and start this script again."
  }
  dsc=$work/busybox_${busybox_version#*:}.dsc
  logged "$apt/unpack.log" dpkg-source --no-check -x "$dsc" "$busybox"
  touch "$busybox/.unpacked"
}

# Puts the options of fragments into a .config. $1: .config, rest: fragments
configure() {
  local config=$1 line name
  shift
  while read -r line; do
    name=${line%%=*}
    case $line in
      CONFIG_*=n) line="# $name is not set" ;;
      CONFIG_*=*) ;;
      *) continue ;;
    esac
    sed -i -e "/^$name=/d" -e "/^# $name is not set/d" "$config"
    echo "$line" >> "$config"
  done < <(cat "$@")
}

# Options of the fragments that did not become what they say: a typing error or a missing dependency.
check_configuration() {
  local config=$1 line
  shift
  while read -r line; do
    case $line in
      CONFIG_*=n) ! grep -q "^${line%=n}=" "$config" || fail "option not taken: $line" ;;
      CONFIG_*=*) grep -qxF "$line" "$config" || fail "option not taken: $line" ;;
    esac
  done < <(cat "$@")
}

build_kernel() {
  local arch=$1 out=$work/kernel-$1
  local fragments=("$here/config/common.config" "$here/config/$arch.config")
  say "kernel for $arch: configuring"
  mkdir -p "$out"
  logged "$out/config.log" make -C "$kernel" O="$out" ARCH="$arch" tinyconfig
  configure "$out/.config" "${fragments[@]}"
  logged "$out/config.log" make -C "$kernel" O="$out" ARCH="$arch" olddefconfig
  check_configuration "$out/.config" "${fragments[@]}"
  say "kernel for $arch: building"
  logged "$out/build.log" make -C "$kernel" O="$out" ARCH="$arch" -j"$(nproc)" bzImage
  install -m 644 "$out/arch/x86/boot/bzImage" "$images/bzImage-$arch"
}

build_initramfs() {
  local arch=$1 out=$work/user-$1 root=$work/user-$1/root-files flags
  case $arch in x86_64) flags='-m64' ;; i386) flags='-m32 -march=i686 -mno-sse' ;; esac
  say "user space for $arch: building"
  rm -rf "$out"
  cp -a "$busybox" "$out"
  logged "$out/config.log" make -C "$out" allnoconfig
  configure "$out/.config" "$here/config/busybox.config"
  # Questions about options that are new by now are answered with their defaults.
  logged "$out/config.log" make -C "$out" oldconfig < <(yes '')
  check_configuration "$out/.config" "$here/config/busybox.config"
  logged "$out/build.log" make -C "$out" -j"$(nproc)" CONFIG_EXTRA_CFLAGS="$flags" CONFIG_EXTRA_LDFLAGS="$flags" \
    busybox busybox.links
  # shellcheck disable=SC2086 # the flags are several words
  logged "$out/machine.log" gcc $flags -Os -Wall -Wextra -Werror -ffreestanding -fno-pie -fno-stack-protector \
    -fno-asynchronous-unwind-tables -fcf-protection=none -fno-tree-loop-distribute-patterns \
    -nostdlib -static -no-pie -s -Wl,--build-id=none -Wl,-z,noseparate-code -o "$out/machine" "$here/root/machine.c"

  # gen_init_cpio numbers inodes in the order of its list and takes owners and modes from it, but the times
  # of files from the files: so they are copied and dated.
  mkdir "$root"
  cp "$here"/root/* "$out/busybox" "$out/machine" "$root"
  touch -d "@$SOURCE_DATE_EPOCH" "$root"/*
  gcc -O -o "$work/gen_init_cpio" "$kernel/usr/gen_init_cpio.c"
  {
    sed "s|@FILES@|$root|" "$here/root/files.list"
    sort "$out/busybox.links" | while read -r link; do
      case $link in
        /linuxrc) ;;
        *) echo "slink $link /bin/busybox 0777 0 0" ;;
      esac
    done
  } > "$out/initramfs.list"
  "$work/gen_init_cpio" -t "$SOURCE_DATE_EPOCH" "$out/initramfs.list" > "$out/initramfs.cpio"
  # The kernel reads LZ4 in its legacy frame format only.
  lz4 -q -l -9 -f "$out/initramfs.cpio" "$images/initramfs-$arch.cpio.lz4"
}

check_tools
unpack_kernel
for part in "${parts[@]}"; do
  case $part in
    kernel-*) build_kernel "${part#kernel-}" ;;
    initramfs-*) fetch_busybox; build_initramfs "${part#initramfs-}" ;;
  esac
done
shopt -s nullglob
cd "$images"
built=(bzImage-* initramfs-*)
sha256sum "${built[@]}" > SHA256SUMS
say "done: $images"
ls -l "${built[@]}"
