//! Threads that search. As many as the cores; what would wait too long for one is turned away at once.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use magpie_core::search::SearchScratch;
use tokio::sync::oneshot;

use crate::engine::EngineError;

/// Jobs that wait at most, whatever the estimate says.
const LONGEST_QUEUE: usize = 4096;
/// The mean time of a job follows the latest ones by one part in this many.
const SMOOTHING: u64 = 32;

type Work = Box<dyn FnOnce(Result<&mut SearchScratch, EngineError>) + Send>;

struct Job {
    queued: Instant,
    deadline: Instant,
    work: Work,
}

/// Threads with a queue. Dropping it ends them after the work that is queued.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// The mean time of a job in nanoseconds.
    mean: AtomicU64,
    waiting: AtomicUsize,
    threads: usize,
    longest_wait: Duration,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Work runs outside of the lock, so no panic leaves it half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a job that is queued now will probably wait.
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
            let memory = if begun >= job.deadline {
                Err(EngineError::Late)
            } else if begun.duration_since(job.queued) > 2 * self.longest_wait {
                // The estimate was wrong: another program has the cores. Whoever is behind has a chance again.
                Err(EngineError::Overloaded)
            } else {
                Ok(&mut scratch)
            };
            let worked = memory.is_ok();
            // Its caller sees the sender gone. The memory holds no promise that a panic could break, but is not kept.
            if catch_unwind(AssertUnwindSafe(|| (job.work)(memory))).is_err() {
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
        // Two threads may overwrite each other's news: it is an estimate.
        let next = if mean == 0 { time } else { mean - mean / SMOOTHING + time / SMOOTHING };
        self.mean.store(next, Ordering::Relaxed);
    }
}

impl Pool {
    /// Threads that let nothing wait for longer than about `longest_wait`.
    ///
    /// # Errors
    /// What the system says where it has no threads.
    pub(crate) fn new(threads: usize, longest_wait: Duration) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            filled: Condvar::new(),
            mean: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            threads: threads.max(1),
            longest_wait,
        });
        let mut pool = Pool { shared: Arc::clone(&shared), threads: Vec::new() };
        for at in 0..threads.max(1) {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(format!("search-{at}")).spawn(move || shared.run())?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    /// Jobs that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed)
    }

    /// Does work on one of the threads. Work that nobody waits for any longer is not begun.
    ///
    /// # Errors
    /// [`EngineError::Overloaded`] where it would wait too long, [`EngineError::Late`] where longer than its deadline,
    /// and whatever the work says.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut SearchScratch) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, EngineError> {
        self.start(deadline, work)?.done().await
    }

    /// Queues work, so that other work can be queued beside it. It is not begun any more where the result is dropped.
    ///
    /// # Errors
    /// As [`Pool::run`], but for what the work says.
    pub(crate) fn start<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl FnOnce(&mut SearchScratch) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<Started<T>, EngineError> {
        let (give, take) = oneshot::channel();
        let queued = Instant::now();
        let wait = self.shared.wait();
        if wait > self.shared.longest_wait {
            return Err(EngineError::Overloaded);
        }
        if queued + wait >= deadline {
            return Err(EngineError::Late);
        }
        let work: Work = Box::new(move |memory| {
            if !give.is_closed() {
                // Whoever asked may have left meanwhile.
                let _ = give.send(memory.and_then(work));
            }
        });
        {
            let mut queue = self.shared.queue();
            if queue.jobs.len() >= LONGEST_QUEUE {
                return Err(EngineError::Overloaded);
            }
            queue.jobs.push_back(Job { queued, deadline, work });
            self.shared.waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.filled.notify_one();
        Ok(Started(take))
    }
}

/// Work that was queued.
pub(crate) struct Started<T>(oneshot::Receiver<Result<T, EngineError>>);

impl<T> Started<T> {
    /// Its result, when it is there.
    ///
    /// # Errors
    /// What the work says, or why it was not begun.
    pub(crate) async fn done(self) -> Result<T, EngineError> {
        self.0.await.unwrap_or_else(|_| Err(EngineError::Broken("a search panicked".to_owned())))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.filled.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn work_is_done_turned_away_or_given_up_but_never_kept_waiting() {
        let pool = Pool::new(1, Duration::from_millis(20)).expect("a thread");
        assert_eq!(pool.run(later(), |_| Ok(7)).await, Ok(7));
        assert_eq!(pool.run(Instant::now(), |_| Ok(7)).await, Err(EngineError::Late));
        let slow = |_: &mut SearchScratch| {
            std::thread::sleep(Duration::from_millis(30));
            Ok(1)
        };
        assert_eq!(pool.run(later(), slow).await, Ok(1));
        // The mean now says that each takes some time; of many at once some are turned away, and all get an answer.
        let begun = Instant::now();
        let jobs: Vec<_> = (0..200).map(|_| pool.run(later(), slow)).collect();
        let mut results = Vec::new();
        for job in join(jobs).await {
            results.push(job);
        }
        let done = results.iter().filter(|result| result.is_ok()).count();
        let shed = results.iter().filter(|result| **result == Err(EngineError::Overloaded)).count();
        assert!(done >= 1 && shed >= 1 && done + shed == 200, "{done} done, {shed} turned away");
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(pool.waiting(), 0);
    }

    #[tokio::test]
    async fn work_that_was_started_together_runs_together() {
        let pool = Pool::new(2, Duration::from_secs(60)).expect("threads");
        let both = Arc::new(std::sync::Barrier::new(2));
        let meet = || {
            let both = Arc::clone(&both);
            // Returns when the other is here as well.
            pool.start(later(), move |_| Ok(both.wait().is_leader())).expect("room")
        };
        let started = [meet(), meet()];
        let [first, second] = started.map(Started::done);
        assert_ne!(first.await, second.await, "one of the two is the leader");
    }

    #[tokio::test]
    async fn a_panic_costs_one_answer() {
        let pool = Pool::new(1, Duration::from_secs(1)).expect("a thread");
        let panics = |_: &mut SearchScratch| -> Result<(), EngineError> { panic!("on purpose") };
        assert!(matches!(pool.run(later(), panics).await, Err(EngineError::Broken(_))));
        assert_eq!(pool.run(later(), |_| Ok(7)).await, Ok(7));
    }

    /// All of them at once.
    async fn join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
        let mut futures: Vec<_> = futures.into_iter().map(|f| (Box::pin(f), None)).collect();
        std::future::poll_fn(move |context| {
            for (future, result) in futures.iter_mut().filter(|(_, result)| result.is_none()) {
                if let std::task::Poll::Ready(value) = future.as_mut().poll(context) {
                    *result = Some(value);
                }
            }
            match futures.iter().all(|(_, result)| result.is_some()) {
                true => std::task::Poll::Ready(futures.drain(..).filter_map(|(_, result)| result).collect()),
                false => std::task::Poll::Pending,
            }
        })
        .await
    }
}
