//! What the source itself promises.

use std::{fs, path::Path};

/// The registry waits for nobody: no lock that blocks and no spinning on its register, remove and read
/// paths. The one lock type in use is entered by `try_` operations only.
#[test]
fn the_table_takes_no_lock_and_does_not_spin() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/table");
    let mut files = 0;
    for file in fs::read_dir(source).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for forbidden in [
            "Mutex",
            "RwLock",
            ".lock()",
            ".write()",
            "spin_loop",
            "thread::yield_now",
            "sleep",
        ] {
            assert!(
                !code.contains(forbidden),
                "{} has {forbidden}",
                path.display()
            );
        }
        files += 1;
    }
    assert!(files >= 8, "only {files} files");
    let sync =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sync.rs")).unwrap();
    let cell = sync
        .split("struct TryCell")
        .nth(1)
        .unwrap()
        .split("struct Snapshot")
        .next()
        .unwrap();
    assert!(cell.contains("try_read") && cell.contains("try_write"));
    for forbidden in [".read()", ".write()", ".lock()"] {
        assert!(
            !cell.contains(forbidden),
            "the cell of a slot has {forbidden}"
        );
    }
}
