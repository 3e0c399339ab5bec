//! A counting allocator, so that tests can measure how much memory some code takes.
#![allow(unsafe_code)] // `GlobalAlloc` is an unsafe trait

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator with counters for each thread. A test program enables it with `#[global_allocator]`.
pub struct Counting;

/// The memory that some work took on its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Number of allocations.
    pub allocations: usize,
    /// The most bytes held at once, beyond those held before.
    pub peak: usize,
    /// Bytes still held at the end, beyond those held before.
    pub kept: usize,
}

/// Bytes that a thread may hold. Allocations beyond fail, which ends the process before the machine runs out of memory.
const LIMIT: isize = 4 << 30;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Runs the work and measures the memory that it takes on this thread.
///
/// # Panics
/// If [`Counting`] is not the global allocator.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, Used) {
    let probe = ALLOCATIONS.get();
    drop(std::hint::black_box(Box::new(0u8)));
    assert!(ALLOCATIONS.get() > probe, "the counting allocator is not in use");
    let (before, allocations) = (LIVE.get(), ALLOCATIONS.get());
    PEAK.set(before);
    let result = work();
    let beyond = |bytes: isize| usize::try_from(bytes - before).unwrap_or(0);
    let used =
        Used { allocations: ALLOCATIONS.get() - allocations, peak: beyond(PEAK.get()), kept: beyond(LIVE.get()) };
    (result, used)
}

/// Counts an allocation of this many bytes, or returns false where it would exceed [`LIMIT`].
fn take(bytes: usize) -> bool {
    let Ok(bytes) = isize::try_from(bytes) else { return false };
    let live = LIVE.get().saturating_add(bytes);
    if live > LIMIT {
        return false;
    }
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
    true
}

fn give_back(bytes: usize) {
    LIVE.set(LIVE.get() - bytes as isize);
}

// SAFETY: every call goes to the system's allocator unchanged; counting itself allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if take(layout.size()) { unsafe { System.alloc(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        if take(layout.size()) { unsafe { System.alloc_zeroed(layout) } } else { std::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        give_back(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        give_back(layout.size());
        if take(size) {
            // SAFETY: as the caller promises.
            return unsafe { System.realloc(memory, layout, size) };
        }
        let _ = take(layout.size());
        std::ptr::null_mut()
    }
}
