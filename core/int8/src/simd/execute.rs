//! Runs steps that were checked against the memory that they work on.

use std::ops::Range;

use super::kernels::Kernels;
use super::memory::Memory;
use super::operands::{Convolution, Job, Product, Sink};
use super::share::{rows_shares, share, shares};
use super::step::{Group, PATCHES, Step};
use super::windows::{gather, largest};
use crate::arena::{Aligned, SLACK, Span};

/// Steps that fit their memory: running them is safe.
pub(in super::super) struct Checked {
    kernels: &'static Kernels,
    steps: Vec<Step>,
    groups: Vec<Group>,
    /// Into how many shares threads cut each group.
    shares: Vec<usize>,
    /// Values of each input.
    inputs: Vec<usize>,
    bytes: usize,
    threads: usize,
}

impl Checked {
    /// `None` where a step does not fit: the planner is wrong.
    pub(in super::super) fn new(
        kernels: &'static Kernels,
        steps: Vec<Step>,
        groups: Vec<Group>,
        inputs: Vec<usize>,
        bytes: usize,
        threads: usize,
    ) -> Option<Checked> {
        // All steps, each in one group, and in order.
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
            read.iter().chain(&written).all(inside) && written.iter().all(apart) && both && step.fits(&inputs, threads)
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
        Some(Checked { kernels, steps, groups, shares, inputs, bytes, threads })
    }

