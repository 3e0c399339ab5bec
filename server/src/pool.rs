//! The thread pool that searches run on. Work that would wait too long in its queue is rejected at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use magpie_core::search::Scratch;
use tokio::sync::oneshot;

use crate::backend::BackendError;

/// Hard limit on queued jobs, whatever the estimated wait is.
const LONGEST_QUEUE: usize = 4096;
/// The mean job time is an exponential moving average; each new job has the weight `1 / SMOOTHING`.
const SMOOTHING: u64 = 32;

type Task = Box<dyn FnOnce(Result<&mut Scratch, BackendError>) + Send>;

struct PoolJob {
    queued: Instant,
    deadline: Instant,
    work: Task,
}

/// A fixed number of threads with one queue. Dropping it finishes the queued work and joins the threads.
pub(crate) struct WorkerPool {
    shared: Arc<PoolState>,
    threads: Vec<JoinHandle<()>>,
}

struct PoolState {
    queue: Mutex<JobQueue>,
    filled: Condvar,
    /// The mean time of a job in nanoseconds; 0 before the first.
    mean: AtomicU64,
    waiting: AtomicUsize,
    threads: usize,
    longest_wait: Duration,
}

#[derive(Default)]
struct JobQueue {
    jobs: VecDeque<PoolJob>,
    closed: bool,
}

impl PoolState {
    fn queue(&self) -> MutexGuard<'_, JobQueue> {
        // Jobs run outside of the lock, so a panic cannot leave the queue in an inconsistent state.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The estimated wait of a job that is queued now.
    fn wait(&self) -> Duration {
        let ahead = self.waiting.load(Ordering::Relaxed) as u64 / self.threads as u64;
        Duration::from_nanos(ahead.saturating_mul(self.mean.load(Ordering::Relaxed)))
    }

    fn run(&self) {
        let mut scratch = Scratch::default();
        loop {
            let mut queue = self.queue();
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            };
            drop(queue);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let begun = Instant::now();
            let admitted = if begun >= job.deadline {
                Err(BackendError::Late)
            } else if begun.duration_since(job.queued) > 2 * self.longest_wait {
                // The estimate was wrong, e.g. other processes use the cores. Rejecting this job lets the queue catch
                // up.
                Err(BackendError::Overloaded)
            } else {
                Ok(&mut scratch)
            };
            let worked = admitted.is_ok();
            // After a panic the caller sees its channel closed. The scratch memory may be half written: start afresh.
            if catch_unwind(AssertUnwindSafe(|| (job.work)(admitted))).is_err() {
                scratch = Scratch::default();
            }
            if worked {
                self.learn(begun.elapsed());
            }
        }
    }

    fn learn(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.mean.load(Ordering::Relaxed);
        // Two threads may overwrite each other's update: this is only an estimate.
        let next = if mean == 0 { time } else { mean - mean / SMOOTHING + time / SMOOTHING };
        self.mean.store(next, Ordering::Relaxed);
    }
}

impl WorkerPool {
    /// Starts the threads. Jobs whose estimated wait exceeds `longest_wait` will be rejected.
    ///
    /// # Errors
    /// The operating system's error if a thread cannot be started.
    pub(crate) fn new(threads: usize, longest_wait: Duration) -> std::io::Result<WorkerPool> {
        let shared = Arc::new(PoolState {
            queue: Mutex::default(),
            filled: Condvar::new(),
            mean: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            threads: threads.max(1),
            longest_wait,
        });
        let mut pool = WorkerPool { shared: Arc::clone(&shared), threads: Vec::new() };
        for at in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("search-{at}")).spawn(move || shared.run())?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// The number of queued jobs.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Sets the mean time of a job, so that tests do not depend on the machine's speed.
    #[cfg(test)]
    pub(crate) fn assume_mean(&self, mean: Duration) {
        self.shared.mean.store(mean.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Runs work on one of the threads and returns its result. If this future is dropped before the work starts, the
    /// work is skipped.
    ///
    /// # Errors
    /// [`BackendError::Overloaded`] if it would wait too long, [`BackendError::Late`] if it would wait beyond its
    /// deadline, and the work's own errors.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Scratch) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        self.start(deadline, work)?.done().await
    }

    /// Queues work without waiting for it, so that several pieces can run in parallel. If the returned handle is
    /// dropped before the work starts, the work is skipped.
    ///
    /// # Errors
    /// As [`WorkerPool::run`], without the work's own errors.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut Scratch) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<JobHandle<T>, BackendError> {
        let (send, receive) = oneshot::channel();
        let queued = Instant::now();
        let wait = self.shared.wait();
        if wait > self.shared.longest_wait {
            return Err(BackendError::Overloaded);
        }
        if queued + wait >= deadline {
            return Err(BackendError::Late);
        }
        let work: Task = Box::new(move |admitted| {
            if !send.is_closed() {
                // The receiver may have been dropped meanwhile.
                let _ = send.send(admitted.and_then(work));
            }
        });
        {
            let mut queue = self.shared.queue();
            if queue.jobs.len() >= LONGEST_QUEUE {
                return Err(BackendError::Overloaded);
            }
            queue.jobs.push_back(PoolJob { queued, deadline, work });
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.filled.notify_one();
        Ok(JobHandle(receive))
    }
}

/// A handle on queued work.
pub(crate) struct JobHandle<T>(oneshot::Receiver<Result<T, BackendError>>);

impl<T> JobHandle<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// The work's own error, or why it was not started.
    pub(crate) async fn done(self) -> Result<T, BackendError> {
        self.0.await.unwrap_or_else(|_| Err(BackendError::Broken("a search panicked".to_owned())))
    }
}

