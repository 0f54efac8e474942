use super::*;

fn places(text: &str) -> Vec<String> {
    read(text).map_or_else(|problems| problems.into_iter().map(|(place, _)| place).collect(), |_| Vec::new())
}

fn authority(directory: &Path) -> String {
    let path = directory.join("ca.pem");
    let pair = rcgen::generate_simple_self_signed(["siem.example".to_owned()]).unwrap();
    fs::write(&path, pair.cert.pem()).unwrap();
    fs::write(directory.join("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    path.display().to_string()
}

#[test]
fn every_kind_of_sink_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let ca = authority(directory.path());
    let key = directory.path().join("key.pem").display().to_string();
    let text = format!(
        "[[sink]]\nname = 'siem'\nkind = 'syslog'\naddress = 'siem.example:6514'\ntls_ca = '{ca}'\ntls_cert = '{ca}'\ntls_key = '{key}'\n\
         [[sink]]\nname = 'near'\nkind = 'syslog'\naddress = '[::1]:514'\ntransport = 'udp'\nmessage = 'cef'\n\
         [[sink]]\nname = 'splunk'\nkind = 'splunk'\nurl = 'https://splunk.example:8088'\ntoken = 'canary'\ntls_ca = '{ca}'\n\
         actions = ['key.*', 'request.refuse']\nfrom = 'now'\nhost = 'gateway-1'\n\
         [[sink]]\nname = 'lines'\nkind = 'http'\nurl = 'http://127.0.0.1:9/canary'\nformat = 'ocsf'\n\
         [[sink]]\nname = 'file'\nkind = 'file'\npath = '/var/log/tollgate/audit.cef'\nformat = 'cef'"
    );
    let sinks = read(&text).unwrap();
    let [siem, near, splunk, lines, file] = &sinks[..] else { panic!("{sinks:?}") };
    let (To::Syslog(siem), To::Syslog(near)) = (&siem.to, &near.to) else { panic!() };
    assert_eq!((siem.host.as_str(), siem.port, siem.is_cef), ("siem.example", 6514, false));
    assert!(matches!(siem.transport, Transport::Tls(..)));
    assert_eq!((near.host.as_str(), near.port, near.is_cef), ("::1", 514, true));
    assert_eq!((splunk.from_now, splunk.actions.len(), splunk.host.as_deref()), (true, 2, Some("gateway-1")));
    let (To::Collector(splunk), To::Collector(lines)) = (&splunk.to, &lines.to) else { panic!() };
    assert_eq!(splunk.url.0.as_str(), "https://splunk.example:8088/services/collector/event");
    assert_eq!(splunk.authorization.as_ref().map(Secret::expose), Some("Splunk canary"));
    assert_eq!((lines.url.0.path(), lines.format, lines.authorization.is_none()), ("/canary", Format::Ocsf, true));
    let To::File(file) = &file.to else { panic!() };
    assert_eq!((file.format, file.bytes_max, file.rotated), (Format::Cef, 64 << 20, 10));
    assert!(!format!("{sinks:?}").contains("canary"), "{sinks:?}");
}

#[test]
fn every_problem_is_named_with_its_place() {
    let sink = |rest: &str| format!("[[sink]]\nname = 'one'\n{rest}");
    for (text, expect) in [
        (String::new(), &["sink"][..]),
        ("nonsense = 1\n".to_owned() + &sink("kind = 'file'\npath = 'x'"), &["nonsense"]),
        ("[[sink]]".to_owned(), &["sink[0].name", "sink[0].kind"]),
        (sink("kind = 'pigeon'\nspeed = 1"), &["sink[0].kind"]),
        ("[[sink]]\nname = 'No Name'\nkind = 'file'\npath = 'x'".to_owned(), &["sink[0].name"]),
        (sink("kind = 'file'"), &["sink[0].path"]),
        (sink("kind = 'file'\npath = 'x'\nurl = 'y'"), &["sink[0].url"]),
        (
            sink("kind = 'file'\npath = 'x'\nformat = 'xml'\nbytes_max = 1\nrotated = 0"),
            &["sink[0].format", "sink[0].bytes_max", "sink[0].rotated"],
        ),
        (sink("kind = 'file'\npath = 'x'\nactions = []"), &["sink[0].actions"]),
        (sink("kind = 'file'\npath = 'x'\nactions = ['Key']"), &["sink[0].actions"]),
        (sink("kind = 'file'\npath = 'x'\nactions = 'key.*'\nfrom = 'then'"), &["sink[0].from", "sink[0].actions"]),
        (sink("kind = 'syslog'\ntransport = 'tcp'"), &["sink[0].address"]),
        (sink("kind = 'syslog'\ntransport = 'tcp'\naddress = 'siem.example'"), &["sink[0].address"]),
        (sink("kind = 'syslog'\ntransport = 'tcp'\naddress = 'h:514'\ntls_ca = 'x'"), &["sink[0].tls_ca"]),
        (sink("kind = 'syslog'\naddress = 'h:6514'\ntls_ca = '/nowhere/ca.pem'"), &["sink[0].tls_ca"]),
        (sink("kind = 'splunk'"), &["sink[0].url", "sink[0].token"]),
        (sink("kind = 'splunk'\nurl = 'http://splunk.example'\ntoken = 't'"), &["sink[0].url"]),
        (sink("kind = 'splunk'\nurl = 'http://splunk.example'\ntoken = 't'\nplaintext = true"), &[]),
        (sink("kind = 'splunk'\nurl = 'http://u:p@127.0.0.1'\ntoken = 't'"), &["sink[0].url"]),
        (sink("kind = 'http'\nurl = 'ftp://127.0.0.1'\ntoken = 'a b'"), &["sink[0].url", "sink[0].token"]),
        (sink("kind = 'http'\nurl = 'env://TOLLGATE_NO_SUCH'"), &["sink[0].url"]),
        (sink("kind = 'http'\nurl = 'x'\ntls_ca = 'y'\nspeed = 1"), &["sink[0].url", "sink[0].speed"]),
        (sink("kind = 'file'\npath = 'x'\n") + &sink("kind = 'file'\npath = 'y'"), &["sink[1].name"]),
        (sink("kind = 'file'\npath = 'x'\n") + "[[sink]]\nname = 'two'\nkind = 'file'\npath = 'x'", &["sink[1].path"]),
    ] {
        let (mut found, mut expect) = (places(&text), expect.to_vec());
        found.sort();
        expect.sort_unstable();
        assert_eq!(found, expect, "{text}");
    }
}
