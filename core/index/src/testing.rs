//! What the unit tests of several modules share.

/// Cases of a property test: a tenth of `full`, and all where `MAGPIE_LONG=1` is set.
pub(crate) fn cases(full: u32) -> u32 {
    if std::env::var_os("MAGPIE_LONG").is_some_and(|long| long == "1") { full } else { (full / 10).max(1) }
}
