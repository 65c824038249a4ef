//! Manual pages and completions, which every program writes itself.

use tests::Process;

use crate::{LARGE, SMALL, SPECTHINK, lab::LAB};

#[test]
fn every_program_writes_its_manual_page_and_completions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    for (program, word, name) in [
        (SPECTHINK, "manual", "specthink"),
        (LAB, "manual", "specthink-lab"),
        (SMALL, "--manual", "small-node"),
        (LARGE, "--manual", "large-node"),
    ] {
        let ended = Process::spawn(program, &[word, path], &[]).wait();
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{name}");
        let page = folder.path().join("man1").join(name).with_extension("1");
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains("NAME") && !page.contains("--manual"), "{page}");
        assert!(folder.path().join("completions").join(format!("_{name}")).exists());
    }
}
