//! TLS and proxies: who may take a token, and by which way it gets there.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use byteport::model::LinkFailure;
use byteport::uplink::{AskError, EnrolError, Setup};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Name};

use crate::collector::Collector;
use crate::host::{enrol, setup};

struct Signed {
    cert: X509,
    key: PKey<Private>,
}

/// For `127.0.0.1` or another name, by `issuer`; without one it issues others.
fn signed(of: &str, issuer: Option<&Signed>) -> Signed {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_text("CN", of).unwrap();
    let name = name.build();
    let mut cert = X509::builder().unwrap();
    cert.set_version(2).unwrap();
    cert.set_serial_number(&BigNum::from_u32(7).and_then(|n| n.to_asn1_integer()).unwrap()).unwrap();
    cert.set_subject_name(&name).unwrap();
    cert.set_issuer_name(issuer.map_or(&*name, |i| i.cert.subject_name())).unwrap();
    cert.set_pubkey(&key).unwrap();
    cert.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    cert.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    if issuer.is_some() {
        let mut san = SubjectAlternativeName::new();
        let san = if of.starts_with("127.") { san.ip(of) } else { san.dns(of) };
        cert.append_extension(san.build(&cert.x509v3_context(None, None)).unwrap()).unwrap();
    } else {
        cert.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    }
    cert.sign(issuer.map_or(&key, |i| &i.key), MessageDigest::sha256()).unwrap();
    Signed { cert: cert.build(), key }
}

fn acceptor(signed: &Signed) -> SslAcceptor {
    let mut tls = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    tls.set_certificate(&signed.cert).unwrap();
    tls.set_private_key(&signed.key).unwrap();
    tls.build()
}

fn with_ca(port: u16, ca: &Path) -> Setup {
    Setup { ca_file: Some(ca.to_owned()), ..setup(&format!("https://127.0.0.1:{port}")) }
}

fn tls_refused(asked: Result<String, EnrolError>, says: &str) {
    match asked {
        Err(EnrolError::Asked(AskError::Failed { reason: LinkFailure::Tls, why, .. })) if why.contains(says) => {}
        other => panic!("{says}: {other:?}"),
    }
}

#[test]
fn only_whoever_proves_to_be_the_collector_is_told_the_token() {
    let dir = tempfile::tempdir().unwrap();
    let (ca, other_ca) = (signed("the issuer", None), signed("the issuer", None));
    let (ours, theirs) = (dir.path().join("ca.pem"), dir.path().join("other.pem"));
    std::fs::write(&ours, ca.cert.to_pem().unwrap()).unwrap();
    std::fs::write(&theirs, other_ca.cert.to_pem().unwrap()).unwrap();
    let state = tempfile::tempdir().unwrap();

    let collector = Collector::with_tls(acceptor(&signed("127.0.0.1", Some(&ca))));
    tls_refused(enrol(state.path(), with_ca(collector.at.port(), &theirs), "t", false), "certificate");
    tls_refused(enrol(state.path(), setup(&format!("https://{}", collector.at)), "t", false), "certificate");
    let nothing = dir.path().join("nothing.pem");
    tls_refused(enrol(state.path(), with_ca(collector.at.port(), &nothing), "t", false), "nothing.pem");
    std::fs::write(&nothing, "no certificate").unwrap();
    tls_refused(enrol(state.path(), with_ca(collector.at.port(), &nothing), "t", false), "no certificate in it");

    let stranger = Collector::with_tls(acceptor(&signed("collector.example", Some(&ca))));
    tls_refused(enrol(state.path(), with_ca(stranger.at.port(), &ours), "t", false), "mismatch");
    let plain = Collector::start();
    tls_refused(enrol(state.path(), with_ca(plain.at.port(), &ours), "t", false), "TLS with");
    for collector in [&collector, &stranger, &plain] {
        assert!(collector.state.asked.lock().unwrap().is_empty(), "nobody was told anything");
    }
    enrol(state.path(), with_ca(collector.at.port(), &ours), "t", false).unwrap();
    assert_eq!(collector.asked("/v1/enroll").len(), 1);
}

/// Passes on what it is asked to; gives the first line and the rest of each head that it was given.
fn proxy(answer: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = Arc::<Mutex<Vec<String>>>::default();
    let told = Arc::clone(&heads);
    // Ends with the test's process.
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, told) = (client.unwrap(), Arc::clone(&told));
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if client.read(&mut byte).unwrap() == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let head = String::from_utf8(head).unwrap();
                told.lock().unwrap().push(head.clone());
                let mut words = head.split(' ');
                let (method, target) = (words.next().unwrap(), words.next().unwrap());
                let upstream = match method {
                    "CONNECT" => {
                        write!(client, "{answer}").unwrap();
                        target.to_owned()
                    }
                    _ => target.strip_prefix("http://").expect("absolute").split('/').next().unwrap().to_owned(),
                };
                let Ok(mut server) = TcpStream::connect(upstream) else { return };
                if method != "CONNECT" {
                    server.write_all(head.as_bytes()).unwrap();
                }
                let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || drop(std::io::copy(&mut from_client, &mut to_server)));
                drop(std::io::copy(&mut server, &mut client));
            });
        }
    });
    (url, heads)
}

#[test]
fn a_proxy_passes_tls_on_and_learns_nothing() {
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ca = signed("the issuer", None);
    let file = dir.path().join("ca.pem");
    std::fs::write(&file, ca.cert.to_pem().unwrap()).unwrap();
    let collector = Collector::with_tls(acceptor(&signed("127.0.0.1", Some(&ca))));
    let (url, heads) = proxy("HTTP/1.1 200 Connection established\r\nVia: here\r\n\r\n");
    enrol(state.path(), Setup { proxy: Some(url), ..with_ca(collector.at.port(), &file) }, "t", false).unwrap();
    assert_eq!(heads.lock().unwrap().concat(), format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", collector.at));
    assert_eq!(collector.asked("/v1/enroll")[0].uri, "/v1/enroll");
}

#[test]
fn a_proxy_is_given_the_whole_address_of_plain_requests() {
    let (state, collector) = (tempfile::tempdir().unwrap(), Collector::start());
    let (url, heads) = proxy("");
    enrol(state.path(), Setup { proxy: Some(url), ..setup(&format!("{}/below", collector.url())) }, "t", false).unwrap_err();
    // The same token goes on with the same identity, whatever way it takes.
    enrol(state.path(), setup(&collector.url()), "t", false).unwrap();
    assert!(heads.lock().unwrap()[0].starts_with(&format!("POST {}/below/v1/enroll HTTP/1.1\r\n", collector.url())));
    assert_eq!(collector.state.asked.lock().unwrap()[0].path, "/below/v1/enroll");
}

#[test]
fn a_proxy_that_refuses_or_babbles_is_named() {
    let state = tempfile::tempdir().unwrap();
    for (answer, says) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "answered 407"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "its answer is none"),
        ("HTTP/1.1 abc\r\n\r\n", "its answer is none"),
    ] {
        let (url, _) = proxy(answer);
        let asked = enrol(state.path(), Setup { proxy: Some(url), ..setup("https://127.0.0.1:1") }, "t", false);
        let why = asked.unwrap_err().to_string();
        assert!(why.contains("the proxy") && why.contains(says), "{why}");
    }
}
