//! Kinds of operations, each of which can be switched off by its name.

macro_rules! kinds {
    ($($kind:ident = $name:literal,)*) => {
        /// What a round may do. `HEADCOUNT_FUZZ_WITHOUT=own_child,local` switches kinds off,
        /// `HEADCOUNT_FUZZ_WITH=..` switches those of [`OFF`] on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        const ALL: &[(Kind, &str)] = &[$((Kind::$kind, $name),)*];
    };
}

kinds! {
    // Contexts that own the strong handle of their child.
    OwnChild = "own_child",
    // A tracing subscriber that panics now and then.
    Subscriber = "subscriber",
    // Tasks that spawn on their closing context until they are dropped, without any other wait.
    RefusedLoop = "refused_loop",
    // Blocking waits for the close of a context from inside of it.
    CloseInside = "close_inside",
    // `Arc`s that are dropped while they are tracked.
    DeadArcs = "dead_arcs",
    // Futures that wait for time, polled on another runtime than the one they began on.
    TimersElsewhere = "timers_elsewhere",
    // Whether hooks always run where a runtime is.
    HookRuntime = "hook_runtime",
    // Whether an output that no handle claims is dropped in the scope of its task.
    OutputScope = "output_scope",
    // The same for a wrapped future whose destructor panics.
    WrappedOutputScope = "wrapped_output_scope",
    // Wakers that panic when they wake.
    WakePanics = "wake_panics",
    // Wakers that panic when they are dropped.
    WakerDropPanics = "waker_drop_panics",
    // Handles and futures that are forgotten.
    Forget = "forget",
    Local = "local",
    Blocking = "blocking",
    Wrapped = "wrapped",
    // Calls where there is no runtime.
    NoRuntime = "no_runtime",
    // Runtimes that end in the middle of a round.
    Ends = "ends",
    Hooks = "hooks",
    Owned = "owned",
    // Destructors that do any of the operations.
    Destructors = "destructors",
    DestructorPanics = "destructor_panics",
    TaskPanics = "task_panics",
    Listings = "listings",
    Leaks = "leaks",
    Levels = "levels",
    // Dumps and traces, with the feature `dump`.
    Dump = "dump",
    // Contexts that need others.
    Needs = "needs",
    // Contexts that close once they have run dry.
    Finish = "finish",
    // Closes with a deadline.
    Haste = "haste",
    // Sets of tasks.
    Sets = "sets",
    // Calls on weak handles.
    Weak = "weak",
    // The close of the whole registry in the middle of a round.
    CloseRegistry = "close_registry",
}

/// Kinds that are off until what they find is mended.
const OFF: &[Kind] = &[];

/// The kinds that are on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds(u64);

impl Kinds {
    pub(crate) fn from_env() -> Self {
        let mut kinds = Self((1 << ALL.len()) - 1);
        let with = named("HEADCOUNT_FUZZ_WITH");
        for kind in OFF.iter().filter(|kind| !with.contains(kind)) {
            kinds.switch_off(*kind);
        }
        for kind in named("HEADCOUNT_FUZZ_WITHOUT") {
            kinds.switch_off(kind);
        }
        kinds
    }

    fn switch_off(&mut self, kind: Kind) {
        self.0 &= !(1 << kind as u64);
    }

    pub(crate) fn without(mut self, kind: Kind) -> Self {
        self.switch_off(kind);
        self
    }

    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u64 != 0
    }
}

/// The kinds that an environment variable names.
fn named(variable: &str) -> Vec<Kind> {
    let names = std::env::var(variable).unwrap_or_default();
    let names = names.split(',').filter(|name| !name.is_empty());
    let kind_of = |name: &str| {
        let known = ALL.iter().find(|(_, known)| *known == name);
        known
            .unwrap_or_else(|| panic!("there is no kind {name:?}"))
            .0
    };
    names.map(kind_of).collect()
}
