//! The listener with a `web_config_file`: TLS and users in node_exporter's format, against the real agent.

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslFiletype, SslMethod, SslStream, SslVersion};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};
use support::agent::{Agent, ask, exchange, wait};

struct Signed {
    cert: X509,
    key: PKey<Private>,
}

/// A certificate for this host by `issuer`, or one that issues others.
fn signed(serial: u32, issuer: Option<&Signed>) -> Signed {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut name = X509Name::builder().expect("a name");
    name.append_entry_by_text("CN", if issuer.is_some() { "here" } else { "the issuer" }).expect("a name");
    let name = name.build();
    let mut cert = X509::builder().expect("a certificate");
    cert.set_version(2).expect("a version");
    cert.set_serial_number(&BigNum::from_u32(serial).and_then(|n| n.to_asn1_integer()).expect("a number")).expect("a serial");
    cert.set_subject_name(&name).expect("a subject");
    cert.set_issuer_name(issuer.map_or(&*name, |i| i.cert.subject_name())).expect("an issuer");
    cert.set_pubkey(&key).expect("a key");
    cert.set_not_before(&Asn1Time::days_from_now(0).expect("a day")).expect("a day");
    cert.set_not_after(&Asn1Time::days_from_now(2).expect("a day")).expect("a day");
    if issuer.is_some() {
        let san = SubjectAlternativeName::new().ip("127.0.0.1").build(&cert.x509v3_context(None, None)).expect("a name");
        cert.append_extension(san).expect("a name");
    } else {
        cert.append_extension(BasicConstraints::new().critical().ca().build().expect("constraints")).expect("constraints");
    }
    cert.sign(issuer.map_or(&key, |i| &i.key), MessageDigest::sha256()).expect("signed");
    Signed { cert: cert.build(), key }
}

fn put(dir: &Path, name: &str, signed: &Signed) {
    // Renamed into place, as those who renew certificates do: never half of one.
    let write = |name: &str, bytes: Vec<u8>| {
        std::fs::write(dir.join("new"), bytes).expect("written");
        std::fs::rename(dir.join("new"), dir.join(name)).expect("renamed");
    };
    write(&format!("{name}.key"), signed.key.private_key_to_pem_pkcs8().expect("PEM"));
    write(&format!("{name}.pem"), signed.cert.to_pem().expect("PEM"));
}

/// A scraper that trusts the certificate `ca` in the agent's folder, and shows the one named `shows`.
fn handshake(agent: &Agent, ca: &str, shows: Option<&str>, most: SslVersion) -> Result<SslStream<TcpStream>, String> {
    let at = |name: &str| agent.dir.path().join(name);
    let mut client = SslConnector::builder(SslMethod::tls_client()).expect("OpenSSL");
    client.set_ca_file(at(ca)).expect("a CA");
    client.set_max_proto_version(Some(most)).expect("a version");
    if let Some(name) = shows {
        client.set_certificate_file(at(&format!("{name}.pem")), SslFiletype::PEM).expect("a certificate");
        client.set_private_key_file(at(&format!("{name}.key")), SslFiletype::PEM).expect("a key");
    }
    let socket = TcpStream::connect(("127.0.0.1", agent.port)).expect("connected");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    client.build().connect("127.0.0.1", socket).map_err(|e| e.to_string())
}

fn scraped(agent: &Agent, ca: &str, shows: Option<&str>) -> Result<String, String> {
    let mut stream = handshake(agent, ca, shows, SslVersion::TLS1_3)?;
    // In TLS 1.3 a server refuses a client's certificate after the client is done: the answer tells.
    let (head, body) = exchange(&mut stream, "/metrics", "")?;
    assert!(head.contains(" 200 "), "{head}");
    Ok(String::from_utf8(body).expect("text"))
}

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

fn with_tls(more: &str) -> (Agent, Signed) {
    let ca = signed(1, None);
    let agent = Agent::start("web_config_file = \"DIR/web.yml\"\n", |dir| {
        put(dir, "ca", &ca);
        put(dir, "server", &signed(2, Some(&ca)));
        std::fs::write(dir.join("web.yml"), format!("{TLS}{more}")).expect("web.yml");
    });
    (agent, ca)
}

