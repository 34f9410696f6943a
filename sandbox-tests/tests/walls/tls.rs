//! Https targets are who they say they are, or nothing is sent to them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use staunch::clock::Clock;
use staunch::sandbox::{Ending, Job, Options, Report, Sandbox, read_roots};
use staunch_core::effect::EffectStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::harness::*;

const NAME: &str = "shop.example";

/// An authority of the test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, certificate) = (certificate.pem(), certificate.der().clone());
        Self { issuer: Issuer::new(params, key), certificate, pem }
    }

    /// A server with a certificate for `name`, valid in these years.
    async fn server(&self, name: &str, years: (i32, i32)) -> Server {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Server::start(certificate.der().clone(), &key).await
    }
}

/// Answers every request with `secure`, over TLS.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(certificate: CertificateDer<'static>, key: &KeyPair) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(acceptor.clone(), stream, seen.clone()));
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

async fn answer(acceptor: TlsAcceptor, stream: tokio::net::TcpStream, seen: Arc<Mutex<Vec<String>>>) {
    // A client that does not trust the certificate goes away here.
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        seen.lock().unwrap().push(String::from_utf8_lossy(&buffer[..count]).into_owned());
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecure").await.is_err() {
            return;
        }
    }
}

fn sandbox_trusting(roots: Vec<CertificateDer<'static>>) -> Sandbox {
    let mut options = Options::new(Clock::machine());
    let names = [(NAME, "127.0.0.1"), ("other.example", "127.0.0.1")];
    let names = names.map(|(name, address)| (name.to_owned(), vec![address.parse().unwrap()]));
    options.resolver = Arc::new(Names(names.into()));
    options.extra_roots = roots;
    Sandbox::new(options).unwrap()
}

/// Plans and acts one POST to the server under this name.
async fn send(sandbox: &Sandbox, host: &str, server: &Server) -> Report {
    let prepared = prepare(sandbox, "send");
    let address = format!("https://{host}:{}/", server.port);
    let allowed = grants(&[("http", "send", &format!("POST {address}** @127.0.0.0/8"))]);
    let make = || {
        let mut job: Job = job(&prepared, &address, &allowed, &Arc::new(Book::default()));
        job.limits.deadline = Duration::from_secs(5);
        job
    };
    plan_and_act(sandbox, make).await.1
}

fn refused(report: &Report, server: &Server, why: &str) {
    let Ending::Failed(error) = &report.ending else { panic!("{why}: {report:?}") };
    assert_eq!(
        (error.code.as_str(), report.effects[0].status),
        ("unreachable", EffectStatus::Failed),
        "{why}"
    );
    assert!(error.message.contains("certificate"), "{why}: {error:?}");
    assert_eq!(server.requests(), 0, "{why}");
}

fn passed(report: &Report, server: &Server) {
    let Ending::Returned(result) = &report.ending else { panic!("{report:?}") };
    assert_eq!((result["summary"].as_str(), server.requests()), (Some("secure"), 1));
}

#[tokio::test]
async fn an_authority_that_is_trusted_vouches_for_its_hosts_and_for_no_others() {
    let authority = Authority::new("ours");
    let sandbox = sandbox_trusting(vec![authority.certificate.clone()]);
    let server = authority.server(NAME, (2020, 2120)).await;
    passed(&send(&sandbox, NAME, &server).await, &server);
    let server = authority.server(NAME, (2020, 2120)).await;
    refused(&send(&sandbox, "other.example", &server).await, &server, "another host's certificate");
    let server = authority.server(NAME, (2020, 2021)).await;
    refused(&send(&sandbox, NAME, &server).await, &server, "an expired certificate");
    let server = authority.server(NAME, (2110, 2120)).await;
    refused(&send(&sandbox, NAME, &server).await, &server, "a certificate of the future");
}

#[tokio::test]
async fn nobody_else_vouches() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let server = ours.server(NAME, (2020, 2120)).await;
    refused(
        &send(&sandbox_trusting(Vec::new()), NAME, &server).await,
        &server,
        "only the system's authorities",
    );
    let sandbox = sandbox_trusting(vec![theirs.certificate.clone()]);
    refused(&send(&sandbox, NAME, &server).await, &server, "another authority");
    // The same name, another key.
    let twin = Authority::new("ours");
    refused(&send(&sandbox_trusting(vec![twin.certificate]), NAME, &server).await, &server, "a twin");
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.is_ca = IsCa::NoCa;
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let server = Server::start(certificate.der().clone(), &key).await;
    refused(&send(&sandbox, NAME, &server).await, &server, "a certificate that vouches for itself");
}

#[tokio::test]
async fn authorities_come_from_files_and_can_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    std::fs::write(&file, format!("# two of them\n{}{}", theirs.pem, ours.pem)).unwrap();
    let roots = read_roots(&file).unwrap();
    assert_eq!(roots, [theirs.certificate.clone(), ours.certificate.clone()]);
    let sandbox = sandbox_trusting(Vec::new());
    let server = ours.server(NAME, (2020, 2120)).await;
    refused(&send(&sandbox, NAME, &server).await, &server, "before");
    sandbox.replace_roots(roots);
    passed(&send(&sandbox, NAME, &server).await, &server);
    // The open connection was vouched for by somebody who is no longer trusted.
    sandbox.replace_roots(vec![theirs.certificate]);
    let report = send(&sandbox, NAME, &server).await;
    assert!(
        matches!(&report.ending, Ending::Failed(error) if error.message.contains("certificate")),
        "{report:?}"
    );
    assert_eq!(server.requests(), 1);

    for (text, wanted) in [
        ("", "holds no certificate"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no certificate"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1 of"),
        ("-----BEGIN CERTIFICATE-----\n%%%\n", "certificate 1 of"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = read_roots(&file).unwrap_err().to_string();
        assert!(error.contains(wanted) && error.contains("ca.pem"), "{text:?}: {error}");
    }
    assert!(read_roots(&folder.path().join("none")).is_err());
}
