//! Who may talk to a cluster: TLS, tokens, strangers on the peer port, certificates that change.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use quorate::{client::https::Http, tls};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use serde_json::{Value, json};
use support::{
    cluster::{Cluster, PATIENCE},
    process::{PROGRAM, Replica},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

const ADMIN_TOKEN: &str = "an-administrator-of-the-first-hour";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Certificates in a directory: `NAME.pem`, `NAME.key`, and those of authorities.
struct Pki(TempDir);

impl Pki {
    fn new() -> (Self, Authority) {
        let pki = Self(TempDir::with_prefix("quorate-pki-").unwrap());
        let authority = pki.authority("ca", "authority");
        for name in ["client", "peer"] {
            pki.issue(name, &authority);
        }
        (pki, authority)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn authority(&self, file: &str, name: &str) -> Authority {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Authority::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        self.write(&format!("{file}.pem"), &issuer.pem());
        issuer
    }

    /// Puts a new certificate for loopback in place of whatever is there; its DER.
    fn issue(&self, name: &str, authority: &Authority) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, authority).unwrap();
        self.write(&format!("{name}.pem"), &certificate.pem());
        self.write(&format!("{name}.key"), &key.serialize_pem());
        certificate.der().to_vec()
    }

    fn write(&self, name: &str, text: &str) {
        let (new, path) = (self.path(&format!("{name}.new")), self.path(name));
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn flag(&self, option: &str, name: &str) -> String {
        format!("--{option}={}", self.path(name).display())
    }

    fn flags(&self) -> Vec<String> {
        vec![
            self.flag("tls-cert", "client.pem"),
            self.flag("tls-key", "client.key"),
            self.flag("peer-tls-ca", "ca.pem"),
            self.flag("peer-tls-cert", "peer.pem"),
            self.flag("peer-tls-key", "peer.key"),
        ]
    }

    fn http(&self) -> Http {
        Http::new(Some(tls::client_config(&self.path("ca.pem"), None).unwrap()))
    }
}

/// Asks a client port that speaks TLS.
async fn ask(http: &Http, url: &str, request: &str, token: Option<&str>) -> (StatusCode, Bytes) {
    let mut words = request.splitn(3, ' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut sent = Request::builder().method(method).uri(format!("{url}{path}"));
    sent = sent.header("content-type", "application/json");
    if let Some(token) = token {
        sent = sent.header("authorization", format!("Bearer {token}"));
    }
    let body = words.next().unwrap_or_default().to_owned();
    let sent = sent.body(Full::new(Bytes::from(body))).unwrap();
    let answered = http.send(sent, Duration::from_secs(10), 1 << 20).await;
    let answered = answered.unwrap_or_else(|error| panic!("{request}: {error}"));
    (answered.status(), answered.into_body())
}

fn json_of(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

fn secure_url(cluster: &Cluster, id: u64) -> String {
    cluster.url(id).replace("http://", "https://")
}

async fn until<F: Future<Output = bool>>(
    cluster: &Cluster,
    what: &str,
    mut check: impl FnMut() -> F,
) {
    let deadline = Instant::now() + PATIENCE;
    while !check().await {
        if Instant::now() > deadline {
            cluster.fail(what);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn is_ready(http: &Http, url: &str) -> bool {
    let request = Request::get(format!("{url}/readyz")).body(Full::default()).unwrap();
    let answered = http.send(request, Duration::from_secs(2), 1 << 16).await;
    answered.is_ok_and(|answered| answered.status().is_success())
}

async fn metric(http: &Http, url: &str, name: &str) -> f64 {
    let (_, body) = ask(http, url, "GET /metrics", None).await;
    let text = String::from_utf8(body.to_vec()).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map_or(0.0, |value| value.parse().unwrap())
}

async fn start(pki: &Pki, more: &[&str]) -> (Cluster, Http) {
    let mut flags = pki.flags();
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let mut cluster = Cluster::prepare(3, &flags);
    cluster.replicas.iter_mut().for_each(Replica::start);
    let http = pki.http();
    for id in 1..=3 {
        let url = secure_url(&cluster, id);
        until(&cluster, "a replica is not ready", || is_ready(&http, &url)).await;
    }
    (cluster, http)
}

fn ctl(pki: &Pki, url: &str, token: &str, words: &[&str]) -> Output {
    Command::new(PROGRAM)
        .env_clear()
        .env("QUORATE_TOKEN", token)
        .env("QUORATE_TLS_CA", pki.path("ca.pem"))
        .args(["ctl", "-H", url])
        .args(words)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether an answer that says no has the shape of its family.
type SaysNo = fn(&Value) -> bool;

/// A look and a change in each family, and what an answer that says no looks like.
const FAMILIES: [(&str, &str, SaysNo); 5] = [
    ("GET /api/v2/epoch", "PUT /api/v2/epoch/7", |no| no["error"].is_string()),
    (
        "GET /api/v3/clusters/names",
        r#"POST /api/v3/proxies/meta {"proxy_address":"10.0.0.1:1","nodes":["10.0.0.1:2","10.0.0.1:3"]}"#,
        |no| no["error"].is_string() && no["message"].is_string(),
    ),
    ("GET /api/v1/namespaces", r#"POST /api/v1/namespaces {"namespace":"shop"}"#, |no| {
        no["error"]["message"].is_string()
    }),
    ("GET /v2/clusters?user_id=u", "DELETE /v2/clusters?user_id=u", |no| {
        no["status"] == "FAIL" && no["error"].is_string() && no["code"].is_number()
    }),
    ("GET /quorate/v1/digest", r#"PUT /quorate/v1/undermoon/settings {"failure_ttl":61}"#, |no| {
        no["error"]["code"].is_string() && no["error"]["message"].is_string()
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_tls_and_tokens_every_family_is_served_and_strangers_are_not() {
    let (pki, _authority) = Pki::new();
    let admin = format!("--admin-token={ADMIN_TOKEN}");
    let (cluster, http) = start(&pki, &["--anonymous=none", &admin]).await;
    let url = secure_url(&cluster, 1);
    let create = |role: &str| {
        said(&ctl(&pki, &url, ADMIN_TOKEN, &["token", "create", "--role", role, "--name", "t"]))
    };
    let (operate, read) = (create("operate"), create("read"));
    assert!(operate.starts_with("qrt_"), "{operate}");
    let listed = said(&ctl(&pki, &url, ADMIN_TOKEN, &["--output", "json", "token", "list"]));
    let secret = operate.rsplit('_').next().unwrap();
    assert!(!listed.contains(secret), "a list shows no secrets");
    let wrong =
        format!("{}{}", &operate[..operate.len() - 1], if operate.ends_with('0') { 1 } else { 0 });

    let other = secure_url(&cluster, 3);
    until(&cluster, "the tokens do not arrive at another replica", || async {
        ask(&http, &other, "GET /quorate/v1/digest", Some(&read)).await.0 == StatusCode::OK
    })
    .await;
    for (look, change, says_no) in FAMILIES {
        for url in [&url, &other] {
            for (token, request, status) in [
                (None, look, 401),
                (None, change, 401),
                (Some(&*wrong), look, 401),
                (Some(&*wrong), change, 401),
                (Some(&*read), change, 403),
            ] {
                let (found, body) = ask(&http, url, request, token).await;
                assert_eq!(found.as_u16(), status, "{request}");
                assert!(says_no(&json_of(&body)), "{request}: {body:?}");
            }
            let (found, _) = ask(&http, url, look, Some(&read)).await;
            assert!(found.is_success(), "{look}: {found}");
        }
        let (found, body) = ask(&http, &other, change, Some(&operate)).await;
        assert!(![401, 403, 500].contains(&found.as_u16()), "{change}: {found} {body:?}");
    }

    let audit =
        said(&ctl(&pki, &url, ADMIN_TOKEN, &["--output", "json", "audit", "--family", "kvrocks"]));
    let record: Value = serde_json::from_str(audit.lines().next().unwrap()).unwrap();
    let id = operate.split('_').nth(1).unwrap();
    assert_eq!(record["actor"], format!("token:{id}"));
    assert_eq!(
        (&record["source"], &record["action"]),
        (&json!("127.0.0.1"), &json!("create_namespace"))
    );
    assert_eq!(record["outcome"], "done");
    assert!(
        !ctl(&pki, &url, &read, &["audit"]).status.success(),
        "a reader may not see who did what"
    );

    said(&ctl(&pki, &url, ADMIN_TOKEN, &["token", "revoke", id, "--yes"]));
    for url in [&url, &other] {
        until(&cluster, "a revoked token is taken", || async {
            ask(&http, url, "GET /api/v1/namespaces", Some(&operate)).await.0.as_u16() == 401
        })
        .await;
    }
    let plain = cluster.client.get(format!("{}/livez", cluster.url(1))).send().await;
    assert!(plain.is_err(), "plain HTTP is not answered");
    let distrust = Pki::new().0.http();
    assert!(!is_ready(&distrust, &url).await, "another authority does not vouch for the replica");
    for replica in &cluster.replicas {
        for secret in [secret, ADMIN_TOKEN] {
            assert!(!replica.output().contains(secret), "a log shows a token");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_without_the_secret_or_with_a_foreign_certificate_are_refused() {
    let (pki, _authority) = Pki::new();
    let foreign = pki.authority("foreign-ca", "somebody else");
    pki.issue("foreign", &foreign);
    let flags = [
        pki.flag("tls-cert", "client.pem"),
        pki.flag("tls-key", "client.key"),
        pki.flag("peer-tls-ca", "ca.pem"),
        "--cluster-token=the secret of this test".to_owned(),
    ];
    let mut cluster = Cluster::prepare(3, &flags.each_ref().map(String::as_str));
    let shows = |name: &str| {
        let variable = |kind: &str, file: &str| {
            format!("QUORATE_PEER_TLS_{kind}={}", pki.path(&format!("{name}.{file}")).display())
        };
        vec!["/usr/bin/env".to_owned(), variable("CERT", "pem"), variable("KEY", "key")]
    };
    for replica in &mut cluster.replicas {
        replica.set_wrapper(shows("peer"));
        replica.start();
    }
    let http = pki.http();
    for id in 1..=3 {
        let url = secure_url(&cluster, id);
        until(&cluster, "a replica is not ready", || is_ready(&http, &url)).await;
    }
    let url = secure_url(&cluster, 1);

    // A good certificate, and no secret.
    let peer_addr = cluster.replica(1).peer_addr.clone();
    let (cert, key) = (pki.path("peer.pem"), pki.path("peer.key"));
    let config = tls::client_config(&pki.path("ca.pem"), Some((&cert, &key))).unwrap();
    let stream = TcpStream::connect(&peer_addr).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
    stream.write_all(b"POST /quorate/peer/v1/hello HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut told = String::new();
    let _ = stream.read_to_string(&mut told).await;
    assert!(
        told.starts_with("HTTP/1.1 403 ") && told.contains("this port is for replicas"),
        "{told}"
    );

    // A whole replica with the secret, its disk, and a certificate of somebody else.
    cluster.replica(3).kill();
    let before = metric(&http, &url, "quorate_raft_peer_refusals_total").await;
    cluster.replica(3).set_wrapper(shows("foreign"));
    cluster.replica(3).start();
    let third = secure_url(&cluster, 3);
    let deadline = Instant::now() + Duration::from_secs(3);
    until(&cluster, "nobody refused the foreign certificate", || async {
        metric(&http, &url, "quorate_raft_peer_refusals_total").await > before
    })
    .await;
    while Instant::now() < deadline {
        assert!(!is_ready(&http, &third).await, "a stranger took part");
        sleep(Duration::from_millis(100)).await;
    }
    cluster.replica(3).kill();
    cluster.replica(3).set_wrapper(shows("peer"));
    cluster.replica(3).start();
    until(&cluster, "the replica does not come back", || is_ready(&http, &third)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_joins_over_mutual_tls_and_is_alive_while_it_waits() {
    let (pki, _authority) = Pki::new();
    let foreign = pki.authority("foreign-ca", "somebody else");
    pki.issue("foreign", &foreign);
    let (mut cluster, http) = start(&pki, &[]).await;
    let mut late = Replica::new(4, cluster.dir());
    let known: Vec<String> = cluster.replicas.iter().map(|r| r.peer_addr.clone()).collect();
    let client_url = late.url().replace("http://", "https://");
    let place = [
        format!("--join={}", known.join(",")),
        format!("--peer-listen={}", late.peer_addr),
        format!("--listen={}", late.client_addr),
        format!("--advertise-client={client_url}"),
        format!("--data-dir={}", late.data_dir.display()),
    ];
    let args = |peer: &str| {
        let shown = [
            pki.flag("tls-cert", "client.pem"),
            pki.flag("tls-key", "client.key"),
            pki.flag("peer-tls-ca", "ca.pem"),
            pki.flag("peer-tls-cert", &format!("{peer}.pem")),
            pki.flag("peer-tls-key", &format!("{peer}.key")),
        ];
        place.iter().cloned().chain(shown).collect::<Vec<String>>()
    };
    late.set_args(args("foreign"));
    late.start();
    cluster.replicas.push(late);
    // It is not taken in, and says so; whoever watches the process must not take it for dead.
    until(&cluster, "the waiting replica is not alive", || async {
        let request = Request::get(format!("{client_url}/livez")).body(Full::default()).unwrap();
        let answered = http.send(request, Duration::from_secs(2), 1 << 16).await;
        answered.is_ok_and(|answered| answered.status().is_success())
    })
    .await;
    for path in ["readyz", "readyz?verbose", "api/v3/epoch", "quorate/v1/status"] {
        let (status, body) = ask(&http, &client_url, &format!("GET /{path}"), None).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("[-] joining: not taken in by the cluster yet"), "{path}: {text}");
    }
    let first = secure_url(&cluster, 1);
    let members = async || {
        let (_, body) = ask(&http, &first, "GET /quorate/v1/members", None).await;
        json_of(&body)["members"].as_array().unwrap().clone()
    };
    assert_eq!(members().await.len(), 3, "a stranger was taken in");
    cluster.replica(4).kill();
    assert!(!cluster.replica(4).data_dir.join("identity").exists());
    cluster.replica(4).set_args(args("peer"));
    cluster.replica(4).start();
    until(&cluster, "it is not ready", || is_ready(&http, &client_url)).await;
    until(&cluster, "it has no vote", || async {
        members().await.iter().any(|member| member["id"] == 4 && member["role"] == "voter")
    })
    .await;
    let joined = members().await.into_iter().find(|member| member["id"] == 4).unwrap();
    assert_eq!(joined["client_url"], client_url.as_str());
}

/// Writes through fresh and through kept connections until told to stop; counts, and panics at the
/// first answer that is not a yes.
async fn load(
    pki_http: Http,
    config: PathBuf,
    urls: Vec<String>,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let url = &urls[number % urls.len()];
        let fresh = Http::new(Some(tls::client_config(&config, None).unwrap()));
        let http = if number.is_multiple_of(2) { &fresh } else { &pki_http };
        let request = format!(r#"POST /api/v1/namespaces {{"namespace":"n{number}"}}"#);
        let (status, body) = ask(http, url, &request, None).await;
        assert_eq!(status, StatusCode::CREATED, "{request}: {body:?}");
        done.fetch_add(1, Ordering::Relaxed);
        number += 1;
    }
}

/// The certificate a port shows now.
async fn shown(address: &str, authorities: &std::path::Path) -> Vec<u8> {
    let config = tls::client_config(authorities, None).unwrap();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(config).connect(name, stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_rotated_under_load_without_a_failed_request() {
    let (pki, old) = Pki::new();
    // Clients trust both authorities from the beginning, replicas one after the other.
    let new = pki.authority("new-ca", "the next authority");
    pki.write("both.pem", &format!("{}{}", old.pem(), new.pem()));
    let (cluster, _) = start(&pki, &[]).await;
    let http = Http::new(Some(tls::client_config(&pki.path("both.pem"), None).unwrap()));
    let urls: Vec<String> = (1..=3).map(|id| secure_url(&cluster, id)).collect();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let loading =
        load(http.clone(), pki.path("both.pem"), urls.clone(), stop.clone(), done.clone());
    let loading = tokio::spawn(loading);

    let rotated = |wanted: Vec<u8>| {
        let (cluster, both) = (&cluster, pki.path("both.pem"));
        async move {
            for replica in &cluster.replicas {
                let (address, both, wanted) = (&replica.client_addr, &both, &wanted);
                until(cluster, "the new certificate is not shown", || async move {
                    shown(address, both).await == *wanted
                })
                .await;
            }
        }
    };
    // The same authority, twice; both authorities; the next authority alone.
    for _ in 0..2 {
        pki.issue("peer", &old);
        rotated(pki.issue("client", &old)).await;
    }
    pki.write("ca.pem", &format!("{}{}", old.pem(), new.pem()));
    rotated(pki.issue("client", &old)).await;
    pki.issue("peer", &new);
    rotated(pki.issue("client", &new)).await;
    pki.write("ca.pem", &new.pem());
    rotated(pki.issue("client", &new)).await;

    // What cannot be used is told, and changes nothing.
    let before = shown(&cluster.replicas[0].client_addr, &pki.path("both.pem")).await;
    pki.write("client.pem", "no certificate");
    for url in &urls {
        until(&cluster, "a bad file is not told", || async {
            metric(&http, url, "quorate_tls_files_bad").await > 0.5
        })
        .await;
    }
    assert_eq!(shown(&cluster.replicas[0].client_addr, &pki.path("both.pem")).await, before);
    assert!(cluster.replicas[0].output().contains("the former ones stay in use"));
    rotated(pki.issue("client", &new)).await;

    // A replica that begins anew shakes hands with the others under the next authority.
    let after = done.load(Ordering::Relaxed);
    until(&cluster, "the load does not go on", || async {
        done.load(Ordering::Relaxed) > after + 20
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    loading.await.unwrap();
    assert!(done.load(Ordering::Relaxed) > 100, "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_beyond_its_share_is_told_when_to_come_back() {
    let flags = ["--client-requests-per-s=2", "--client-requests-burst=5"];
    let cluster = Cluster::start(1, &flags).await;
    let url = format!("{}/api/v1/namespaces", cluster.url(1));
    let mut refused = None;
    for _ in 0..20 {
        let answer = cluster.client.get(&url).send().await.unwrap();
        if answer.status().as_u16() == 429 {
            refused = Some(answer);
            break;
        }
        assert!(answer.status().is_success(), "{}", answer.status());
    }
    let refused = refused.expect("twenty requests at once are too many");
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=3).contains(&wait), "{wait}");
    let body: Value = refused.json().await.unwrap();
    assert_eq!(body["error"]["message"], "this client sends too many requests");
    sleep(Duration::from_secs(wait)).await;
    assert!(cluster.client.get(&url).send().await.unwrap().status().is_success());
}