fn serial(agent: &Agent) -> String {
    let stream = handshake(agent, "ca.pem", None, SslVersion::TLS1_3).expect("a handshake");
    let cert = stream.ssl().peer_certificate().expect("a certificate");
    cert.serial_number().to_bn().and_then(|n| n.to_dec_str()).expect("a number").to_string()
}

#[test]
fn tls_is_served_and_nobody_who_dawdles_over_it_delays_another() {
    let (agent, _) = with_tls("  min_version: TLS13\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  curve_preferences: [CurveP256]\n");
    let mute: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(("127.0.0.1", agent.port)).expect("connected")).collect();
    let begun = Instant::now();
    assert!(scraped(&agent, "ca.pem", None).expect("served").contains("byteport_build_info"));
    assert!(begun.elapsed() < Duration::from_secs(9), "not after the others' time was over");
    let stream = handshake(&agent, "ca.pem", None, SslVersion::TLS1_3).expect("a handshake");
    let suite = stream.ssl().current_cipher().expect("a cipher").name();
    assert_eq!((stream.ssl().version_str(), suite), ("TLSv1.3", "TLS_AES_128_GCM_SHA256"));
    assert!(handshake(&agent, "ca.pem", None, SslVersion::TLS1_2).is_err(), "below min_version");
    put(agent.dir.path(), "other", &signed(9, None));
    assert!(handshake(&agent, "other.pem", None, SslVersion::TLS1_3).is_err(), "by an issuer that is not trusted");
    // The mute ones are shown out in the end.
    for mut socket in mute {
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
        assert_eq!(socket.read(&mut [0]).expect("the end"), 0);
    }
}

#[test]
fn a_renewed_certificate_is_taken_up_and_a_broken_one_is_not() {
    let (agent, ca) = with_tls("");
    assert_eq!(serial(&agent), "2");
    put(agent.dir.path(), "server", &signed(3, Some(&ca)));
    assert_eq!(serial(&agent), "3", "with the next handshake");
    std::fs::write(agent.dir.path().join("server.pem"), "no certificate").expect("written");
    assert_eq!(serial(&agent), "3", "what was good stays");
    assert_eq!(serial(&agent), "3");
    put(agent.dir.path(), "server", &signed(4, Some(&ca)));
    assert_eq!(serial(&agent), "4");
    std::fs::write(agent.dir.path().join("web.yml"), format!("{TLS}  max_version: TLS12\n")).expect("web.yml");
    let stream = handshake(&agent, "ca.pem", None, SslVersion::TLS1_3).expect("a handshake");
    assert_eq!(stream.ssl().version_str(), "TLSv1.2", "the file itself is read again as well");
}

#[test]
fn a_clients_certificate_is_asked_for_as_the_file_says() {
    let (agent, ca) = with_tls("  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n");
    put(agent.dir.path(), "client", &signed(5, Some(&ca)));
    let stranger = signed(6, None);
    put(agent.dir.path(), "stranger", &signed(7, Some(&stranger)));
    scraped(&agent, "ca.pem", Some("client")).expect("one of the issuer's");
    assert!(scraped(&agent, "ca.pem", None).is_err(), "none");
    assert!(scraped(&agent, "ca.pem", Some("stranger")).is_err(), "by another issuer");
    std::fs::write(agent.dir.path().join("web.yml"), format!("{TLS}  client_auth_type: RequireAnyClientCert\n")).expect("web.yml");
    scraped(&agent, "ca.pem", Some("stranger")).expect("whoever issued it");
    assert!(scraped(&agent, "ca.pem", None).is_err(), "any, but one");
}

fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", openssl::base64::encode_block(format!("{user}:{password}").as_bytes()))
}

