//! Against ports that answer well, badly, late or not at all.

use std::time::Duration;

use tokio::{io::AsyncReadExt, net::TcpListener, task::JoinHandle};

use super::{
    super::{
        node_call::{NodeAccess, NodeCall, Password},
        node_pool::NodePool,
    },
    *,
};
use crate::seal::{KeyRing, Purpose};

const SOON: Duration = Duration::from_millis(300);

/// Answers each command it is sent with the next of `answers`, and tells what was sent.
async fn node(answers: Vec<Vec<u8>>) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = Vec::new();
        for answer in answers {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).await.unwrap();
            sent.extend_from_slice(&bytes[..count]);
            // The client may have seen enough.
            let _ = stream.write_all(&answer).await;
        }
        String::from_utf8(sent).unwrap()
    });
    (addr, serving)
}

async fn ask(addr: &str, password: &str) -> Result<String, NodeError> {
    let pool = NodePool::default();
    pool.call(
        NodeAccess { addr, password: Password::Readable(password) },
        &["CLUSTER", "INFO"],
        SOON,
    )
    .await
}

#[tokio::test]
async fn texts_come_back_and_the_password_goes_first() {
    let (addr, serving) = node(vec![b"+OK\r\n".to_vec(), b"$5\r\na:1\r\n\r\n".to_vec()]).await;
    assert_eq!(ask(&addr, "pw").await.unwrap(), "a:1\r\n");
    let sent = serving.await.unwrap();
    assert_eq!(sent, "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n");
}

/// What a node's answer is to the caller: a text, or the text of the error.
async fn check(answer: &[u8], expected: Result<&str, &str>) {
    let (addr, _serving) = node(vec![answer.to_vec()]).await;
    let found = ask(&addr, "").await.map_err(|error| error.to_string().replace(&addr, "@"));
    let found = found.as_deref().map_err(String::as_str);
    assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(&answer[..answer.len().min(99)]));
}

#[tokio::test]
async fn every_answer_is_passed_on_as_it_was_sent() {
    check(b"+PONG\r\n", Ok("PONG")).await;
    check(b"+OK\r\n", Ok("OK")).await;
    check(b"+\r\n", Ok("")).await;
    check(b":-7\r\n", Ok("-7")).await;
    check(b"$0\r\n\r\n", Ok("")).await;
    check(b"$3\r\n\xff\r\n\r\n", Ok("\u{fffd}\r\n")).await;
    check(b"=8\r\ntxt:a: 1\r\n", Ok("a: 1")).await;
    let long = "x".repeat(300_000);
    check(format!("${}\r\n{long}\r\n", long.len()).as_bytes(), Ok(&long)).await;
    for words in [
        "CLUSTERDOWN The cluster is not initialized",
        "ERR CLUSTERDOWN The cluster is not initialized",
        "ERR Can't migrate slot which doesn't belong to me",
        "ERR  two blanks ",
        "ERR",
        "",
        "MOVED 7629 127.0.0.1:7770",
        "LOADING kvrocks is restoring the db from backup",
        "TRYAGAIN Can't write to slot being migrated which is in write forbidden phase",
        "ERR unknown command `PING`, with args beginning with: `a`, ",
        "newclass with detail",
    ] {
        check(format!("-{words}\r\n").as_bytes(), Err(words)).await;
    }
}

#[tokio::test]
async fn what_is_no_text_is_an_error_that_names_the_node() {
    let no_text = Err("@ answered something that is no text");
    check(b"$-1\r\n", no_text).await;
    check(b"*1\r\n$1\r\na\r\n", no_text).await;
    check(b"HTTP/1.1 400 Bad Request\r\n\r\n", no_text).await;
    check(b"$x\r\n", no_text).await;
    check(b"+OK\r\n+OK\r\n", no_text).await;
    check(b"+\xff\r\n", no_text).await;
    check(&b"*1\r\n".repeat(200), no_text).await;
    let endless = usize::try_from(ANSWER_BYTES_MAX).unwrap() + 99;
    check(&[b"$999999999999\r\n".to_vec(), vec![b'a'; endless]].concat(), no_text).await;
    check(b"$10\r\nshort", Err("@ closed the connection: unexpected end of file")).await;
}

