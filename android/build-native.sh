#!/usr/bin/env bash
# The native libraries of the Android archive: magpie-android/src/main/jniLibs. Needs the Android NDK (ANDROID_NDK_HOME),
# `rustup target add aarch64-linux-android x86_64-linux-android` and `cargo install cargo-ndk`.
# Usage: build-native.sh [full|lean]
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:-full}" in
    full) features=() ;;
    lean) features=(--no-default-features) ;;
    *) echo "usage: $0 [full|lean]" >&2; exit 2 ;;
esac
out=android/magpie-android/src/main/jniLibs

# Some phones with Android 15 have pages of 16 KB; NDKs before r28 link for 4 KB. Cargo takes no flags of a target where
# RUSTFLAGS is set, and cargo-ndk may set it, so they go there. Packed relocations, which Android reads since version 6,
# and functions with the same code are worth 1 MB.
rm -rf "$out"
RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-Wl,-z,max-page-size=16384,--pack-dyn-relocs=android,--icf=all" \
    cargo ndk --target arm64-v8a --target x86_64 --platform 26 --output-dir "$out" \
    build --locked --profile phone --package magpie-ffi ${features[@]+"${features[@]}"}

# The Kotlin that goes with it.
cargo xtask bindings

readelf=$(ls "$ANDROID_NDK_HOME"/toolchains/llvm/prebuilt/*/bin/llvm-readelf)
for library in "$out"/*/libmagpie_ffi.so; do
    # The last column of a segment that is loaded is its alignment, in hexadecimal.
    for alignment in $("$readelf" --program-headers --wide "$library" | awk '$1 == "LOAD" { print $NF }'); do
        if ((alignment < 16384)); then
            echo "$library is aligned to $alignment bytes, and pages of 16 KB need 0x4000" >&2
            exit 1
        fi
    done
    ls -l "$library"
done
