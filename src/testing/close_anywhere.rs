//! [`close_anywhere`]: runs a scenario again and again, and disturbs it before each of its polls.

use crate::{
    registry::registry::Registry,
    testing::{
        disturbance::Disturbance,
        disturbed_run::{self, Fault, Scenario},
        stage::{Plan, hash},
        verdict::Settings,
    },
    timer::Timer,
};
use std::{env, fmt::Display, panic::Location, rc::Rc, str::FromStr, time::Duration};
use tokio::runtime::Handle;

/// How many polls each disturbance comes before, at most.
const ROUNDS: usize = 100;
/// Longer than any test takes.
const FOREVER: Duration = Duration::from_secs(24 * 3_600);

/// Runs a scenario again and again, closes its registry at another moment each time, and fails the test if something goes wrong.
///
/// A scenario is a piece of a program that opens contexts and runs tasks in the registry that it is given. It runs once
/// undisturbed, and each poll of its tasks, hooks and [wrapped](crate::Context::wrap) futures is counted, as are those of the
/// scenario itself. Then it runs anew for each of these polls and for each [`Disturbance`], which comes just before that poll: the
/// close begins, the handles are dropped, the task is aborted, a hook fails, the runtime ends. Of more than a hundred polls a
/// hundred are taken, spread evenly by a seed. [`CloseAnywhere`] has the settings.
///
/// ```
/// use headcount::testing;
///
/// testing::close_anywhere(async |registry| {
///     let server = registry.context("server");
///     let ctx = server.downgrade();
///     server.task("writer").spawn(async move {
///         ctx.cancelled().await;
///         tokio::time::sleep(std::time::Duration::from_millis(20)).await;
///     });
///     server.close().await;
/// });
/// ```
///
/// It is not async: it makes a `current_thread` runtime for each run, with tokio's clock paused, so that grace periods and time
/// limits take no time. Call it in a plain `#[test]`.
///
/// # What is checked
///
/// After each run the registry is closed, and then:
///
/// * The close ended within a limit, which is a minute, or what grace periods and hooks may take if that is more, and so did the
///   scenario. A close by a deadline ended by that.
/// * Nothing is left in the registry, not even a handle of a closed context, and no task of bare `tokio::spawn`. Nothing was polled
///   after the end of the close (I1, I6).
/// * Each hook ran once, the latest first (I7), and as many tasks have ended as were accepted (I2).
/// * Nothing was lost, as in a [`check`](super::check): no task had to be aborted after its grace period, none panicked without a
///   handle that was awaited, no hook or destructor failed, no work of the scenario's own was refused and dropped. What the
///   disturbance itself brings about is no fault: [`CloseNow`](Disturbance::CloseNow), [`CloseBy`](Disturbance::CloseBy) and
///   [`EndRuntime`](Disturbance::EndRuntime) cut off tasks and hooks, and a [fallible](crate::TaskBuilder::fallible) task may return
///   an error.
///
/// What was lost in other ways (a message that was taken and not handled) only the scenario knows:
/// [`CloseAnywhere::run_with`] takes a check of your own.
///
/// # Panics
///
/// At the first fault, with the number of the poll, what was to be polled and where that was spawned, the disturbance, the seed,
/// and how to run only that one again. Also within a runtime.
///
/// A panic of the scenario itself is a fault as well: where a context may close at any moment, a spawn may be refused and a task
/// cancelled, and code that unwraps their results panics. [`CloseAnywhere::allow_panics`] is for scenarios that may give up there.
///
/// # What it does not see
///
/// Moments between two polls only: what another thread does within a poll is for loom. Other threads, blocking closures and
/// sockets take real time, while the paused clock jumps as soon as the runtime is idle; and it stands still while a blocking
/// closure runs. `tokio::select!` and the order of a `HashMap` are random: with them a poll has another number in another run.
#[track_caller]
pub fn close_anywhere(scenario: impl AsyncFn(Registry) + 'static) {
    CloseAnywhere::new().run(scenario);
}

/// [`close_anywhere`] with settings.
///
/// ```
/// use headcount::testing::{CloseAnywhere, Disturbance};
/// use std::time::Duration;
///
/// CloseAnywhere::new()
///     .disturbances([Disturbance::Close, Disturbance::CloseBy(Duration::from_secs(1))])
///     .rounds(20)
///     .run(async |registry| {
///         let ctx = registry.context("job");
///         let _ = ctx.spawn(async { 6 * 7 }).await;
///         ctx.close().await;
///     });
/// ```
///
/// Three environment variables set what a failure prints: `HEADCOUNT_SEED`, and `HEADCOUNT_POLL` with `HEADCOUNT_DISTURBANCE`, which run
/// one poll and one disturbance only.
#[derive(Clone, Debug)]
#[must_use = "it checks nothing until `run`"]
pub struct CloseAnywhere {
    disturbances: Vec<Disturbance>,
    seed: u64,
    rounds: usize,
    only: Option<(usize, Disturbance)>,
    settings: Settings,
}

