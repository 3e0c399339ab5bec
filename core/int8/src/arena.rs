//! The memory of a run: one block, in which every value has its span.

use std::ops::Range;

/// Bytes after each span that kernels may read without using them.
pub(super) const SLACK: usize = 64;

/// A part of the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    /// Bytes, without the slack that follows.
    pub(super) length: usize,
}

impl Span {
    pub(super) fn range(self) -> Range<usize> {
        self.start..self.start + self.length
    }

    pub(super) fn overlaps(self, other: Span) -> bool {
        self.start < other.start + other.length + SLACK && other.start < self.start + self.length + SLACK
    }
}

/// Bytes that start at a multiple of 64.
#[derive(Debug, Clone, Default)]
pub(super) struct Aligned(Vec<Line>);

#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

impl Aligned {
    /// At least `bytes` zeros.
    pub(super) fn zeros(bytes: usize) -> Aligned {
        Aligned(vec![Line([0; 64]); bytes.div_ceil(64)])
    }

    pub(super) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    pub(super) fn signed(&self) -> &[i8] {
        bytemuck::cast_slice(&self.0)
    }

    pub(super) fn signed_mut(&mut self) -> &mut [i8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Spans that live at the same time do not overlap; others may.
#[derive(Default)]
pub(super) struct Memory {
    /// Spans in use with the last layer that needs them, by start.
    used: Vec<(Span, usize)>,
    pub(super) bytes: usize,
}

impl Memory {
    /// Forgets what no layer from `layer` on needs.
    pub(super) fn free_before(&mut self, layer: usize) {
        self.used.retain(|(_, last)| *last >= layer);
    }

    /// The first gap that is large enough.
    pub(super) fn take(&mut self, length: usize, last: usize) -> Span {
        let size = |length: usize| (length + SLACK).next_multiple_of(64);
        let mut start = 0;
        let mut place = self.used.len();
        for (at, (span, _)) in self.used.iter().enumerate() {
            if start + size(length) <= span.start {
                place = at;
                break;
            }
            start = span.start + size(span.length);
        }
        let span = Span { start, length };
        self.used.insert(place, (span, last));
        self.bytes = self.bytes.max(start + size(length));
        span
    }
}
