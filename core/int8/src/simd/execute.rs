//! Runs steps that have been checked against the arena.

use std::ops::Range;

use super::kernels::Int8Kernels;
use super::memory::Arena;
use super::operands::{Convolution, Product, Sink, WorkShare};
use super::share::{rows_shares, share, shares};
use super::step::{PATCHES, Step, StepGroup, tail_bytes, tail_rows};
use super::windows::{im2col, max_pool};
use crate::arena::{Aligned, SLACK, Span};

/// Steps that fit the arena, each other and the kernels: running them is safe.
pub(crate) struct CheckedSteps {
    kernels: &'static Int8Kernels,
    steps: Vec<Step>,
    groups: Vec<StepGroup>,
    /// The number of shares of each group.
    shares: Vec<usize>,
    /// Values of each input.
    inputs: Vec<usize>,
    bytes: usize,
    threads: usize,
}

impl CheckedSteps {
    /// Checks the steps. `None` means a bug in the planner.
    pub(crate) fn new(
        kernels: &'static Int8Kernels,
        steps: Vec<Step>,
        groups: Vec<StepGroup>,
        inputs: Vec<usize>,
        bytes: usize,
        threads: usize,
    ) -> Option<CheckedSteps> {
        // The groups have all steps, each one once and in order.
        let ends = groups.iter().scan(0, |end, group| {
            let follows = group.steps.start == *end;
            *end = group.steps.end;
            Some(follows)
        });
        let complete = ends.into_iter().all(|follows| follows)
            && groups.last().map_or(0, |group| group.steps.end) == steps.len()
            && groups.iter().all(|group| group.fits(&steps));
        let good = steps.iter().all(|step| {
            let (read, written) = step.spans();
            let inside = |span: &Span| span.start.checked_add(span.length + SLACK).is_some_and(|end| end <= bytes);
            let apart = |out: &Span| !read.iter().any(|x| x.overlaps(*out));
            let both = !matches!(&written[..], [a, b] if a.overlaps(*b));
            read.iter().chain(&written).all(inside)
                && written.iter().all(apart)
                && both
                && step.fits(kernels, &inputs, threads)
        });
        if !(good && complete && threads > 0) {
            return None;
        }
        let cut = groups.iter().map(|group| match &steps[group.steps.clone()] {
            [] => 0,
            [step] => shares(step, threads).into_iter().product(),
            _ => rows_shares(group.size, threads),
        });
        let shares = cut.collect();
        Some(CheckedSteps { kernels, steps, groups, shares, inputs, bytes, threads })
    }

