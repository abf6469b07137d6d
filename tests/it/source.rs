//! What the source itself promises.

use std::{fs, path::Path};

/// The registry never waits: no lock that blocks and no spinning on its register, remove and read
/// paths. What its slots hold is guarded by their state words alone.
#[test]
fn the_table_takes_no_lock_and_does_not_spin() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/table");
    let mut files = 0;
    for file in fs::read_dir(source).unwrap() {
        let path = file.unwrap().path();
        // Tests of a file lie in a folder of its name.
        if path.is_dir() {
            continue;
        }
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
}
