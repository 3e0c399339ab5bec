//! How threads share the steps of a run.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::operands::Job;
use super::step::Step;

/// Multiplications that are worth a share: some microseconds.
const WORTH: usize = 200_000;
/// Bytes of results that are worth a share, where little is computed for each.
const WORTH_BYTES: usize = 8 << 10;
/// Rows of a matrix product that are worth a share.
const ROWS: usize = 48;

/// Into how many shares a step is cut: by rows (of whatever it works on) and by columns.
///
/// More shares than threads, so that a thread that started late or was interrupted does fewer of them.
pub(super) fn shares(step: &Step, threads: usize) -> [usize; 2] {
    let most = 4 * threads;
    let of = |work: usize, worth: usize, units: usize| [(work / worth).clamp(1, most).min(units.max(1)), 1];
    match step {
        Step::Quantise { channels, out, .. } => of(out.length, WORTH_BYTES, out.length / channels / 256),
        Step::Product { matrix, out, .. } => {
            let (rows, panels) = (out.length / matrix.columns, matrix.panels.len());
            let wanted = (out.length * matrix.quads * 4 / WORTH).clamp(1, most);
            if rows >= ROWS * wanted.min(threads) {
                return [wanted.min(rows / ROWS), 1];
            }
            // Few rows: shares of columns, so that weights are read once; and of rows, where columns are few as well.
            let columns = wanted.min(panels);
            [if columns < wanted && columns < most / 2 && rows >= ROWS / 2 { 2 } else { 1 }, columns]
        }
        Step::Dense { matrix, out, .. } => {
            let (rows, panels) = (out.length / matrix.columns, matrix.panels.len());
            let wanted = (out.length * matrix.quads * 4 / WORTH).clamp(1, most);
            // As above; but each share of columns lays out all patches once more.
            if rows >= ROWS * wanted.min(threads) {
                [wanted.min(rows / ROWS), 1]
            } else {
                [1, wanted.min(threads).min(panels)]
            }
        }
        Step::Floats { matrix, .. } => {
            let wanted = matrix.quads * 4 * matrix.columns / WORTH;
            [1, wanted.clamp(1, most).min(matrix.panels.len())]
        }
        Step::Depthwise { window, out, .. } => of(out.length, WORTH_BYTES, window.out_height),
        Step::Largest { window, out, .. } => of(out.length, WORTH_BYTES, window.out_height),
        Step::Add { out, .. } | Step::Multiply { out, .. } | Step::Table { out, .. } => {
            of(out.length, 4 * WORTH_BYTES, usize::MAX)
        }
        Step::Dequantise { .. } | Step::Average { .. } => [1, 1],
    }
}

/// Into how many shares rows of a picture are cut: as above, but each of them large enough that the tiles of a matrix
/// product fit it well.
pub(super) fn rows_shares([height, width]: [usize; 2], threads: usize) -> usize {
    (height * width / ROWS).clamp(threads, 4 * threads).min(height)
}

/// The shares of one step, in a cache line of their own.
#[derive(Default)]
#[repr(align(64))]
struct Progress {
    done: AtomicUsize,
}

/// How many of a thread's own shares of one step were taken.
#[derive(Default)]
#[repr(align(64))]
struct Taken(AtomicUsize);

/// Counts a share as done, also where it panicked: the others would wait for ever.
struct Done<'a>(&'a AtomicUsize);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Does all shares of step 0, then of step 1 and so on, on this thread and on others that end before it returns. Each
/// share is given to `work` once, with the number of the thread. `after` is called when a step is done.
///
/// Each thread has shares of its own, which lie where its shares of the step before lay: what it reads it has written
/// itself, mostly. When it has done them it helps the others: nobody waits for a thread that has not started yet.
pub(super) fn share(
    threads: usize,
    steps: &[usize],
    work: &(impl Fn(usize, Job, usize) + Sync),
    after: &mut dyn FnMut(usize),
) {
    let progress: Vec<Progress> = steps.iter().map(|_| Progress::default()).collect();
    let taken: Vec<Taken> = (0..steps.len() * threads).map(|_| Taken::default()).collect();
    // What comes behind the last step that is shared is the caller's alone: the other threads end meanwhile, which takes
    // as long as a step or two.
    let shared = steps.iter().rposition(|&of| of > 1).map_or(0, |last| last + 1);
    let run = |worker: usize, after: &mut dyn FnMut(usize)| {
        let mine = if worker == 0 { steps.len() } else { shared };
        for (at, (progress, &of)) in progress.iter().zip(&steps[..mine]).enumerate() {
            for owner in (worker..threads).chain(0..worker) {
                let own = Job { index: owner, of: threads }.part(of, 1);
                let next = || own.start + taken[at * threads + owner].0.fetch_add(1, Ordering::Relaxed);
                for index in std::iter::repeat_with(next).take_while(|&index| index < own.end) {
                    let _done = Done(&progress.done);
                    work(at, Job { index, of }, worker);
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

/// Spins: a share takes some microseconds.
fn wait(until: impl Fn() -> bool) {
    let mut spins = 0u32;
    while !until() {
        // Where the thread that is waited for needs this core, spinning on would keep it from its work.
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
            let work = |at: usize, job: Job, worker: usize| {
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
        let work = |at: usize, job: Job, _: usize| assert!(at != 1 || job.index != 2, "meant to be");
        let run = || share(3, &[4, 4, 4], &work, &mut |_| ());
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    }
}
