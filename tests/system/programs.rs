//! The programs as people start them.

use std::process::Command;

use tollgate_tests::process::binary;

fn run(program: &str, arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let output =
        Command::new(binary(program)).args(arguments).env_clear().envs(settings.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), said)
}

#[test]
fn a_configuration_with_three_mistakes_reports_three() {
    let directory = tempfile::tempdir().unwrap();
    for (program, text, names) in [
        (
            "tollgate-proxy",
            "listen = \"nowhere\"\nspool_durability = \"perhaps\"\nlisten_adress = \"127.0.0.1:1\"\n",
            ["listen", "spool_durability", "listen_adress"],
        ),
        (
            "tollgate-control-plane",
            "admin_listen = \"nowhere\"\ndatabase_url = \"mysql://x\"\nenvironmet = \"live\"\n",
            ["admin_listen", "database_url", "environmet"],
        ),
    ] {
        let file = directory.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let (code, said) = run(program, &["--config", file.to_str().unwrap(), "--check-config"], &[]);
        assert_eq!(code, Some(1), "{program}: {said}");
        for name in names {
            assert!(said.contains(name), "{program} does not report {name}: {said}");
        }
    }
}

#[test]
fn every_program_says_what_it_is_for() {
    for program in ["tollgate", "tollgate-control-plane", "tollgate-proxy", "tollgate-standalone", "tollgate-simulator"]
    {
        let (code, said) = run(program, &["--help"], &[]);
        assert_eq!(code, Some(0), "{program}: {said}");
        assert!(said.len() > 100, "{program}: {said}");
    }
}

#[test]
fn the_demo_ends_well() {
    let programs = binary("tollgate").parent().unwrap().to_owned();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/demo");
    let output = Command::new("bash").arg(script).arg(&programs).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("The demo is over."), "{said}");
}
