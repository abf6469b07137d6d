//! The methods of tracked locks. They shadow those of tokio's types, to which a [`Tracked`] otherwise derefs.

use crate::{
    ledger::lock_log::LockHolder,
    locks::{guard::TrackedGuard, request::Request},
    poll::awaited::LockKind,
    tracked::Tracked,
};
use std::panic::Location;
use tokio::sync::{
    AcquireError, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore,
    SemaphorePermit, TryAcquireError, TryLockError,
};

impl<T> Tracked<T> {
    fn request(&self, kind: LockKind, location: &'static Location<'static>) -> Request<'_> {
        let listed = self.listed();
        Request {
            kind,
            value: listed.record(),
            log: self.lock_log(),
            tracking: listed.tracking(),
            location,
            places: None,
        }
    }
}

/// A tracked mutex: a dump says who holds it, and names a circle of tasks that wait for each other's locks.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use headcount::{Level, Registry};
/// use tokio::sync::Mutex;
///
/// let registry = Registry::new();
/// registry.set_level(Level::Holders);
/// let db = registry.own("db", "mutex", Mutex::new(vec![1]));
/// let ctx = registry.context("app");
/// let other = db.clone();
/// let task = ctx.task("import").spawn(async move {
///     let mut rows = other.lock().await; // as with tokio's mutex
///     rows.push(2);
///     std::future::pending::<()>().await;
/// });
/// tokio::task::yield_now().await;
///
/// let holders = db.lock_holders();
/// assert_eq!(holders[0].by(), "task import");
/// # task.abort();
/// # ctx.close().await;
/// # }
/// ```
impl<T> Tracked<Mutex<T>> {
    /// Locks it, as [`Mutex::lock`] does, and records who holds it.
    ///
    /// # Cancel safety
    ///
    /// As with [`Mutex::lock`]: a call that is dropped loses its place in the queue.
    ///
    /// # Performance
    ///
    /// A branch at [`Level::Off`](crate::Level::Off); about 100 ns otherwise, and a lock that others who ask for it also take.
    #[track_caller]
    pub fn lock(&self) -> impl Future<Output = TrackedGuard<'_, MutexGuard<'_, T>>> {
        let request = self.request(LockKind::Mutex, Location::caller());
        request.wait_for_lock(Mutex::lock(self))
    }

    /// Locks it if it is free, as [`Mutex::try_lock`] does, and records who holds it.
    ///
    /// # Errors
    ///
    /// It is locked.
    #[track_caller]
    pub fn try_lock(&self) -> Result<TrackedGuard<'_, MutexGuard<'_, T>>, TryLockError> {
        let guard = Mutex::try_lock(self)?;
        let request = self.request(LockKind::Mutex, Location::caller());
        Ok(request.held(guard))
    }

    /// Who holds it now, as far as that is recorded: not if it was locked at [`Level::Off`](crate::Level::Off).
    pub fn lock_holders(&self) -> Vec<LockHolder> {
        self.lock_log().holders(usize::MAX).0
    }
}

/// A tracked lock for readers and a writer: a dump says who holds it.
impl<T> Tracked<RwLock<T>> {
    /// Locks it for reading, as [`RwLock::read`] does, and records who holds it.
    ///
    /// # Cancel safety
    ///
    /// As with [`RwLock::read`]: a call that is dropped loses its place in the queue.
    #[track_caller]
    pub fn read(&self) -> impl Future<Output = TrackedGuard<'_, RwLockReadGuard<'_, T>>> {
        let request = self.request(LockKind::RwLock, Location::caller());
        request.wait_for_lock(RwLock::read(self))
    }

    /// Locks it for writing, as [`RwLock::write`] does, and records who holds it.
    ///
    /// # Cancel safety
    ///
    /// As with [`RwLock::write`]: a call that is dropped loses its place in the queue.
    #[track_caller]
    pub fn write(&self) -> impl Future<Output = TrackedGuard<'_, RwLockWriteGuard<'_, T>>> {
        let request = self.request(LockKind::RwLock, Location::caller());
        request.wait_for_lock(RwLock::write(self))
    }

