//! `docs/security.md` names a test for each requirement: each of them must exist.

use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the sources are there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// Texts between backticks that read like a path to a test: `module::...::name`.
fn named(page: &str) -> Vec<&str> {
    let is_path = |text: &&str| {
        text.contains("::") && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b":_".contains(&b))
    };
    page.split('`').skip(1).step_by(2).filter(is_path).collect()
}

#[test]
fn each_test_that_the_security_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/security.md")).expect("the page is there");
    let mut files = Vec::new();
    ["src", "tests/it", "sfu"].iter().for_each(|folder| sources(&root.join(folder), &mut files));
    let read = |file: &PathBuf| std::fs::read_to_string(file).expect("a source is text");
    let texts: Vec<(String, String)> = files.iter().map(|file| (file.display().to_string(), read(file))).collect();
    let exists = |test: &str| {
        let (module, name) = test.rsplit_once("::").expect("a path");
        let module = module.rsplit("::").find(|part| *part != "tests").unwrap_or(module);
        let (function, of_module) = (format!("fn {name}("), [format!("/{module}.rs"), format!("/{module}/")]);
        texts.iter().any(|(path, text)| {
            of_module.iter().any(|part| path.contains(part.as_str())) && (text.contains(&function) || name == "tests")
        })
    };
    let names = named(&page);
    assert!(names.len() > 30, "the page names tests");
    let missing: Vec<&&str> = names.iter().filter(|test| !exists(test)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
