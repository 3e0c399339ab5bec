//! Generates the Kotlin and Swift sources from the compiled library; run by `cargo xtask bindings`.

fn main() {
    uniffi::uniffi_bindgen_main();
}