    /// The size of the arena.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The kernels that run the steps.
    pub(crate) fn kernels(&self) -> &'static Int8Kernels {
        self.kernels
    }

    /// The steps, in order.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Runs all steps. Calls `after`, if given, on this thread after each step.
    ///
    /// # Panics
    /// If the arena or an input has another size than [`CheckedSteps::new`] was told.
    pub(crate) fn run(&self, inputs: &[&[f32]], memory: &mut Aligned, after: Option<&mut dyn FnMut(usize)>) {
        let sizes_match =
            inputs.len() == self.inputs.len() && inputs.iter().zip(&self.inputs).all(|(x, n)| x.len() == *n);
        assert!(sizes_match && memory.bytes().len() >= self.bytes, "inputs and memory have the planned sizes");
        let memory = Arena(memory.bytes_mut().as_mut_ptr());
        if self.threads == 1 {
            let mut after = after;
            for (at, step) in self.steps.iter().enumerate() {
                // SAFETY: `new` checked every step against `bytes`, and no other thread has this memory.
                unsafe { self.step(step, inputs, memory, WorkShare::WHOLE, 0, None) };
                if let Some(after) = &mut after {
                    after(at);
                }
            }
            return;
        }
        let Some(after) = after else { return self.run_groups(inputs, memory) };
        let steps: Vec<usize> =
            self.steps.iter().map(|step| shares(step, self.threads).into_iter().product()).collect();
        let work = |at: usize, job: WorkShare, worker: usize| {
            // SAFETY: as above. The shares of one step write to different parts of its spans, each share runs once, and a
            // step starts when all shares of the step before it are done.
            unsafe { self.step(&self.steps[at], inputs, memory, job, worker, None) };
        };
        share(self.threads, &steps, &work, after);
    }

    fn run_groups(&self, inputs: &[&[f32]], memory: Arena) {
        let work = |at: usize, job: WorkShare, worker: usize| {
            let group = &self.groups[at];
            match &self.steps[group.steps.clone()] {
                // SAFETY: as in `run`.
                [step] => unsafe { self.step(step, inputs, memory, job, worker, None) },
                steps => {
                    let rows = job.part(group.size[0], 1);
                    let part =
                        RowShare { pixels: rows.start * group.size[1]..rows.end * group.size[1], of: group.pixels() };
                    for step in steps {
                        // SAFETY: as in `run`. `StepGroup::fits` checked that of the bytes that another share of the group
                        // writes, this one reads none.
                        unsafe { self.step(step, inputs, memory, job, worker, Some(&part)) };
                    }
                }
            }
        };
        share(self.threads, &self.shares, &work, &mut |_| ());
    }

    /// Splits a share of a product into a share of the rows and a share of the columns.
    fn cut(&self, step: &Step, job: WorkShare) -> (WorkShare, WorkShare) {
        let [rows, columns] = if job.of == 1 { [1, 1] } else { shares(step, self.threads) };
        (WorkShare { index: job.index / columns, of: rows }, WorkShare { index: job.index % columns, of: columns })
    }

    /// # Safety
    /// `memory` has `self.bytes` bytes, the step is one of `self.steps`, `job` is one of [`shares`] or the whole work, and
    /// each thread has a `worker` index of its own below `self.threads`. With a `part`, the step is one of a group, and the
    /// part is the rows of `job`.
    unsafe fn step(
        &self,
        step: &Step,
        inputs: &[&[f32]],
        memory: Arena,
        job: WorkShare,
        worker: usize,
        part: Option<&RowShare>,
    ) {
        let k = self.kernels;
        // SAFETY: `Int8Kernels::of` found the instruction set on this CPU. `CheckedSteps::new` checked that weights have the
        // kernels' layout, that spans lie within the memory and have the sizes that the step needs, and that those written
        // overlap none of those read.
        unsafe {
            match step {
                Step::Quantise { input, channels, scale, to, out } => {
                    let pixels = job.part(out.length / channels, 256);
                    let out = memory.part(*out, pixels.start * channels..pixels.end * channels);
                    (k.quantise)(inputs[*input], *channels, pixels.start, *scale, *to, out);
                }
                Step::Dequantise { x, channels, from, out } => {
                    (k.dequantise)(memory.readable(*x), *channels, *from, memory.writable_as(*out));
                }
                Step::Product { matrix, x, tail, to, out } => {
                    let rows = out.length / matrix.columns();
                    let depth = x.length / rows.max(1);
                    let x = memory.at(*x);
                    let (rows, job) = match part {
                        Some(part) => (part.pixels.clone(), WorkShare::WHOLE),
                        None => {
                            let (rows_of, job) = self.cut(step, job);
                            (rows_of.part(rows, 12), job)
                        }
                    };
                    let first = x.add(rows.start * depth);
                    let (mut copy, mut copied) = (first, rows.len());
                    if let (Some(part), Some(tail)) = (part, tail)
                        && rows.end < part.of
                    {
                        // Another thread may be writing the rows behind these, and the kernel reads a few bytes of them.
                        copy = memory.at(*tail).add(worker * tail_bytes(depth));
                        copied = rows.len().saturating_sub(tail_rows(depth));
                        std::ptr::copy_nonoverlapping(first.add(copied * depth), copy, (rows.len() - copied) * depth);
                    }
                    let out = Sink::Bytes(memory.at(*out).add(rows.start * matrix.columns()), *to);
                    let product = Product { matrix, x: first, x_step: depth, out, rows: rows.len(), copy, copied };
                    (k.product)(&product, job);
                }
                Step::ProductFloats { matrix, x, out } => {
                    let (out, depth, x) = (Sink::Floats(memory.at(*out).cast()), x.length, memory.at(*x));
                    (k.product)(&Product { matrix, x, x_step: depth, out, rows: 1, copy: x, copied: 1 }, job);
                }
                Step::Dense { matrix, window, channels, padding, x, patches, to, out } => {
                    let depth = matrix.quads() * 4;
                    let patches = memory.at(*patches).add(worker * (PATCHES * depth + SLACK));
                    let (pixels, job) = match part {
                        Some(part) => (part.pixels.clone(), WorkShare::WHOLE),
                        None => {
                            let (rows_of, job) = self.cut(step, job);
                            (rows_of.part(window.out_height * window.out_width, 12), job)
                        }
                    };
                    for first in pixels.clone().step_by(PATCHES) {
                        let rows = PATCHES.min(pixels.end - first);
                        im2col(window, *channels, *padding, memory.at(*x), patches, depth, first..first + rows);
                        let out = Sink::Bytes(memory.at(*out).add(first * matrix.columns()), *to);
                        let product =
                            Product { matrix, x: patches, x_step: depth, out, rows, copy: patches, copied: rows };
                        (k.product)(&product, job);
                    }
                }
                Step::Depthwise { kernels, filters, window, x, to, out } => {
                    let convolution =
                        Convolution { filters, window: *window, x: memory.at(*x), out: memory.at(*out), to: *to };
                    (kernels.depthwise)(&convolution, job);
                }
                Step::Add { a, b, from, to, out } => {
                    let part = part.map_or_else(|| job.part(out.length, 64), |part| part.bytes(out.length));
                    let (a, b) = (memory.read(*a, part.clone()), memory.read(*b, part.clone()));
                    (k.add)(a, b, *from, *to, memory.part(*out, part));
                }
                Step::Multiply { a, b, zeros, factor, to, out } => {
                    // Values of one size are multiplied byte by byte and cut anywhere. A single pixel is multiplied with
                    // every pixel: they are cut between pixels.
                    let same = a.length == b.length;
                    let unit = if same { 64 } else { b.length };
                    let part = part.map_or_else(|| job.part(out.length, unit), |part| part.bytes(out.length));
                    let b = memory.read(*b, if same { part.clone() } else { 0..b.length });
                    let a = memory.read(*a, part.clone());
                    (k.multiply)(a, b, *zeros, *factor, *to, memory.part(*out, part));
                }
                Step::AveragePool { x, zero, factor, to, sums, out } => {
                    let sums = memory.writable_as(*sums);
                    (k.average)(memory.readable(*x), *zero, *factor, *to, sums, memory.writable(*out));
                }
                Step::MaxPool { window, channels, x, out } => {
                    let row = window.out_width * channels;
                    for y in job.part(window.out_height, 1) {
                        let out = memory.part(*out, y * row..(y + 1) * row);
                        max_pool(k, window, *channels, memory.readable(*x), y, out);
                    }
                }
                Step::Table { table, x, out } => {
                    let part = part.map_or_else(|| job.part(out.length, 64), |part| part.bytes(out.length));
                    (k.table)(table, memory.read(*x, part.clone()), memory.part(*out, part));
                }
            }
        }
    }
}