impl Drop for WorkerPool {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_all();
        for thread in self.threads.drain(..) {
            // A panic has been printed already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3600)
    }

    /// Occupies a thread of the pool. Returns when it runs; it ends when the sender is dropped.
    async fn occupy(pool: &WorkerPool) -> (mpsc::Sender<()>, JobHandle<()>) {
        let (running, ran) = oneshot::channel();
        let (release, released) = mpsc::channel();
        let work = move |_: &mut Scratch| {
            let _ = running.send(());
            let _ = released.recv();
            Ok(())
        };
        let started = pool.start(later(), work).expect("an empty queue");
        ran.await.expect("a thread that runs it");
        (release, started)
    }

    #[tokio::test]
    async fn work_is_done_or_rejected_by_its_estimated_wait() {
        let pool = WorkerPool::new(1, Duration::from_secs(60)).expect("a thread");
        assert_eq!(pool.run(later(), |_| Ok(7)).await, Ok(7));
        assert_eq!(pool.run(Instant::now(), |_| Ok(7)).await, Err(BackendError::Late));
        let (release, occupied) = occupy(&pool).await;
        pool.assume_mean(Duration::from_secs(1));
        let mut jobs: Vec<_> = (0..40).filter_map(|_| pool.start(later(), |_| Ok(1)).ok()).collect();
        // 40 seconds of work are queued.
        let soon = Instant::now() + Duration::from_secs(30);
        assert_eq!(pool.start(soon, |_| Ok(1)).err(), Some(BackendError::Late));
        let more: Vec<_> = (0..160).map(|_| pool.start(later(), |_| Ok(1))).collect();
        let shed = more.iter().filter(|job| job.as_ref().err() == Some(&BackendError::Overloaded)).count();
        jobs.extend(more.into_iter().flatten());
        assert_eq!((jobs.len(), shed, pool.waiting()), (61, 139, 61));
        drop(release);
        assert_eq!(occupied.done().await, Ok(()));
        for job in jobs {
            assert_eq!(job.done().await, Ok(1));
        }
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test]
    async fn the_mean_time_of_jobs_is_measured() {
        let pool = WorkerPool::new(1, Duration::from_secs(60)).expect("a thread");
        let slow = |_: &mut Scratch| {
            std::thread::sleep(Duration::from_millis(30));
            Ok(1)
        };
        assert_eq!(pool.run(later(), slow).await, Ok(1));
        // The thread has updated the mean before it runs the next job.
        let (_release, _occupied) = occupy(&pool).await;
        let queued = pool.start(later(), |_| Ok(1));
        assert!(queued.is_ok() && pool.shared.wait() >= Duration::from_millis(30), "{:?}", pool.shared.wait());
    }

    #[tokio::test]
    async fn jobs_run_in_parallel_on_two_threads() {
        let pool = WorkerPool::new(2, Duration::from_secs(60)).expect("threads");
        let both = Arc::new(std::sync::Barrier::new(2));
        let meet = || {
            let both = Arc::clone(&both);
            // Returns only when both jobs are running.
            pool.start(later(), move |_| Ok(both.wait().is_leader())).expect("room")
        };
        let started = [meet(), meet()];
        let [first, second] = started.map(JobHandle::done);
        assert_ne!(first.await, second.await, "one of the two is the leader");
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_own_job() {
        let pool = WorkerPool::new(1, Duration::from_secs(1)).expect("a thread");
        let panics = |_: &mut Scratch| -> Result<(), BackendError> { panic!("on purpose") };
        assert!(matches!(pool.run(later(), panics).await, Err(BackendError::Broken(_))));
        assert_eq!(pool.run(later(), |_| Ok(7)).await, Ok(7));
    }
}
