//! The table of `tracing` events in `docs::events`: targets, levels and fields are public.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Target, level, and fields in their order.
type Row = (String, String, Vec<String>);

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.append(&mut files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

/// The arguments of a macro, up to the parenthesis that ends it.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut is_text, mut before) = (0, false, ' ');
    let mut all = vec![String::new()];
    for c in text.chars() {
        match c {
            '"' if before != '\\' => is_text = !is_text,
            '(' | '[' | '{' if !is_text => depth += 1,
            ')' | ']' | '}' if !is_text && depth == 0 => break,
            ')' | ']' | '}' if !is_text => depth -= 1,
            ',' if !is_text && depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().unwrap().push(c);
        before = c;
    }
    all.iter().map(|one| one.trim().to_owned()).collect()
}

/// What the source emits. The macro passes it on to `tracing` as it is.
fn emitted() -> (BTreeSet<Row>, usize) {
    let (mut rows, mut count) = (BTreeSet::new(), 0);
    for file in files(&source()) {
        let text = fs::read_to_string(&file).unwrap();
        let code: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| format!("{line}\n"))
            .collect();
        for call in code.split("event::emit!(").skip(1) {
            let all = arguments(call);
            let target = all[0]
                .strip_prefix("target: \"")
                .and_then(|rest| rest.strip_suffix('"'));
            let target = target.unwrap_or_else(|| panic!("{}: {}", file.display(), all[0]));
            let fields = all[2..].iter().take_while(|one| !one.starts_with('"'));
            let fields = fields.map(|field| {
                let name = field.split('=').next().unwrap();
                name.trim().trim_start_matches('%').to_owned()
            });
            rows.insert((target.to_owned(), all[1].clone(), fields.collect()));
            count += 1;
        }
    }
    (rows, count)
}

/// `| target | level | fields | what it says |`
fn documented() -> Vec<Row> {
    let text = fs::read_to_string(source().join("docs/events.rs")).unwrap();
    let rows = text
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `headcount::"));
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let fields = cells[2]
            .split(", ")
            .map(cell)
            .filter(|field| !field.is_empty());
        (
            format!("headcount::{}", cell(cells[0])),
            cell(cells[1]),
            fields.collect(),
        )
    })
    .collect()
}

#[test]
fn the_table_has_what_is_emitted() {
    let (emitted, count) = emitted();
    assert!(count >= 20, "only {count} were found");
    let documented = documented();
    let table: BTreeSet<_> = documented.iter().cloned().collect();
    let missing: Vec<_> = emitted.difference(&table).collect();
    let gone: Vec<_> = table.difference(&emitted).collect();
    assert!(
        missing.is_empty() && gone.is_empty(),
        "missing: {missing:#?}, gone: {gone:#?}"
    );
}

/// What a subscriber gets is what the table says.
#[test]
fn events_have_the_targets_and_fields_of_the_table() {
    use crate::events::ONE_MORE;
    use headcount::Registry;
    use std::sync::{Arc, LazyLock, Mutex};
    use tracing::{Event, Metadata, Subscriber, span};

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<Row>>>);

    impl Subscriber for Seen {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target().starts_with("headcount")
        }
        fn event(&self, event: &Event<'_>) {
            let metadata = event.metadata();
            let fields = metadata
                .fields()
                .iter()
                .map(|field| field.name().to_owned());
            let fields = fields.filter(|name| name != "message").collect();
            let (target, level) = (metadata.target().to_owned(), metadata.level().to_string());
            self.0.lock().unwrap().push((target, level, fields));
        }
        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }
        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
        fn enter(&self, _: &span::Id) {}
        fn exit(&self, _: &span::Id) {}
    }

    LazyLock::force(&ONE_MORE);
    let seen = Seen::default();
    tracing::subscriber::with_default(seen.clone(), || {
        crate::util::paused().block_on(async {
            let registry = Registry::new();
            let ctx = registry.context("ctx");
            drop(ctx.on_close(|| async { Err::<(), _>("on purpose") }));
            drop(ctx.spawn(async { panic!("on purpose") }));
            ctx.task("stuck").spawn(std::future::pending::<()>());
            ctx.close().await;
            drop(ctx.task("late").spawn(async {}));
            drop(registry.context("dropped"));
            tokio::task::yield_now().await;
            registry.close().await;
        });
    });
    let seen = seen.0.lock().unwrap().clone();
    let kinds: BTreeSet<_> = seen.iter().cloned().collect();
    assert!(kinds.len() >= 7, "{kinds:#?}");
    let documented = documented();
    for row in &kinds {
        assert!(documented.contains(row), "{row:?} is not in the table");
    }
}
