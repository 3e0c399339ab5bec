//! Divides steps into shares, and runs the shares on threads.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::operands::WorkShare;
use super::step::Step;

/// Multiplications of a share, at least: a few microseconds of work.
const WORTH: usize = 200_000;
/// Bytes of results of a share, at least, in steps that compute little for each byte.
const WORTH_BYTES: usize = 8 << 10;
/// Rows of a matrix product in a share, at least.
const ROWS: usize = 48;

/// The number of shares of a step: by rows (pixels, bytes or rows of the picture) times by columns.
///
/// Up to four per thread, so that a thread that started late or was interrupted does fewer of them.
pub(super) fn shares(step: &Step, threads: usize) -> [usize; 2] {
    let most = 4 * threads;
    let of = |work: usize, worth: usize, units: usize| [(work / worth).clamp(1, most).min(units.max(1)), 1];
    match step {
        Step::Quantise { channels, out, .. } => of(out.length, WORTH_BYTES, out.length / channels / 256),
        Step::Product { matrix, out, .. } => {
            let (rows, panels) = (out.length / matrix.columns(), matrix.panels().len());
            let wanted = (out.length * matrix.quads() * 4 / WORTH).clamp(1, most);
            if rows >= ROWS * wanted.min(threads) {
                return [wanted.min(rows / ROWS), 1];
            }
            // Few rows: divide by columns, so that each weight is read once; and in addition by rows if columns are few, too.
            let columns = wanted.min(panels);
            [if columns < wanted && columns < most / 2 && rows >= ROWS / 2 { 2 } else { 1 }, columns]
        }
        Step::Dense { matrix, out, .. } => {
            let (rows, panels) = (out.length / matrix.columns(), matrix.panels().len());
            let wanted = (out.length * matrix.quads() * 4 / WORTH).clamp(1, most);
            // As above, but every share of columns repeats the im2col of all its rows.
            if rows >= ROWS * wanted.min(threads) {
                [wanted.min(rows / ROWS), 1]
            } else {
                [1, wanted.min(threads).min(panels)]
            }
        }
        Step::ProductFloats { matrix, .. } => {
            let wanted = matrix.quads() * 4 * matrix.columns() / WORTH;
            [1, wanted.clamp(1, most).min(matrix.panels().len())]
        }
        Step::Depthwise { window, out, .. } => of(out.length, WORTH_BYTES, window.out_height),
        Step::MaxPool { window, out, .. } => of(out.length, WORTH_BYTES, window.out_height),
        Step::Add { out, .. } | Step::Multiply { out, .. } | Step::Table { out, .. } => {
            of(out.length, 4 * WORTH_BYTES, usize::MAX)
        }
        Step::Dequantise { .. } | Step::AveragePool { .. } => [1, 1],
    }
}

/// The number of shares of a group, by rows of the picture: up to four per thread, but each large enough for the tiles of
/// a matrix product.
pub(super) fn rows_shares([height, width]: [usize; 2], threads: usize) -> usize {
    (height * width / ROWS).clamp(threads, 4 * threads).min(height)
}

/// The number of finished shares of one step, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct StepProgress {
    done: AtomicUsize,
}

/// How many of a thread's own shares of one step have been taken, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct TakenShares(AtomicUsize);

/// Counts a share as done when it is dropped, so after a panic as well: otherwise the other threads would wait forever.
struct CountOnDrop<'a>(&'a AtomicUsize);

impl Drop for CountOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Runs all shares of step 0, then of step 1 and so on, on this thread and on `threads - 1` others that end before it
/// returns. `work` gets each share once: the step, the share, and the index of the thread. `after` is called on this thread
/// when a step is done. A step starts when all shares of the step before it are done.
///
/// Each thread owns a run of neighbouring shares, in the same place in every step, so that it mostly reads what it wrote
/// itself. Once they are done, it takes shares of the other threads: nobody waits for a thread that has not started yet.
pub(super) fn share(
    threads: usize,
    steps: &[usize],
    work: &(impl Fn(usize, WorkShare, usize) + Sync),
    after: &mut dyn FnMut(usize),
) {
    let progress: Vec<StepProgress> = steps.iter().map(|_| StepProgress::default()).collect();
    let taken: Vec<TakenShares> = (0..steps.len() * threads).map(|_| TakenShares::default()).collect();
    // The caller alone runs what follows the last divided step. The other threads end meanwhile, which takes as long as a
    // step or two.
    let shared = steps.iter().rposition(|&of| of > 1).map_or(0, |last| last + 1);
    let run = |worker: usize, after: &mut dyn FnMut(usize)| {
        let mine = if worker == 0 { steps.len() } else { shared };
        for (at, (progress, &of)) in progress.iter().zip(&steps[..mine]).enumerate() {
            for owner in (worker..threads).chain(0..worker) {
                let own = WorkShare { index: owner, of: threads }.part(of, 1);
                let next = || own.start + taken[at * threads + owner].0.fetch_add(1, Ordering::Relaxed);
                for index in std::iter::repeat_with(next).take_while(|&index| index < own.end) {
                    let _done = CountOnDrop(&progress.done);
                    work(at, WorkShare { index, of }, worker);
                }
            }
            if worker == 0 || at + 1 < mine {
                wait(|| progress.done.load(Ordering::Acquire) >= of);
            }
            after(at);
        }
    };
    std::thread::scope(|scope| {
        for worker in if shared == 0 { 1..1 } else { 1..threads } {
            let run = &run;
            scope.spawn(move || run(worker, &mut |_| ()));
        }
        run(0, after);
    });
}

/// Spins until the condition holds: a share takes only microseconds.
fn wait(until: impl Fn() -> bool) {
    let mut spins = 0u32;
    while !until() {
        // The thread that is waited for may need this core.
        spins += 1;
        if spins > 100 {
            std::thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_share_is_done_once_and_steps_do_not_overlap() {
        let steps: Vec<usize> = (0..200).map(|at| at % 9 + 1).collect();
        for threads in 1..6 {
            let (seen, mut ended) = (Mutex::new(Vec::new()), Vec::new());
            let work = |at: usize, job: WorkShare, worker: usize| {
                assert!(worker < threads);
                seen.lock().expect("nobody panics").push((at, job.index));
            };
            share(threads, &steps, &work, &mut |at| ended.push(at));
            let seen = seen.into_inner().expect("nobody panics");
            assert!(seen.is_sorted_by_key(|(at, _)| *at));
            let mut sorted = seen.clone();
            sorted.sort_unstable();
            let all = steps.iter().enumerate().flat_map(|(at, &of)| (0..of).map(move |index| (at, index)));
            assert!(sorted.into_iter().eq(all), "{threads}");
            assert!(ended.into_iter().eq(0..steps.len()));
        }
    }

    #[test]
    fn a_panic_of_one_share_reaches_the_caller() {
        let work = |at: usize, job: WorkShare, _: usize| assert!(at != 1 || job.index != 2, "meant to be");
        let run = || share(3, &[4, 4, 4], &work, &mut |_| ());
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    }
}
