//! A receiver that is not ours: rsyslog, which `scripts/install services` installs, as a process of the test's own.

use std::{
    collections::BTreeMap,
    net::UdpSocket,
    path::{Path, PathBuf},
    process::Stdio,
};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::until;

/// Where Debian has it; the search path of who is not root need not.
const PROGRAM: &str = "/usr/sbin/rsyslogd";

/// A running receiver.
pub(super) struct Rsyslog {
    pub(super) tls: u16,
    pub(super) tcp: u16,
    pub(super) udp: u16,
    directory: PathBuf,
    _child: Child,
}

/// A message as it was parsed.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) app: String,
    pub(super) message_id: String,
    pub(super) host: String,
    pub(super) data: BTreeMap<String, String>,
    pub(super) message: String,
}

impl Rsyslog {
    pub(super) async fn start(above: &Path) -> Self {
        let directory = above.join("rsyslog");
        std::fs::create_dir(&directory).unwrap();
        certificates(&directory);
        // rsyslog tells the ports that it has chosen for streams alone.
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let conf = directory.join("rsyslog.conf");
        std::fs::write(&conf, CONF.replace("DIRECTORY", directory.to_str().unwrap()).replace("UDP", &udp.to_string()))
            .unwrap();
        let program = if Path::new(PROGRAM).exists() { PROGRAM } else { "rsyslogd" };
        let mut command = Command::new(program);
        command.arg("-n").arg("-f").arg(&conf).arg("-i").arg(directory.join("pid"));
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true).spawn();
        let child = child.expect("rsyslog is not installed: run `make test`, or `scripts/install services`");
        let port = |name: &str| std::fs::read_to_string(directory.join(name)).ok()?.trim().parse::<u16>().ok();
        until("rsyslog listens", async || port("tls").is_some() && port("tcp").is_some()).await;
        // A datagram that nobody receives yet is lost.
        until("rsyslog listens for datagrams", async || UdpSocket::bind(("127.0.0.1", udp)).is_err()).await;
        Self { tls: port("tls").unwrap(), tcp: port("tcp").unwrap(), udp, directory, _child: child }
    }

    /// The configuration of a sink that ships there.
    pub(super) fn sink(&self, name: &str, transport: &str, port: u16, host: &str) -> String {
        let file = |name: &str| self.directory.join(name).display().to_string();
        let tls = if transport == "tls" {
            format!(
                "tls_ca = '{}'\ntls_cert = '{}'\ntls_key = '{}'\ntls_server_name = 'siem.example'\n",
                file("ca.pem"),
                file("client.pem"),
                file("client-key.pem")
            )
        } else {
            String::new()
        };
        format!(
            "[[sink]]\nname = '{name}'\nkind = 'syslog'\ntransport = '{transport}'\naddress = '127.0.0.1:{port}'\nhost = '{host}'\n{tls}"
        )
    }

    /// Every line that it has written to its end.
    pub(super) fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.join("out")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// What it has parsed.
    pub(super) fn parsed(&self) -> Vec<Parsed> {
        self.lines().iter().map(|line| Parsed::read(line)).collect()
    }
}

impl Parsed {
    fn read(line: &str) -> Self {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        let message = text("message");
        let message = message.strip_prefix('\u{feff}').unwrap_or(&message).to_owned();
        Self { app: text("app"), message_id: text("id"), host: text("host"), data: data(&text("data")), message }
    }

    pub(super) fn index(&self) -> i64 {
        self.data["index"].parse().unwrap()
    }
}

// RFC 5424, section 6.3: one element, whose values are escaped.
fn data(text: &str) -> BTreeMap<String, String> {
    let mut rest = text.strip_prefix("[tollgate@32473").unwrap();
    let mut data = BTreeMap::new();
    while let Some(parameter) = rest.strip_prefix(' ') {
        let (name, value) = parameter.split_once("=\"").unwrap();
        let (mut unescaped, mut characters) = (String::new(), value.char_indices());
        rest = loop {
            match characters.next().unwrap() {
                (_, '\\') => unescaped.push(characters.next().unwrap().1),
                (at, '"') => break &value[at + 1..],
                (_, ']') => panic!("a bracket is not escaped: {text}"),
                (_, character) => unescaped.push(character),
            }
        };
        assert!(data.insert(name.to_owned(), unescaped).is_none(), "{name} twice: {text}");
    }
    assert_eq!(rest, "]", "{text}");
    data
}

fn certificates(directory: &Path) {
    let write = |name: &str, text: String| std::fs::write(directory.join(name), text).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.distinguished_name.push(DnType::CommonName, "authority");
    write("ca.pem", params.self_signed(&key).unwrap().pem());
    let issuer = Issuer::new(params, key);
    for (name, usage) in
        [("siem", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([format!("{name}.example")]).unwrap();
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        write(&format!("{name}.pem"), params.signed_by(&key, &issuer).unwrap().pem());
        write(&format!("{name}-key.pem"), key.serialize_pem());
    }
}

// Control characters are escaped on receipt, as they are unless an administrator says otherwise.
const CONF: &str = r#"
global(
    workDirectory="DIRECTORY"
    maxMessageSize="64k"
    defaultNetstreamDriverCAFile="DIRECTORY/ca.pem"
    defaultNetstreamDriverCertFile="DIRECTORY/siem.pem"
    defaultNetstreamDriverKeyFile="DIRECTORY/siem-key.pem"
)
module(load="imtcp")
module(load="imudp")
template(name="parsed" type="list" option.jsonf="on") {
    property(outname="host" name="hostname" format="jsonf")
    property(outname="app" name="app-name" format="jsonf")
    property(outname="id" name="msgid" format="jsonf")
    property(outname="data" name="structured-data" format="jsonf")
    property(outname="message" name="msg" format="jsonf")
}
ruleset(name="all") {
    action(type="omfile" file="DIRECTORY/out" template="parsed")
}
input(
    type="imtcp" address="127.0.0.1" port="0" listenPortFileName="DIRECTORY/tls" ruleset="all"
    streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid"
)
input(type="imtcp" address="127.0.0.1" port="0" listenPortFileName="DIRECTORY/tcp" ruleset="all")
input(type="imudp" address="127.0.0.1" port="UDP" ruleset="all")
"#;
