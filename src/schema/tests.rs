use super::*;

#[test]
fn the_built_in_schema_is_right() {
    let started = std::time::Instant::now();
    if let Err(errors) = Schema::load(None) {
        panic!("{}", errors.join("\n"));
    }
    eprintln!("{:?}", started.elapsed());
}
