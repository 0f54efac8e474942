use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::*;
use crate::secret::SecretSource;

fn reader(file: &str, environment: &[(&str, &str)]) -> Reader {
    Reader::new(Some(file), environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

fn problems(reader: &mut Reader) -> String {
    reader.finish().err().map(|problems| problems.to_string()).unwrap_or_default()
}

#[test]
fn a_file_with_three_mistakes_reports_three() {
    let mut reader = reader("listen = 'here'\ndrain_timeout = 30\n[tls]\ncret = '/a'\n", &[]);
    let listen = reader.or::<SocketAddr>("listen", SocketAddr::from(([127, 0, 0, 1], 8080)));
    assert_eq!(listen.port(), 8080);
    assert_eq!(reader.or("drain_timeout", Duration::from_secs(30)), Duration::from_secs(30));
    assert_eq!(reader.optional::<PathBuf>("tls_cert"), None);
    assert_eq!(
        problems(&mut reader),
        "listen: must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080\n\
         drain_timeout: must be a whole number and one of the units ms, s, m, h and d, such as 30s or 250ms\n\
         tls_cret: is not a known setting; did you mean tls_cert?"
    );
}

#[test]
fn a_value_is_the_environments_then_the_files_then_the_default() {
    let check = |file: &str, environment: &[(&str, &str)], expect: u16| {
        let mut reader = reader(file, environment);
        assert_eq!(reader.or::<u16>("tls_port", 3), expect);
        assert_eq!(problems(&mut reader), "");
    };
    check("", &[], 3);
    check("tls_port = 2", &[], 2);
    check("[tls]\nport = 2", &[], 2);
    check("tls = { port = '2' }", &[], 2);
    check("[tls]\nport = 2", &[("TOLLGATE_TLS_PORT", "1")], 1);
    check("[tls]\nport = 2", &[("TOLLGATE_TLS_PORT", "")], 2);
    check("[tls]\nport = 2", &[("PATH", "/bin"), ("TLS_PORT", "1")], 2);
}

#[test]
fn each_mistake_is_named_where_it_stands() {
    let check = |file: &str, environment: &[(&str, &str)], expect: &str| {
        let mut reader = reader(file, environment);
        let _ = reader.required::<u16>("port");
        let _ = reader.optional::<String>("database_url");
        reader.allow(["token"]);
        assert_eq!(problems(&mut reader), expect);
    };
    check("port = 1", &[("TOLLGATE_TOKEN", "t")], "");
    check("", &[], "port: is missing: set port in the file, or TOLLGATE_PORT in the environment");
    check("port = 'x'", &[], "port: must be a whole number from 0 to 65535");
    check("port = 1", &[("TOLLGATE_PORT", "x")], "port: must be a whole number from 0 to 65535 (in TOLLGATE_PORT)");
    check("port = [1]", &[], "port: must be a single value");
    check("port = 1\nfrobnicate = 2", &[], "frobnicate: is not a known setting");
    check("port = 1\ndatabase_ulr = 'x'", &[], "database_ulr: is not a known setting; did you mean database_url?");
    check("port = 1\n[database]\nurl = 'x'\n[b.c]\nd = 1", &[], "b_c_d: is not a known setting");
    check(
        "port = 1",
        &[("TOLLGATE_DATABSE_URL", "x")],
        "TOLLGATE_DATABSE_URL: is not a known variable; did you mean TOLLGATE_DATABASE_URL?",
    );
    check(
        "port = 1\ndatabase_url = 'x'\n[database]\nurl = 'y'",
        &[],
        "database_url: is given twice, once with an underscore and once as a table's key",
    );
}

#[test]
fn addresses_that_kubernetes_puts_there_are_not_unknown() {
    let mut reader = reader(
        "",
        &[
            ("TOLLGATE_SERVICE_HOST", "10.0.0.1"),
            ("TOLLGATE_PROXY_SERVICE_PORT", "80"),
            ("TOLLGATE_PROXY_SERVICE_PORT_HTTP", "80"),
            ("TOLLGATE_PROXY_PORT", "tcp://10.0.0.1:80"),
            ("TOLLGATE_PROXY_PORT_80_TCP_ADDR", "10.0.0.1"),
        ],
    );
    assert_eq!(problems(&mut reader), "");
}

#[test]
fn a_broken_file_is_located_and_not_quoted() {
    let mut reader = reader("port = 1\nsecret = sk-canary\n", &[]);
    let text = problems(&mut reader);
    assert!(text.starts_with("file: is not TOML at line 2: "), "{text}");
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn nothing_printed_holds_a_value() {
    let mut reader = reader("join_token = 'sk-canary-1'\nport = 'sk-canary-2'", &[("TOLLGATE_OTHER", "sk-canary-3")]);
    let source = reader.required::<SecretSource>("join_token");
    let _ = reader.optional::<u16>("port");
    let printed = format!("{source:?} {reader:?} {}", problems(&mut reader));
    assert!(printed.contains("join_token") && !printed.contains("canary"), "{printed}");
}

#[test]
fn notes_of_the_caller_are_reported_with_the_rest() {
    let mut reader = reader("", &[]);
    reader.problem("tls_key", "must be given when tls_cert is");
    assert_eq!(problems(&mut reader), "tls_key: must be given when tls_cert is");
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn tables_that_operators_name_are_read_each_for_itself() {
    let text = "[tools]\nenabled = true\n[tools.files]\ncommand = '/bin/a'\nargs = ['--root', '/srv']\nenv = { A_B = 'x' }\n[tools.notes]\ncommand = 7\n\
                args = [1]\nenv = { A = 1 }\ncomand = 'x'\n";
    let mut reader = reader(text, &[("TOLLGATE_TOOLS_FILES_COMMAND", "/bin/evil")]);
    assert!(reader.or("tools_enabled", false));
    let mut read = Vec::new();
    for (name, mut table) in reader.tables("tools") {
        read.push((name.clone(), table.optional::<String>("command"), table.list("args"), table.texts("env")));
        reader.adopt(&format!("tools.{name}"), table);
    }
    let env = [("A_B".to_owned(), "x".to_owned())].into();
    let (root, path) = ("--root".to_owned(), "/srv".to_owned());
    assert_eq!(read[0], ("files".to_owned(), Some("/bin/a".to_owned()), vec![root, path], env));
    assert_eq!(read[1].2, Vec::<String>::new());
    assert_eq!(
        problems(&mut reader),
        "tools.notes.args: must be a list of texts, such as [\"one\", \"two\"]\n\
         tools.notes.env.A: must be a text\n\
         tools.notes.comand: is not a known setting; did you mean command?\n\
         TOLLGATE_TOOLS_FILES_COMMAND: is not a known variable",
        "what the environment says of them is not taken"
    );
    assert_eq!(Reader::new(None, []).tables("tools").len(), 0);
}
