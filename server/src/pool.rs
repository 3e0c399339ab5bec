//! The thread pool that searches run on. A request that would wait too long in its queue is rejected at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use magpie_core::search::SearchScratch;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::backend::{BackendError, RequestBudget};
use crate::shard_set::StopWanted;

/// Hard limit on queued jobs, whatever the estimated wait is.
const LONGEST_QUEUE: usize = 4096;
/// The mean job time is an exponential moving average; each new job has the weight `1 / SMOOTHING`.
const SMOOTHING: u64 = 32;
/// A request whose first job has not started after this many times the longest wait is rejected: the estimate was wrong,
/// e.g. long searches keep the threads busy, or other processes use the cores.
const PATIENCE: u32 = 2;

type Task = Box<dyn FnOnce(Result<&mut SearchScratch, BackendError>) + Send>;

struct PoolJob {
    ticket: Arc<Admission>,
    work: Task,
}

const QUEUED: u8 = 0;
const STARTED: u8 = 1;
const GIVEN_UP: u8 = 2;

/// A request that the pool has admitted, with all the jobs that it takes.
struct Admission {
    budget: RequestBudget,
    /// When it is rejected, if none of its jobs has started.
    patience_ends: Instant,
    /// Whether the first of its jobs has started, or the request has given up waiting for that.
    state: AtomicU8,
}