#[test]
fn only_users_of_the_file_are_let_in_and_headers_go_with_every_answer() {
    let web = |password: &str| {
        let hash = bcrypt::hash(password, 6).expect("a hash").replace("$2b$", "$2y$");
        format!("basic_auth_users:\n  prometheus: {hash}\nhttp_server_config:\n  headers:\n    X-Frame-Options: deny\n")
    };
    let agent =
        Agent::start("web_config_file = \"DIR/web.yml\"\n", |dir| std::fs::write(dir.join("web.yml"), web("a:b")).expect("web.yml"));
    let status = |path: &str, headers: &str| {
        let (head, body) = ask(agent.port, path, headers);
        assert!(head.contains("x-frame-options: deny"), "{head}");
        if head.contains(" 401 ") {
            assert!(head.contains("www-authenticate: basic realm=") && !body.starts_with(b"#"), "{head}");
        }
        head.split(' ').nth(1).expect("a status").to_owned()
    };
    for path in ["/metrics", "/healthz", "/readyz", "/nothing"] {
        assert_eq!(status(path, ""), "401", "{path}");
    }
    assert_eq!(status("/metrics", &basic("prometheus", "a:c")), "401");
    assert_eq!(status("/metrics", &basic("root", "a:b")), "401");
    assert_eq!(status("/metrics", &basic("prometheus", "a:b")), "200");
    assert_eq!(status("/nothing", &basic("prometheus", "a:b")), "404");
    std::fs::write(agent.dir.path().join("web.yml"), web("new")).expect("web.yml");
    assert_eq!(status("/metrics", &basic("prometheus", "a:b")), "401", "the old password");
    assert_eq!(status("/metrics", &basic("prometheus", "new")), "200");
    // Emptied, as by somebody who writes it anew, or whose disk is full.
    for lost in ["", "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"] {
        std::fs::write(agent.dir.path().join("web.yml"), lost).expect("web.yml");
        assert_eq!(status("/metrics", ""), "401", "a file without users lets nobody in who was kept out before");
    }
    std::fs::write(agent.dir.path().join("web.yml"), web("newest")).expect("web.yml");
    assert_eq!(status("/metrics", &basic("prometheus", "newest")), "200");
}

#[test]
fn a_certificate_that_comes_after_the_file_that_names_it_is_taken_up() {
    let (agent, ca) = with_tls("");
    let old = serial(&agent);
    let path = agent.dir.path().join("web.yml");
    std::fs::write(&path, TLS.replace("server.", "later.")).expect("web.yml");
    assert_eq!(serial(&agent), old, "it is not there yet");
    std::fs::write(&path, "").expect("web.yml");
    assert_eq!(serial(&agent), old, "an empty file does not end TLS");
    std::fs::write(&path, TLS.replace("server.", "later.")).expect("web.yml");
    assert_eq!(serial(&agent), old);
    put(agent.dir.path(), "later", &signed(77, Some(&ca)));
    assert_eq!(serial(&agent), "77");
}

/// What the agent says when it does not start.
fn refused(web: &str) -> String {
    let (mut agent, mut log) = Agent::spawn("web_config_file = \"DIR/web.yml\"\n", |dir| {
        let ca = signed(1, None);
        put(dir, "server", &signed(2, Some(&ca)));
        put(dir, "ca", &ca);
        std::fs::write(dir.join("web.yml"), web).expect("web.yml");
    });
    let mut ended = None;
    wait("its end", || {
        ended = agent.running.0.try_wait().expect("a child");
        ended.is_some()
    });
    let mut said = String::new();
    log.read_to_string(&mut said).expect("text");
    assert_eq!(ended.and_then(|e| e.code()), Some(64), "{said}");
    said
}

#[test]
fn what_cannot_be_honoured_keeps_it_from_starting() {
    for (web, says) in [
        (format!("{TLS}  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n"), "OpenSSL here has no TLS_RSA_WITH_RC4_128_SHA"),
        (format!("{TLS}  cipher_suites: [TLS_AES_512_GCM_SHA1]\n"), "OpenSSL here has no TLS_AES_512_GCM_SHA1"),
        (TLS.replace("server.pem", "gone.pem"), "gone.pem"),
        (TLS.replace("server.key", "ca.key"), "key values mismatch"),
        ("http_server_config:\n  headers:\n    Content-Length: 1\n".into(), "headers: Content-Length is none of"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: \"a\\nb\"\n".into(), "headers: X-Frame-Options cannot be sent"),
        ("http_server_config:\n  http2: true\n".into(), "HTTP/1.1"),
    ] {
        let said = refused(&web);
        assert!(said.contains(says) && said.contains("web.yml"), "{web}: {said}");
    }
}
