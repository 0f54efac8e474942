use super::*;

fn read(file: &str, environment: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read(&mut Reader::new(Some(file), environment))
}

#[test]
fn an_empty_configuration_serves_this_machine_over_sqlite() {
    let config = read("", &[]).unwrap();
    assert_eq!(config.database_url.expose(), "sqlite://tollgate-data/tollgate.db");
    assert_eq!(config.admin_listen, "127.0.0.1:7070".parse().unwrap());
    assert_eq!((config.environment.as_str(), config.report.json), ("live", true));
}

#[test]
fn every_problem_is_reported_at_once() {
    let Problems(problems) = read(
        "admin_listen = '0.0.0.0:7070'\nenvironment = 'Live'\nencryption_key = 'short'\ndatabase_url = 'mysql://x'\nnonsense = 1",
        &[("TOLLGATE_FLEET_TOKEN", "short"), ("TOLLGATE_TLS_KEY", "/key.pem"), ("TOLLGATE_TRACE_RATIO", "2")],
    )
    .unwrap_err();
    let mut names: Vec<_> = problems.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let expect = [
        "admin_listen",
        "database_url",
        "encryption_key",
        "environment",
        "fleet_token",
        "nonsense",
        "tls_cert",
        "trace_ratio",
    ];
    assert_eq!(names, expect);
    assert!(!problems.iter().any(|(_, text)| text.contains("short")), "a secret is never repeated");
}

#[test]
fn the_admin_api_is_plain_on_loopback_only_unless_that_is_said() {
    for (file, good) in [
        ("admin_listen = '127.0.0.1:1'", true),
        ("admin_listen = '[::1]:1'", true),
        ("admin_listen = '10.0.0.1:1'", false),
        ("admin_listen = '10.0.0.1:1'\nadmin_plaintext = true", true),
        ("admin_listen = '10.0.0.1:1'\ntls_cert = 'a'\ntls_key = 'b'", true),
        ("fleet_token = '0123456789abcdef'", true),
        ("fleet_token = '0123456789abcdef'\nfleet_listen = '10.0.0.1:1'", false),
    ] {
        assert_eq!(read(file, &[]).is_ok(), good, "{file}");
    }
}

#[test]
fn a_webhook_has_an_address_and_a_secret() {
    for (file, good) in [
        ("webhook_url = 'https://hooks.example/x'\nwebhook_secret = '0123456789abcdef01234567'", true),
        ("webhook_url = 'http://127.0.0.1:1'\nwebhook_secret = 'whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3'", true),
        ("webhook_url = 'https://hooks.example/x'", false),
        ("webhook_secret = '0123456789abcdef01234567'", false),
        ("webhook_url = 'ftp://hooks.example'\nwebhook_secret = '0123456789abcdef01234567'", false),
        ("webhook_url = 'hooks.example'\nwebhook_secret = '0123456789abcdef01234567'", false),
        ("webhook_url = 'https://hooks.example/x'\nwebhook_secret = 'short'", false),
        ("webhook_url = 'https://hooks.example/x'\nwebhook_secret = 'whsec_!'", false),
    ] {
        assert_eq!(read(file, &[]).is_ok(), good, "{file}");
    }
}

#[test]
fn debug_shows_no_secret() {
    let file = "database_url = 'postgres://u:canary@h/d'\nfleet_token = 'canary-canary-canary'\n\
                webhook_url = 'https://u:canary@hooks.example/canary'\nwebhook_secret = 'canary-canary-canary-canary'";
    let shown = format!("{:?}", read(file, &[]).unwrap());
    assert!(!shown.contains("canary"), "{shown}");
}

#[test]
fn the_encryption_key_is_made_once_and_refused_when_others_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = format!("data_dir = '{}'", directory.path().join("data").display());
    let config = read(&file, &[]).unwrap();
    config.make_data_dir().unwrap();
    let first = config.keyring().unwrap();
    assert_eq!(config.keyring().unwrap().current_id(), first.current_id());
    let path = config.data_dir.join(ENCRYPTION_KEY_FILE);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(config.keyring(), Err(KeyError::Exposed { .. })));
}

#[test]
fn people_sign_in_over_https_or_on_this_machine() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("oidc.toml");
    let issuer = "[[issuer]]\nname = 'corp'\nurl = 'https://idp.example'\nclient_id = 'c'\nclient_secret = 'canary'";
    std::fs::write(&path, issuer).unwrap();
    let oidc = format!("oidc_config = '{}'\n", path.display());
    for (file, good) in [
        ("", true),
        ("http_listen = '0.0.0.0:7072'", false),
        ("http_listen = '0.0.0.0:7072'\npublic_url = 'https://tollgate.example/'", true),
        ("public_url = 'http://tollgate.example'", false),
        ("public_url = 'http://127.0.0.1:7072'", true),
        ("public_url = 'http://[::1]:7072'", true),
        ("public_url = 'https://tollgate.example/?x=1'", false),
        ("session_life = '1m'", false),
        ("session_life = '31d'", false),
    ] {
        assert_eq!(read(&format!("{oidc}{file}"), &[]).is_ok(), good, "{file}");
    }
    let config = read(&oidc, &[]).unwrap();
    assert_eq!((config.issuers.len(), config.session_life.as_secs()), (1, 43_200));
    assert!(!format!("{config:?}").contains("canary"));
    std::fs::write(&path, format!("{issuer}\nnonsense = 1\nalgorithms = ['none']")).unwrap();
    let Problems(problems) = read(&oidc, &[]).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
}

#[test]
fn the_sinks_of_the_audit_log_are_checked_with_everything_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sinks.toml");
    let file = format!("audit_sinks_config = '{}'\nenvironment = 'NO'", path.display());
    fs::write(&path, "[[sink]]\nname = 'siem'\nkind = 'splunk'\nurl = 'http://h'\ntoken = 'can ary'\nspeed = 1")
        .unwrap();
    let Problems(problems) = read(&file, &[]).unwrap_err();
    let shown = format!("{problems:?}");
    assert!(
        ["sink[0].url ", "sink[0].token ", "sink[0].speed ", "environment"].iter().all(|what| shown.contains(what))
    );
    assert!(problems.len() == 4 && !shown.contains("can ary"), "{shown}");
    fs::write(&path, "[[sink]]\nname = 'siem'\nkind = 'splunk'\nurl = 'http://127.0.0.1/canary'\ntoken = 'canary'")
        .unwrap();
    let config = read(&format!("audit_sinks_config = '{}'", path.display()), &[]).unwrap();
    assert_eq!(config.audit_sinks.len(), 1);
    assert!(!format!("{config:?}").contains("canary"));
    let Problems(problems) = read("audit_sinks_config = '/nowhere/sinks.toml'", &[]).unwrap_err();
    assert_eq!(problems.len(), 1);
}
