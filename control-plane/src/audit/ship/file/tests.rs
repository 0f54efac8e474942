use std::os::unix::fs::PermissionsExt as _;

use tollgate_audit::Format;

use super::*;

fn batch(lines: &[&str], through: i64) -> Batch {
    let mut batch = Batch::default();
    for line in lines {
        assert!(batch.take(through, Some(format!("{line}\n").into_bytes())));
    }
    batch
}

fn output(path: &Path, bytes_max: u64, rotated: u32) -> Output {
    Output::new(FileSettings { path: path.to_owned(), format: Format::Json, bytes_max, rotated })
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_file_is_rotated_before_it_is_too_long_and_keeps_so_many() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let mut output = output(&path, 8, 2);
    for line in ["one", "two", "three", "four", "five"] {
        assert_eq!(output.deliver(&batch(&[line], 7)).await.unwrap(), Some(7));
    }
    assert_eq!(read(&path), "five\n");
    assert_eq!((read(&numbered(&path, 1)), read(&numbered(&path, 2))), ("four\n".to_owned(), "three\n".to_owned()));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_line_that_was_cut_off_is_taken_away_and_a_file_that_was_moved_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let long = "x".repeat(200_000);
    for (there, expect) in [
        ("one\ntw".to_owned(), "one\nnew\n".to_owned()),
        ("tw".to_owned(), "new\n".to_owned()),
        (format!("one\n{long}"), "one\nnew\n".to_owned()),
        (format!("{long}\n"), format!("{long}\nnew\n")),
        (String::new(), "new\n".to_owned()),
    ] {
        std::fs::write(&path, &there).unwrap();
        output(&path, 1 << 30, 1).deliver(&batch(&["new"], 1)).await.unwrap();
        assert!(read(&path) == expect, "{:.20}", there);
    }
    let mut output = output(&path, 1 << 30, 1);
    output.deliver(&batch(&["before"], 1)).await.unwrap();
    std::fs::rename(&path, directory.path().join("moved")).unwrap();
    output.deliver(&batch(&["behind"], 2)).await.unwrap();
    assert_eq!(read(&path), "behind\n");
}
