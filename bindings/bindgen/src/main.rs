//! Writes the Kotlin and Swift sources from the compiled library: `cargo xtask bindings` runs it.

fn main() {
    uniffi::uniffi_bindgen_main();
}
