//! The memory of a run: one arena in which every value gets a span. Values whose live ranges do not meet share bytes.

/// Bytes behind each span that kernels may read, without using what they read, because they load whole vectors. The widest
/// vector has 64 bytes.
pub(crate) const SLACK: usize = 64;

/// A range of bytes in the arena, followed by [`SLACK`] bytes that belong to no other live span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    /// In bytes, without the slack.
    pub(crate) length: usize,
}

impl Span {
    /// Whether the two share any byte, their slack included.
    pub(crate) fn overlaps(self, other: Span) -> bool {
        self.start < other.start + other.length + SLACK && other.start < self.start + self.length + SLACK
    }
}

/// A buffer whose start is aligned to 64 bytes, the cache line of x86 and of most ARM CPUs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Aligned(Vec<CacheLine>);

#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct CacheLine([u8; 64]);

impl Aligned {
    /// `bytes` zeros, rounded up to a multiple of 64.
    pub(crate) fn zeros(bytes: usize) -> Aligned {
        Aligned(vec![CacheLine([0; 64]); bytes.div_ceil(64)])
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }

    pub(crate) fn signed(&self) -> &[i8] {
        bytemuck::cast_slice(&self.0)
    }

    pub(crate) fn signed_mut(&mut self) -> &mut [i8] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

/// Assigns spans by first fit, in the order in which the layers run.
#[derive(Default)]
pub(crate) struct ArenaPlanner {
    /// Live spans by start, each with the last layer that needs it.
    live: Vec<(Span, usize)>,
    /// The size of the arena so far.
    pub(crate) bytes: usize,
}

impl ArenaPlanner {
    /// Frees the spans that no layer from `layer` on needs.
    pub(crate) fn free_before(&mut self, layer: usize) {
        self.live.retain(|(_, last)| *last >= layer);
    }

    /// A span in the first gap that is large enough, live up to and including layer `last`.
    pub(crate) fn take(&mut self, length: usize, last: usize) -> Span {
        let size = |length: usize| (length + SLACK).next_multiple_of(64);
        let mut start = 0;
        let mut place = self.live.len();
        for (at, (span, _)) in self.live.iter().enumerate() {
            if start + size(length) <= span.start {
                place = at;
                break;
            }
            start = span.start + size(span.length);
        }
        let span = Span { start, length };
        self.live.insert(place, (span, last));
        self.bytes = self.bytes.max(start + size(length));
        span
    }
}