impl Admission {
    fn move_on(&self, to: u8) -> bool {
        self.state.compare_exchange(QUEUED, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether a job may start now.
    fn start(&self, now: Instant) -> Result<(), BackendError> {
        if now >= self.budget.deadline {
            return Err(BackendError::Late);
        }
        if now >= self.patience_ends && self.move_on(GIVEN_UP) {
            return Err(BackendError::Overloaded);
        }
        match self.move_on(STARTED) || self.state.load(Ordering::Acquire) == STARTED {
            true => Ok(()),
            false => Err(BackendError::Overloaded),
        }
    }

    /// Ends the wait for the first job. Returns `None` if it has started meanwhile.
    fn give_up(&self) -> Option<BackendError> {
        self.move_on(GIVEN_UP);
        let waits = self.state.load(Ordering::Acquire) == GIVEN_UP;
        waits.then(|| {
            if self.patience_ends < self.budget.deadline { BackendError::Overloaded } else { BackendError::Late }
        })
    }
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
        let mut scratch = SearchScratch::default();
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
            let admitted = job.ticket.start(begun).map(|()| &mut scratch);
            let worked = admitted.is_ok();
            // After a panic the caller sees its channel closed. The scratch memory may be half written: start afresh.
            if catch_unwind(AssertUnwindSafe(|| (job.work)(admitted))).is_err() {
                scratch = SearchScratch::default();
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

/// The CPU time that this thread has taken.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

impl WorkerPool {
    /// Starts the threads. Requests whose estimated wait exceeds `longest_wait` will be rejected.
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

    /// The estimated wait of a request that comes now.
    pub(crate) fn wait(&self) -> Duration {
        self.shared.wait()
    }

    /// Sets the mean time of a job, so that tests do not depend on the machine's speed.
    #[cfg(test)]
    pub(crate) fn assume_mean(&self, mean: Duration) {
        self.shared.mean.store(mean.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Admits a request, with all the jobs that it will take: its own jobs do not count as a queue.
    ///
    /// # Errors
    /// [`BackendError::Overloaded`] if it would wait too long, or beyond its deadline; [`BackendError::Late`] if that has
    /// passed.
    pub(crate) fn admit(&self, budget: RequestBudget) -> Result<Ticket<'_>, BackendError> {
        let now = Instant::now();
        if now >= budget.deadline {
            return Err(BackendError::Late);
        }
        let wait = self.shared.wait();
        if wait > self.shared.longest_wait || now + wait >= budget.deadline {
            return Err(BackendError::Overloaded);
        }
        let patience_ends = now + PATIENCE * self.shared.longest_wait;
        let admission = Admission { budget, patience_ends, state: AtomicU8::new(QUEUED) };
        Ok(Ticket { pool: self, admission: Arc::new(admission) })
    }

    /// Admits a request of one job and runs it.
    ///
    /// # Errors
    /// As [`WorkerPool::admit`] and [`JobHandle::done`].
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        budget: RequestBudget,
        work: impl FnOnce(&mut SearchScratch, StopWanted<'_>) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<T, BackendError> {
        self.admit(budget)?.start(work)?.done().await
    }
}

/// A request that was admitted.
pub(crate) struct Ticket<'p> {
    pool: &'p WorkerPool,
    admission: Arc<Admission>,
}

impl Ticket<'_> {
    /// Queues work without waiting for it, so that several pieces can run in parallel. The work is told to stop when the
    /// deadline has passed, and when the returned handle is dropped; if it has not started by then, it is skipped.
    ///
    /// # Errors
    /// [`BackendError::Overloaded`] if the queue is full.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut SearchScratch, StopWanted<'_>) -> Result<T, BackendError> + Send + 'static,
    ) -> Result<JobHandle<T>, BackendError> {
        let (send, receive) = oneshot::channel();
        let admission = Arc::clone(&self.admission);
        let work: Task = Box::new(move |admitted| {
            if send.is_closed() {
                return;
            }
            let done = admitted.and_then(|scratch| {
                let budget = &admission.budget;
                let begun = cpu_time();
                let done = work(scratch, &|| send.is_closed() || Instant::now() >= budget.deadline);
                budget.spend(cpu_time().saturating_sub(begun));
                done
            });
            // The receiver may have been dropped meanwhile.
            let _ = send.send(done);
        });
        let shared = &self.pool.shared;
        {
            let mut queue = shared.queue();
            if queue.jobs.len() >= LONGEST_QUEUE {
                return Err(BackendError::Overloaded);
            }
            queue.jobs.push_back(PoolJob { ticket: Arc::clone(&self.admission), work });
            shared.waiting.fetch_add(1, Ordering::Relaxed);
        }
        shared.filled.notify_one();
        Ok(JobHandle { receive, admission: Arc::clone(&self.admission) })
    }
}

/// A handle on queued work.
pub(crate) struct JobHandle<T> {
    receive: oneshot::Receiver<Result<T, BackendError>>,
    admission: Arc<Admission>,
}

impl<T> JobHandle<T> {
    /// Waits for the result.
    ///
    /// # Errors
    /// [`BackendError::Overloaded`] or [`BackendError::Late`] as soon as the request has waited too long for its first
    /// job to start, or the work's own error.
    pub(crate) async fn done(mut self) -> Result<T, BackendError> {
        let admission = &self.admission;
        let until = admission.patience_ends.min(admission.budget.deadline);
        let done = match timeout_at(until.into(), &mut self.receive).await {
            Ok(done) => done,
            // Not when a thread is free: the client can try another server meanwhile.
            Err(_) => match admission.give_up() {
                Some(error) => return Err(error),
                // It has begun, or a part of it: it ends soon after the deadline.
                None => match timeout_at(admission.budget.deadline.into(), &mut self.receive).await {
                    Ok(done) => done,
                    Err(_) => return Err(BackendError::Late),
                },
            },
        };
        done.unwrap_or_else(|_| Err(BackendError::Broken("a search panicked".to_owned())))
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

    fn within(time: Duration) -> RequestBudget {
        RequestBudget::until(Instant::now() + time)
    }

    fn later() -> RequestBudget {
        within(Duration::from_secs(3600))
    }

    /// Occupies a thread of the pool. Returns when it runs; it ends when the sender is dropped.
    async fn occupy(pool: &WorkerPool) -> (mpsc::Sender<()>, JobHandle<()>) {
        let (running, ran) = oneshot::channel();
        let (release, released) = mpsc::channel();
        let work = move |_: &mut SearchScratch, _: StopWanted<'_>| {
            let _ = running.send(());
            let _ = released.recv();
            Ok(())
        };
        let started = pool.admit(later()).and_then(|ticket| ticket.start(work)).expect("an empty queue");
        ran.await.expect("a thread that runs it");
        (release, started)
    }

    fn start(pool: &WorkerPool, budget: RequestBudget) -> Result<JobHandle<i32>, BackendError> {
        pool.admit(budget)?.start(|_, _| Ok(1))
    }

    #[tokio::test]
    async fn work_is_done_or_rejected_by_its_estimated_wait() {
        let pool = WorkerPool::new(1, Duration::from_secs(60)).expect("a thread");
        assert_eq!(pool.run(later(), |_, _| Ok(7)).await, Ok(7));
        assert_eq!(pool.run(within(Duration::ZERO), |_, _| Ok(7)).await, Err(BackendError::Late));
        let (release, occupied) = occupy(&pool).await;
        pool.assume_mean(Duration::from_secs(1));
        let mut jobs: Vec<_> = (0..40).filter_map(|_| start(&pool, later()).ok()).collect();
        // 40 seconds of work are queued: another server may be quicker.
        assert_eq!(start(&pool, within(Duration::from_secs(30))).err(), Some(BackendError::Overloaded));
        let more: Vec<_> = (0..160).map(|_| start(&pool, later())).collect();
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
    async fn a_request_behind_long_work_is_rejected_before_a_thread_is_free() {
        let pool = WorkerPool::new(1, Duration::from_millis(100)).expect("a thread");
        let (release, occupied) = occupy(&pool).await;
        // Nothing is queued, so nothing says that it will have to wait.
        let waiting = start(&pool, later()).expect("an empty queue");
        assert_eq!(waiting.done().await, Err(BackendError::Overloaded));
        // One that waits only until its deadline is late.
        let waiting = start(&pool, within(Duration::from_millis(100))).expect("an estimated wait of zero");
        assert_eq!(waiting.done().await, Err(BackendError::Late));
        drop(release);
        assert_eq!(occupied.done().await, Ok(()));
        assert_eq!(pool.run(later(), |_, _| Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn a_request_is_admitted_once_whatever_the_number_of_its_jobs() {
        let pool = WorkerPool::new(1, Duration::from_millis(250)).expect("a thread");
        pool.assume_mean(Duration::from_secs(1));
        let ticket = pool.admit(later()).expect("an idle pool");
        let slow = |_: &mut SearchScratch, _: StopWanted<'_>| {
            std::thread::sleep(Duration::from_millis(75));
            Ok(1)
        };
        let jobs: Vec<_> = (0..9).map(|_| ticket.start(slow).expect("no limit but the queue's")).collect();
        // The last one starts long after the time that a request may wait.
        for job in jobs {
            assert_eq!(job.done().await, Ok(1));
        }
    }

    #[tokio::test]
    async fn running_work_stops_at_its_deadline_and_when_its_client_has_left() {
        let pool = WorkerPool::new(1, Duration::from_secs(60)).expect("a thread");
        let until_told = |_: &mut SearchScratch, stop: StopWanted<'_>| -> Result<(), BackendError> {
            while !stop() {
                std::thread::yield_now();
            }
            Err(BackendError::Late)
        };
        assert_eq!(pool.run(within(Duration::from_millis(30)), until_told).await, Err(BackendError::Late));
        let left = pool.admit(later()).and_then(|ticket| ticket.start(until_told)).expect("an empty queue");
        drop(left);
        let (begun, began) = oneshot::channel();
        let left = pool.admit(later()).and_then(|ticket| {
            ticket.start(move |scratch, stop| {
                let _ = begun.send(());
                until_told(scratch, stop)
            })
        });
        began.await.expect("a thread that runs it");
        drop(left);
        // The only thread is free again.
        assert_eq!(pool.run(later(), |_, _| Ok(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn the_mean_time_of_jobs_is_measured() {
        let pool = WorkerPool::new(1, Duration::from_secs(60)).expect("a thread");
        let slow = |_: &mut SearchScratch, _: StopWanted<'_>| {
            std::thread::sleep(Duration::from_millis(30));
            Ok(1)
        };
        assert_eq!(pool.run(later(), slow).await, Ok(1));
        // The thread has updated the mean before it runs the next job.
        let (_release, _occupied) = occupy(&pool).await;
        let queued = start(&pool, later());
        assert!(queued.is_ok() && pool.wait() >= Duration::from_millis(30), "{:?}", pool.wait());
    }

    #[tokio::test]
    async fn jobs_run_in_parallel_on_two_threads() {
        let pool = WorkerPool::new(2, Duration::from_secs(60)).expect("threads");
        let both = Arc::new(std::sync::Barrier::new(2));
        let ticket = pool.admit(later()).expect("room");
        let meet = || {
            let both = Arc::clone(&both);
            // Returns only when both jobs are running.
            ticket.start(move |_, _| Ok(both.wait().is_leader())).expect("room")
        };
        let started = [meet(), meet()];
        let [first, second] = started.map(JobHandle::done);
        assert_ne!(first.await, second.await, "one of the two is the leader");
    }

    #[tokio::test]
    async fn a_panic_fails_only_its_own_job() {
        let pool = WorkerPool::new(1, Duration::from_secs(1)).expect("a thread");
        let panics = |_: &mut SearchScratch, _: StopWanted<'_>| -> Result<(), BackendError> { panic!("on purpose") };
        assert!(matches!(pool.run(later(), panics).await, Err(BackendError::Broken(_))));
        assert_eq!(pool.run(later(), |_, _| Ok(7)).await, Ok(7));
    }
}