    /// Locks it for reading if no writer has it or waits for it, as [`RwLock::try_read`] does, and records who holds it.
    ///
    /// # Errors
    ///
    /// A writer has it, or waits for it.
    #[track_caller]
    pub fn try_read(&self) -> Result<TrackedGuard<'_, RwLockReadGuard<'_, T>>, TryLockError> {
        let guard = RwLock::try_read(self)?;
        let request = self.request(LockKind::RwLock, Location::caller());
        Ok(request.held(guard))
    }

    /// Locks it for writing if it is free, as [`RwLock::try_write`] does, and records who holds it.
    ///
    /// # Errors
    ///
    /// It is locked.
    #[track_caller]
    pub fn try_write(&self) -> Result<TrackedGuard<'_, RwLockWriteGuard<'_, T>>, TryLockError> {
        let guard = RwLock::try_write(self)?;
        let request = self.request(LockKind::RwLock, Location::caller());
        Ok(request.held(guard))
    }

    /// Who holds it now, as far as that is recorded: not if it was locked at [`Level::Off`](crate::Level::Off).
    pub fn lock_holders(&self) -> Vec<LockHolder> {
        self.lock_log().holders(usize::MAX).0
    }
}

/// A tracked semaphore: a dump says who holds its permits.
impl Tracked<Semaphore> {
    /// Waits for a permit, as [`Semaphore::acquire`] does, and records who holds it.
    ///
    /// # Errors
    ///
    /// The semaphore is closed.
    ///
    /// # Cancel safety
    ///
    /// As with [`Semaphore::acquire`]: a call that is dropped loses its place in the queue.
    #[track_caller]
    pub fn acquire(
        &self,
    ) -> impl Future<Output = Result<TrackedGuard<'_, SemaphorePermit<'_>>, AcquireError>> {
        let request = self.request(LockKind::Semaphore, Location::caller());
        request.wait(Semaphore::acquire(self))
    }

    /// Waits for so many permits, as [`Semaphore::acquire_many`] does, and records who holds them.
    ///
    /// # Errors
    ///
    /// The semaphore is closed.
    ///
    /// # Cancel safety
    ///
    /// As with [`Semaphore::acquire_many`]: a call that is dropped loses its place in the queue.
    #[track_caller]
    pub fn acquire_many(
        &self,
        permits: u32,
    ) -> impl Future<Output = Result<TrackedGuard<'_, SemaphorePermit<'_>>, AcquireError>> {
        let request = self.request(LockKind::Semaphore, Location::caller());
        request.wait(Semaphore::acquire_many(self, permits))
    }

    /// Takes a permit if there is one, as [`Semaphore::try_acquire`] does, and records who holds it.
    ///
    /// # Errors
    ///
    /// There is none, or the semaphore is closed.
    #[track_caller]
    pub fn try_acquire(&self) -> Result<TrackedGuard<'_, SemaphorePermit<'_>>, TryAcquireError> {
        let permit = Semaphore::try_acquire(self)?;
        let request = self.request(LockKind::Semaphore, Location::caller());
        Ok(request.held(permit))
    }

    /// Takes so many permits if they are there, as [`Semaphore::try_acquire_many`] does, and records who holds them.
    ///
    /// # Errors
    ///
    /// There are fewer, or the semaphore is closed.
    #[track_caller]
    pub fn try_acquire_many(
        &self,
        permits: u32,
    ) -> Result<TrackedGuard<'_, SemaphorePermit<'_>>, TryAcquireError> {
        let permits = Semaphore::try_acquire_many(self, permits)?;
        let request = self.request(LockKind::Semaphore, Location::caller());
        Ok(request.held(permits))
    }

    /// Who holds permits now, as far as that is recorded: not if they were taken at [`Level::Off`](crate::Level::Off).
    pub fn lock_holders(&self) -> Vec<LockHolder> {
        self.lock_log().holders(usize::MAX).0
    }
}
