//! The arena of a run, as the threads of the run see it.

use std::ops::Range;

use crate::arena::Span;

/// A pointer to the arena, shared by the threads of a run.
///
/// # Safety
/// All functions require that the arena is allocated and that the span lies within it.
#[derive(Clone, Copy)]
pub(super) struct Arena(pub(super) *mut u8);

// SAFETY: the threads that share it write to different bytes, see `CheckedSteps::run`.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// # Safety
    /// See the type.
    pub(super) unsafe fn at(self, span: Span) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { self.0.add(span.start) }
    }

    /// # Safety
    /// See the type; and no thread writes to the span as long as the slice is used.
    pub(super) unsafe fn readable<'a>(self, span: Span) -> &'a [u8] {
        // SAFETY: as the caller promises.
        unsafe { self.read(span, 0..span.length) }
    }

    /// # Safety
    /// See the type; and no thread writes to this part of the span as long as the slice is used.
    pub(super) unsafe fn read<'a>(self, span: Span, part: Range<usize>) -> &'a [u8] {
        debug_assert!(part.start <= part.end && part.end <= span.length);
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts(self.at(span).add(part.start), part.len()) }
    }

    /// # Safety
    /// See the type; and no other reference is used for the span as long as the slice is used.
    pub(super) unsafe fn writable<'a>(self, span: Span) -> &'a mut [u8] {
        // SAFETY: as the caller promises.
        unsafe { self.part(span, 0..span.length) }
    }

    /// # Safety
    /// See the type; and no other reference is used for this part of the span as long as the slice is used.
    pub(super) unsafe fn part<'a>(self, span: Span, part: Range<usize>) -> &'a mut [u8] {
        debug_assert!(part.start <= part.end && part.end <= span.length);
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.at(span).add(part.start), part.len()) }
    }

    /// The span as numbers.
    ///
    /// # Panics
    /// If the span is not aligned for them.
    ///
    /// # Safety
    /// As [`Arena::writable`].
    pub(super) unsafe fn writable_as<'a, T: bytemuck::Pod>(self, span: Span) -> &'a mut [T] {
        // SAFETY: as the caller promises.
        bytemuck::cast_slice_mut(unsafe { self.writable(span) })
    }
}
