//! The corpora of the fuzz targets, replayed: what once failed stays mended.

use std::path::Path;

#[path = "../../fuzz/targets.rs"]
mod targets;

#[test]
fn every_kept_input_of_a_fuzz_target_holds() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::ALL {
        let folder = corpora.join(name);
        let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut inputs = 0;
        for file in files {
            let path = file.expect("a corpus is readable").path();
            println!("{}", path.display());
            target(&std::fs::read(&path).expect("a corpus is readable"));
            inputs += 1;
        }
        assert!(inputs > 0, "{name} has inputs");
    }
}