    /// Bytes of memory that a run needs.
    pub(in super::super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The kernels that run it.
    pub(in super::super) fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// The steps, in order.
    pub(in super::super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Runs all steps; `after`, where there is one, is called after each by the calling thread.
    ///
    /// # Panics
    /// Where memory or inputs are of other sizes than was said to [`Checked::new`].
    pub(in super::super) fn run(&self, inputs: &[&[f32]], memory: &mut Aligned, after: Option<&mut dyn FnMut(usize)>) {
        let sizes_match =
            inputs.len() == self.inputs.len() && inputs.iter().zip(&self.inputs).all(|(x, n)| x.len() == *n);
        assert!(sizes_match && memory.bytes().len() >= self.bytes, "inputs and memory are of the planned sizes");
        let memory = Memory(memory.bytes_mut().as_mut_ptr());
        if self.threads == 1 {
            let mut after = after;
            for (at, step) in self.steps.iter().enumerate() {
                // SAFETY: `new` checked every step against `bytes`, and nobody else works on this memory.
                unsafe { self.step(step, inputs, memory, ALONE, 0, None) };
                if let Some(after) = &mut after {
                    after(at);
                }
            }
            return;
        }
        let Some(after) = after else { return self.run_groups(inputs, memory) };
        let steps: Vec<usize> =
            self.steps.iter().map(|step| shares(step, self.threads).into_iter().product()).collect();
        let work = |at: usize, job: Job, worker: usize| {
            // SAFETY: as above; the shares of one step write to different parts of its spans, each is done once, and a
            // step is begun when all shares of the one before are done.
            unsafe { self.step(&self.steps[at], inputs, memory, job, worker, None) };
        };
        share(self.threads, &steps, &work, after);
    }

    fn run_groups(&self, inputs: &[&[f32]], memory: Memory) {
        let work = |at: usize, job: Job, worker: usize| {
            let group = &self.groups[at];
            match &self.steps[group.steps.clone()] {
                // SAFETY: as in `run`.
                [step] => unsafe { self.step(step, inputs, memory, job, worker, None) },
                steps => {
                    let rows = job.part(group.size[0], 1);
                    let part =
                        Part { pixels: rows.start * group.size[1]..rows.end * group.size[1], of: group.pixels() };
                    for step in steps {
                        // SAFETY: as in `run`; `Group::fits` saw that shares of the group meet nowhere but in reading
                        // what was written before it.
                        unsafe { self.step(step, inputs, memory, job, worker, Some(&part)) };
                    }
                }
            }
        };
        share(self.threads, &self.shares, &work, &mut |_| ());
    }

    /// A share of a product as one of its rows and one of its columns.
    fn cut(&self, step: &Step, job: Job) -> (Job, Job) {
        let [rows, columns] = if job.of == 1 { [1, 1] } else { shares(step, self.threads) };
        (Job { index: job.index / columns, of: rows }, Job { index: job.index % columns, of: columns })
    }

    /// # Safety
    /// `memory` is good for `self.bytes`, the step is one of `self.steps`, `job` is one of as many as [`shares`] says (or
    /// all of it), and each thread has a number of its own. With a `part`, the step is one of a group, `job` is one of any
    /// number, and the part is its rows.
    unsafe fn step(
        &self,
        step: &Step,
        inputs: &[&[f32]],
        memory: Memory,
        job: Job,
        worker: usize,
        part: Option<&Part>,
    ) {
        let k = self.kernels;
        // SAFETY: `Kernels::of` found the instruction set on this CPU; spans lie within the memory, and what is written
        // does not overlap what is read (`Checked::new`).
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
                Step::Product { matrix, x, to, out } => {
                    let rows = out.length / matrix.columns;
                    let depth = x.length / rows.max(1);
                    // Each share has some rows and some columns.
                    let (part, job) = match part {
                        Some(part) => (part.pixels.clone(), ALONE),
                        None => {
                            let (rows_of, job) = self.cut(step, job);
                            (rows_of.part(rows, 12), job)
                        }
                    };
                    let product = Product {
                        matrix,
                        x: memory.at(*x).add(part.start * depth),
                        x_step: depth,
                        out: Sink::Bytes(memory.at(*out).add(part.start * matrix.columns), *to),
                        rows: part.len(),
                    };
                    (k.product)(&product, job);
                }
                Step::Floats { matrix, x, out } => {
                    let out = Sink::Floats(memory.at(*out).cast());
                    (k.product)(&Product { matrix, x: memory.at(*x), x_step: x.length, out, rows: 1 }, job);
                }
                Step::Dense { matrix, window, channels, padding, x, patches, to, out } => {
                    let depth = matrix.quads * 4;
                    let patches = memory.at(*patches).add(worker * (PATCHES * depth + SLACK));
                    let (pixels, job) = match part {
                        Some(part) => (part.pixels.clone(), ALONE),
                        None => {
                            let (rows_of, job) = self.cut(step, job);
                            (rows_of.part(window.out_height * window.out_width, 12), job)
                        }
                    };
                    for first in pixels.clone().step_by(PATCHES) {
                        let rows = PATCHES.min(pixels.end - first);
                        gather(window, *channels, *padding, memory.at(*x), patches, depth, first..first + rows);
                        let out = Sink::Bytes(memory.at(*out).add(first * matrix.columns), *to);
                        (k.product)(&Product { matrix, x: patches, x_step: depth, out, rows }, job);
                    }
                }
                Step::Depthwise { kernels, filters, window, x, to, out } => {
                    let convolution =
                        Convolution { filters, window: *window, x: memory.at(*x), out: memory.at(*out), to: *to };
                    (kernels.convolve)(&convolution, job);
                }
                Step::Add { a, b, from, to, out } => {
                    let part = part.map_or_else(|| job.part(out.length, 64), |part| part.bytes(out.length));
                    let (a, b) = (memory.read(*a, part.clone()), memory.read(*b, part.clone()));
                    (k.add)(a, b, *from, *to, memory.part(*out, part));
                }
                Step::Multiply { a, b, zeros, factor, to, out } => {
                    let part = part.map_or_else(|| job.part(out.length, b.length), |part| part.bytes(out.length));
                    // Two of one size go together; a single pixel is for all.
                    let b = memory.read(*b, if a.length == b.length { part.clone() } else { 0..b.length });
                    let a = memory.read(*a, part.clone());
                    (k.multiply)(a, b, *zeros, *factor, *to, memory.part(*out, part));
                }
                Step::Average { x, zero, factor, to, sums, out } => {
                    let sums = memory.writable_as(*sums);
                    (k.average)(memory.readable(*x), *zero, *factor, *to, sums, memory.writable(*out));
                }
                Step::Largest { window, channels, x, out } => {
                    let row = window.out_width * channels;
                    for y in job.part(window.out_height, 1) {
                        let out = memory.part(*out, y * row..(y + 1) * row);
                        largest(k, window, *channels, memory.readable(*x), y, out);
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

/// A thread that does all of it.
const ALONE: Job = Job { index: 0, of: 1 };

/// Rows of a picture that a thread does.
struct Part {
    pixels: Range<usize>,
    /// Pixels of the whole picture.
    of: usize,
}

impl Part {
    /// The same of a value with so many bytes.
    fn bytes(&self, length: usize) -> Range<usize> {
        let pixel = length / self.of;
        self.pixels.start * pixel..self.pixels.end * pixel
    }
}
