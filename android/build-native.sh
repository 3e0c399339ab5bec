#!/usr/bin/env bash
# Builds the native libraries of the Android archive into magpie-android/src/main/jniLibs. Needs the Android NDK
# (ANDROID_NDK_HOME), `rustup target add aarch64-linux-android x86_64-linux-android` and `cargo install cargo-ndk`.
# Usage: build-native.sh [full|lean]
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-full}" in
    full) features=() ;;
    lean) features=(--no-default-features) ;;
    *) echo "usage: $0 [full|lean]" >&2; exit 2 ;;
esac
out=android/magpie-android/src/main/jniLibs

# Some Android 15 phones have 16 KB pages, and NDKs before r28 link for 4 KB. Cargo ignores a target's configured flags
# if RUSTFLAGS is set, and cargo-ndk may set it, so the flags are passed there. Packed relocations (Android 6 and later
# read them) and folding of identical functions save 1 MB.
rm -rf "$out"
RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-Wl,-z,max-page-size=16384,--pack-dyn-relocs=android,--icf=all" \
    cargo ndk --target arm64-v8a --target x86_64 --platform 26 --output-dir "$out" \
    build --locked --profile phone --package magpie-ffi ${features[@]+"${features[@]}"}

# The Kotlin sources must match these libraries.
cargo xtask bindings

readelf=$(ls "$ANDROID_NDK_HOME"/toolchains/llvm/prebuilt/*/bin/llvm-readelf)
for library in "$out"/*/libmagpie_ffi.so; do
    # The last column of a LOAD segment is its alignment, in hexadecimal.
    for alignment in $("$readelf" --program-headers --wide "$library" | awk '$1 == "LOAD" { print $NF }'); do
        if ((alignment < 16384)); then
            echo "$library is aligned to $alignment bytes, but 16 KB pages need 0x4000" >&2
            exit 1
        fi
    done
    ls -l "$library"
done
