//! Against ports that answer well, badly, late or not at all.

use tokio::{io::AsyncReadExt, net::TcpListener};

use super::*;

const SOON: Duration = Duration::from_millis(300);

/// Answers each command it is sent with the next of `answers`, and tells what was sent.
async fn node(answers: &'static [&'static [u8]]) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut sent = Vec::new();
        for answer in answers {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).await.unwrap();
            sent.extend_from_slice(&bytes[..count]);
            stream.write_all(answer).await.unwrap();
        }
        String::from_utf8(sent).unwrap()
    });
    (addr, serving)
}

async fn ask(addr: &str, password: &str) -> Result<String, NodeError> {
    RespNodeCall.call(NodeAccess { addr, password }, &["CLUSTER", "INFO"], SOON).await
}

#[tokio::test]
async fn texts_come_back_and_the_password_goes_first() {
    let (addr, serving) = node(&[b"+OK\r\n", b"$5\r\na:1\r\n\r\n"]).await;
    assert_eq!(ask(&addr, "pw").await.unwrap(), "a:1\r\n");
    let sent = serving.await.unwrap();
    assert_eq!(sent, "*2\r\n$4\r\nAUTH\r\n$2\r\npw\r\n*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n");
}

#[tokio::test]
async fn errors_keep_the_words_of_the_node() {
    let (addr, _serving) = node(&[b"-CLUSTERDOWN The cluster is not initialized\r\n"]).await;
    let error = ask(&addr, "").await.unwrap_err();
    assert_eq!(error.to_string(), "CLUSTERDOWN The cluster is not initialized");
    assert!(error.is_answer());
    let (addr, _serving) = node(&[b"-ERR Invalid password\r\n"]).await;
    let error = ask(&addr, "hunter2").await.unwrap_err();
    assert_eq!(error.to_string(), "ERR Invalid password");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn broken_silent_and_absent_nodes_are_errors_that_name_the_node() {
    let (addr, _serving) = node(&[b"$10\r\nshort"]).await;
    assert!(matches!(ask(&addr, "").await, Err(NodeError::Broken { .. })));
    let (addr, _serving) = node(&[b"*1\r\n$1\r\na\r\n"]).await;
    assert!(matches!(ask(&addr, "").await, Err(NodeError::Protocol { .. })));
    let (addr, _serving) = node(&[b"$-1\r\n"]).await;
    assert!(matches!(ask(&addr, "").await, Err(NodeError::Protocol { .. })));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let error = ask(&addr, "").await.unwrap_err();
    assert_eq!(error.to_string(), format!("{addr} did not answer in time"));
    drop(silent);
    let error = ask(&addr, "").await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{addr} cannot be reached")), "{error}");
    assert!(!error.is_answer());
}
