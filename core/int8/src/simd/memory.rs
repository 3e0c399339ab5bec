//! The memory of a run, as its threads see it.

use std::ops::Range;

use crate::arena::Span;

/// The memory of a run, shared by its threads.
#[derive(Clone, Copy)]
pub(super) struct Memory(pub(super) *mut u8);

// SAFETY: the threads that share it write to different places (`Checked::run`).
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// Every function: the span lies within the memory.
impl Memory {
    /// # Safety
    /// See above.
    pub(super) unsafe fn at(self, span: Span) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { self.0.add(span.start) }
    }

    /// # Safety
    /// See above; nobody writes to it meanwhile.
    pub(super) unsafe fn readable<'a>(self, span: Span) -> &'a [u8] {
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts(self.at(span), span.length) }
    }

    /// # Safety
    /// See above; nobody writes to this part of it meanwhile.
    pub(super) unsafe fn read<'a>(self, span: Span, part: Range<usize>) -> &'a [u8] {
        debug_assert!(part.end <= span.length);
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts(self.at(span).add(part.start), part.len()) }
    }

    /// # Safety
    /// See above; nobody else reads or writes it meanwhile.
    pub(super) unsafe fn writable<'a>(self, span: Span) -> &'a mut [u8] {
        // SAFETY: as the caller promises.
        unsafe { self.part(span, 0..span.length) }
    }

    /// # Safety
    /// See above; nobody else reads or writes this part of it meanwhile.
    pub(super) unsafe fn part<'a>(self, span: Span, part: Range<usize>) -> &'a mut [u8] {
        debug_assert!(part.end <= span.length && span.range().end >= span.start);
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.at(span).add(part.start), part.len()) }
    }

    /// # Safety
    /// As `writable`; the span starts at a multiple of four.
    pub(super) unsafe fn writable_as<'a, T: bytemuck::Pod>(self, span: Span) -> &'a mut [T] {
        // SAFETY: as the caller promises.
        bytemuck::cast_slice_mut(unsafe { self.writable(span) })
    }
}