impl CloseAnywhere {
    /// All disturbances, at most 100 polls for each, and nothing allowed to go wrong.
    pub fn new() -> Self {
        Self {
            disturbances: Disturbance::ALL.to_vec(),
            seed: 0,
            rounds: ROUNDS,
            only: None,
            settings: Settings::default(),
        }
    }

    /// Sets which disturbances there are; all by default.
    pub fn disturbances(mut self, disturbances: impl IntoIterator<Item = Disturbance>) -> Self {
        self.disturbances = disturbances.into_iter().collect();
        self
    }

    /// Sets what chooses the polls if there are too many, and how hooks are made to fail; 0 by default, so that a test does the
    /// same each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets how many polls each disturbance comes before, at most; 100 by default.
    pub fn rounds(mut self, rounds: usize) -> Self {
        self.rounds = rounds;
        self
    }

    /// Sets how long the close, and then the scenario, may take to end, on the paused clock.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.settings.limit = Some(limit);
        self
    }

    /// Runs only this poll and this disturbance, after the undisturbed run.
    pub fn only(mut self, poll: usize, disturbance: Disturbance) -> Self {
        self.only = Some((poll, disturbance));
        self
    }

    /// Allows the scenario and its tasks to panic once they are disturbed. Panics of hooks, and of the destructors of owned values,
    /// are faults all the same.
    ///
    /// ```
    /// use headcount::testing::CloseAnywhere;
    ///
    /// CloseAnywhere::new().allow_panics().run(async |registry| {
    ///     let ctx = registry.context("job");
    ///     assert_eq!(ctx.spawn(async { 6 * 7 }).await.unwrap(), 42); // not where the task is aborted
    ///     ctx.close().await;
    /// });
    /// ```
    pub fn allow_panics(mut self) -> Self {
        self.settings.allows_panics = true;
        self
    }

    /// Allows closes that are not [clean](crate::CloseReport::is_clean): tasks that have to be aborted, hooks that fail.
    pub fn allow_unclean_closes(mut self) -> Self {
        self.settings.allows_unclean = true;
        self
    }

    /// Runs the scenario.
    ///
    /// # Panics
    ///
    /// As [`close_anywhere`].
    #[track_caller]
    pub fn run(self, scenario: impl AsyncFn(Registry) + 'static) {
        let scenario = async move |registry, ()| scenario(registry).await;
        self.run_with(|| (), scenario, |()| ());
    }

    /// Runs the scenario with a value that is made anew for each run, and checks that value at the end of each run.
    ///
    /// The check runs when everything is closed. It states what must hold whatever the moment was, and fails by a panic.
    ///
    /// ```
    /// use headcount::testing::{CloseAnywhere, Disturbance};
    /// use std::{cell::Cell, sync::{Arc, atomic::{AtomicU32, Ordering::SeqCst}}};
    ///
    /// /// How many orders were taken, and how many of them were delivered.
    /// type Shop = Arc<(AtomicU32, AtomicU32)>;
    ///
    /// CloseAnywhere::new()
    ///     // What is aborted may lose its order; what is closed may not.
    ///     .disturbances([Disturbance::Close])
    ///     .run_with(
    ///         Shop::default,
    ///         async |registry, shop: Shop| {
    ///             let ctx = registry.context("shop");
    ///             let own = shop.clone();
    ///             let _ = ctx.try_spawn(async move {
    ///                 own.0.fetch_add(1, SeqCst);
    ///                 tokio::task::yield_now().await;
    ///                 own.1.fetch_add(1, SeqCst);
    ///             });
    ///             ctx.close().await;
    ///         },
    ///         |shop| assert_eq!(shop.0.load(SeqCst), shop.1.load(SeqCst), "an order was lost"),
    ///     );
    /// ```
    ///
    /// # Panics
    ///
    /// As [`close_anywhere`], and if the check panics, with its message.
    #[track_caller]
    pub fn run_with<S: Clone + 'static>(
        mut self,
        fresh: impl Fn() -> S,
        scenario: impl AsyncFn(Registry, S) + 'static,
        check: impl Fn(S),
    ) {
        let location = Location::caller();
        assert!(
            Handle::try_current().is_err(),
            "`close_anywhere` makes runtimes of its own: call it in a plain `#[test]`, not in a `#[tokio::test]`"
        );
        self.read_environment();
        // The thread of the crate's timers lasts as long as there is one.
        let _timers = Timer::new(FOREVER);
        let scenario = Rc::new(scenario);
        let scenario = Scenario {
            start: &|registry, state| {
                let scenario = Rc::clone(&scenario);
                Box::pin(async move { (*scenario)(registry, state).await })
            },
            fresh: &fresh,
            check: &check,
        };
        let run = |plan| disturbed_run::run(plan, &scenario, self.settings);
        let undisturbed = Plan {
            disturbed: None,
            seed: self.seed,
        };
        let polls =
            run(undisturbed).unwrap_or_else(|fault| fail(location, &undisturbed, 0, &fault));
        for disturbed in self.plans(polls) {
            let plan = Plan {
                disturbed: Some(disturbed),
                seed: self.seed,
            };
            if let Err(fault) = run(plan) {
                fail(location, &plan, polls, &fault);
            }
        }
    }

    /// Takes the settings that a failure has printed.
    fn read_environment(&mut self) {
        if let Some(seed) = variable("HEADCOUNT_SEED") {
            self.seed = seed;
        }
        if let Some(poll) = variable("HEADCOUNT_POLL") {
            let Ok(name) = env::var("HEADCOUNT_DISTURBANCE") else {
                panic!("HEADCOUNT_POLL needs HEADCOUNT_DISTURBANCE");
            };
            let mut known = self.disturbances.iter().chain(&Disturbance::ALL);
            match known.find(|known| known.to_string() == name) {
                Some(disturbance) => self.only = Some((poll, *disturbance)),
                None => {
                    panic!("HEADCOUNT_DISTURBANCE is {name:?}, which is not a known disturbance")
                }
            }
        }
    }

    /// Which disturbances come before which polls, the first polls first.
    fn plans(&self, polls: usize) -> Vec<(usize, Disturbance)> {
        if let Some(only) = self.only {
            return vec![only];
        }
        let before = |poll| self.disturbances.iter().map(move |one| (poll, *one));
        let polls = chosen(polls, self.rounds, self.seed).into_iter();
        polls.flat_map(before).collect()
    }
}