/// The rows of a picture that a share of a group has, as pixels.
struct RowShare {
    pixels: Range<usize>,
    /// The number of pixels of the picture.
    of: usize,
}

impl RowShare {
    /// The same pixels of a value with `length` bytes, as bytes.
    fn bytes(&self, length: usize) -> Range<usize> {
        let pixel = length / self.of;
        self.pixels.start * pixel..self.pixels.end * pixel
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::simd::{Requantise, tail_bytes};
    use crate::weights::{PackedMatrix, PackingInput};
    use magpie_cpu::Isa;

    /// Pixels of the picture, and channels of every value.
    const PIXELS: usize = 36;
    const CHANNELS: usize = 2;
    const LENGTH: usize = PIXELS * CHANNELS;

    /// A 1 x 1 convolution.
    fn product(layout: Layout, x: usize, tail: Option<usize>, out: usize) -> Step {
        let filters =
            PackingInput { weights: &[1; CHANNELS * CHANNELS], bias: &[0; CHANNELS], scale: &[1.0; CHANNELS], zero: 0 };
        Step::Product {
            matrix: PackedMatrix::pack(&filters, CHANNELS, layout),
            x: Span { start: x, length: LENGTH },
            tail: tail.map(|start| Span { start, length: 2 * tail_bytes(CHANNELS) }),
            to: Requantise { zero: 0, low: 0, high: 255 },
            out: Span { start: out, length: LENGTH },
        }
    }

    /// Whether these steps may run with two threads, in groups of so many steps.
    fn is_accepted(steps: Vec<Step>, groups: &[usize]) -> bool {
        let kernels = Int8Kernels::of(Isa::Scalar).expect("every CPU has it");
        let mut end = 0;
        let groups = groups.iter().map(|count| {
            let start = end;
            end += count;
            StepGroup { steps: start..end, size: [6, 6] }
        });
        CheckedSteps::new(kernels, steps, groups.collect(), vec![], 1024, 2).is_some()
    }

    #[test]
    fn steps_that_do_not_fit_are_refused() {
        let scalar = Int8Kernels::of(Isa::Scalar).expect("every CPU has it").layout();
        assert!(is_accepted(vec![product(scalar, 0, None, 256)], &[1]));
        let other = Layout { lanes: 8, ..scalar };
        assert!(!is_accepted(vec![product(other, 0, None, 256)], &[1]), "packed for other kernels");
        assert!(!is_accepted(vec![product(scalar, 0, None, 1024 - LENGTH)], &[1]), "no slack behind the result");
        assert!(!is_accepted(vec![product(scalar, 0, None, LENGTH)], &[1]), "the result in the slack of what is read");
        assert!(!is_accepted(vec![product(scalar, 0, None, 256)], &[]), "a step without a group");
    }

    #[test]
    fn products_of_a_group_are_refused_without_a_copy_of_their_last_rows() {
        let scalar = Int8Kernels::of(Isa::Scalar).expect("every CPU has it").layout();
        let steps = |tail| vec![product(scalar, 0, None, 192), product(scalar, 192, tail, 384)];
        assert!(is_accepted(steps(None), &[1, 1]));
        assert!(!is_accepted(steps(None), &[2]));
        assert!(is_accepted(steps(Some(576)), &[2]));
        assert!(!is_accepted(steps(Some(192)), &[2]));
    }
}