#[tokio::test]
async fn a_password_is_in_no_text_even_if_the_node_repeats_it() {
    let echo = b"-ERR unknown command `AUTH`, with args beginning with: `hunter2`, \r\n";
    for (answer, expected) in [
        (&echo[..], REPEATS_SECRET),
        (b"-ERR Invalid password\r\n", "ERR Invalid password"),
        (b"-ERR something else\r\n", "ERR something else"),
    ] {
        let (addr, _serving) = node(vec![answer.to_vec()]).await;
        let error = ask(&addr, "hunter2").await.unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!format!("{error:?}").contains("hunter2"));
    }
    let (addr, _serving) = node(vec![b"-ERR Invalid password\r\n".to_vec()]).await;
    let error = ask(&addr, "password").await.unwrap_err();
    assert_eq!(error.to_string(), "ERR Invalid password", "callers look for these words");
    let access = NodeAccess { addr: "a:1", password: Password::Readable("hunter2") };
    assert_eq!(format!("{access:?}"), "NodeAccess { addr: \"a:1\", .. }");
}

#[tokio::test]
async fn a_sealed_password_is_sent_opened_and_nobody_is_asked_without_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    crate::seal::add_key(&path, "k1", &[1; 32], false).unwrap();
    let keys = KeyRing::load(&path).unwrap();
    let sealed = keys.seal(0, Purpose::NodePassword, &[3; 16], "hunter2").unwrap();
    let (addr, serving) = node(vec![b"+OK\r\n".to_vec(), b"$2\r\nhi\r\n".to_vec()]).await;
    let access = NodeAccess { addr: &addr, password: Password::Sealed(&sealed) };
    let blind = NodePool::default();
    let error = blind.call(access, &["PING"], SOON).await.unwrap_err();
    assert!(matches!(error, NodeError::Sealed { .. }) && !error.is_answer(), "{error}");
    assert!(error.to_string().contains("secrets_key_file"), "{error}");
    let pool = NodePool::new(None, keys);
    assert_eq!(pool.call(access, &["PING"], SOON).await.unwrap(), "hi");
    let sent = serving.await.unwrap();
    assert!(sent.contains("AUTH\r\n$7\r\nhunter2\r\n"), "{sent}");
}

#[tokio::test]
async fn silent_and_absent_nodes_are_errors_that_name_the_node() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let error = ask(&addr, "").await.unwrap_err();
    assert_eq!(error.to_string(), format!("{addr} did not answer in time"));
    drop(silent);
    let error = ask(&addr, "").await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{addr} cannot be reached")), "{error}");
    assert!(!error.is_answer());
    let error = ask("no port", "").await.unwrap_err();
    assert!(matches!(error, NodeError::Connect { .. }), "{error:?}");
}

#[tokio::test]
async fn an_exchange_ends_with_the_first_error_and_sends_no_more() {
    let answers = [&b"+OK\r\n"[..], b"-ERR Invalid cluster version\r\n", b"+OK\r\n"];
    let (addr, serving) = node(answers.map(<[u8]>::to_vec).to_vec()).await;
    let pool = NodePool::default();
    let access = NodeAccess { addr: &addr, password: Password::Readable("") };
    let commands: [&[&str]; 3] = [&["ONE"], &["TWO"], &["THREE"]];
    let error = pool.exchange(access, &commands, SOON).await.unwrap_err();
    assert_eq!(error.to_string(), "ERR Invalid cluster version");
    assert!(error.is_answer());
    // The connection is still good, so the next command goes over the same.
    assert_eq!(pool.call(access, &["FOUR"], SOON).await.unwrap(), "OK");
    let sent = serving.await.unwrap();
    assert_eq!(sent, "*1\r\n$3\r\nONE\r\n*1\r\n$3\r\nTWO\r\n*1\r\n$4\r\nFOUR\r\n");
}
