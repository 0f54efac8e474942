//! `tollgate-control-plane` as an operator runs it.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn program(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate-control-plane"));
    command.args(arguments).current_dir(directory).env_clear().envs(environment.iter().copied());
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_configuration_with_three_mistakes_reports_three() {
    let directory = tempfile::tempdir().unwrap();
    let file = "admin_listn = '127.0.0.1:1'\nenvironment = 'NO'\nencryption_key = 'canary'";
    std::fs::write(directory.path().join("tollgate.toml"), file).unwrap();
    let arguments = ["--config", "tollgate.toml", "--check-config"];
    let output = program(directory.path(), &arguments, &[]).output().unwrap();
    let (_, errors) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    for expect in
        ["environment: ", "encryption_key: ", "admin_listn: is not a known setting; did you mean admin_listen?"]
    {
        assert!(errors.contains(expect), "{errors}");
    }
    assert!(!errors.contains("canary"), "{errors}");
    assert!(!directory.path().join("tollgate-data").exists(), "checking makes nothing");

    let fixed = [("TOLLGATE_ENVIRONMENT", "test"), ("TOLLGATE_ENCRYPTION_KEY", "")];
    std::fs::write(directory.path().join("tollgate.toml"), "admin_listen = '127.0.0.1:1'").unwrap();
    let output = program(directory.path(), &arguments, &fixed).output().unwrap();
    assert_eq!(texts(&output), ("the configuration is good\n".to_owned(), String::new()));
    let missing = program(directory.path(), &["--config", "none.toml", "--check-config"], &[]).output().unwrap();
    assert!(texts(&missing).1.contains("none.toml"));
}

#[test]
fn a_lost_token_is_replaced_on_the_command_line() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("tollgate-data/admin-token");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let output = program(directory.path(), &["--reset-admin-token"], &[]).output().unwrap();
        let (said, errors) = texts(&output);
        assert!(output.status.success(), "{errors}");
        assert_eq!(said, "the new token is in tollgate-data/admin-token\n");
        let secret = std::fs::read_to_string(&token).unwrap();
        assert!(secret.starts_with("tga_") && !errors.contains(&secret), "{errors}");
        seen.push(secret);
        std::fs::remove_file(&token).unwrap();
    }
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn a_terminated_control_plane_exits_with_0() {
    use std::io::{BufRead as _, BufReader};

    let directory = tempfile::tempdir().unwrap();
    let listen = [
        ("TOLLGATE_ADMIN_LISTEN", "127.0.0.1:0"),
        ("TOLLGATE_FLEET_LISTEN", "127.0.0.1:0"),
        ("TOLLGATE_HTTP_LISTEN", "127.0.0.1:0"),
        ("TOLLGATE_LOG_FORMAT", "json"),
    ];
    let mut child = program(directory.path(), &[], &listen).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = lines.find(|line| line.as_ref().unwrap().contains("control plane is ready")).unwrap().unwrap();
    let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
    assert!(ready["admin"].as_str().unwrap().starts_with("127.0.0.1:"), "{ready}");
    let terminate = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(terminate.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    assert!(rest.iter().any(|line| line.contains("control plane has stopped")), "{rest:?}");
}