impl Default for CloseAnywhere {
    fn default() -> Self {
        Self::new()
    }
}

fn variable<T: FromStr<Err: Display>>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(error) => panic!("{name} is {text:?}: {error}"),
    }
}

/// All polls; if they are more than so many, one of each of so many equal parts.
fn chosen(polls: usize, most: usize, seed: u64) -> Vec<usize> {
    if polls <= most {
        return (1..=polls).collect();
    }
    let one_of = |part: usize| {
        let (from, to) = (part * polls / most, (part + 1) * polls / most);
        from + 1 + hash((seed, part)) % (to - from)
    };
    (0..most).map(one_of).collect()
}

/// Fails the test with a fault.
fn fail(location: &Location<'_>, plan: &Plan, polls: usize, fault: &Fault) -> ! {
    let Fault { what, before } = fault;
    let Plan { disturbed, seed } = plan;
    let Some((poll, disturbance)) = disturbed else {
        panic!("the scenario of {location} fails undisturbed already\n\n{what}");
    };
    let done = disturbance.sentence();
    let moment = match before {
        Some(subject) => format!("just before poll {poll} of {polls}, of {subject}"),
        // Another run had more polls.
        None => format!("poll {poll} of {polls} did not come"),
    };
    panic!(
        "the scenario of {location} cannot be disturbed at every moment: {done}, {moment}\n\n{what}\n\n\
         only this one: HEADCOUNT_SEED={seed} HEADCOUNT_POLL={poll} HEADCOUNT_DISTURBANCE={disturbance}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_polls_are_chosen_or_one_of_each_part() {
        assert_eq!(chosen(3, 3, 7), [1, 2, 3]);
        let some = chosen(1_000, 10, 7);
        assert_eq!(some, chosen(1_000, 10, 7));
        assert_ne!(some, chosen(1_000, 10, 8));
        for (part, poll) in some.into_iter().enumerate() {
            assert!(
                (part * 100 + 1..=part * 100 + 100).contains(&poll),
                "{poll}"
            );
        }
        assert_eq!(chosen(11, 10, 7).len(), 10);
    }
}
