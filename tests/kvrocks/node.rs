//! A port that speaks RESP and answers from a table: enough of a node for requests that ask one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const UNINITIALISED: &str = "-CLUSTERDOWN The cluster is not initialized\r\n";

#[derive(Default)]
struct Talk {
    replies: BTreeMap<String, String>,
    heard: Vec<String>,
}

/// A node; it stops with its value.
pub struct Node {
    /// `127.0.0.1:port`.
    pub addr: String,
    talk: Arc<Mutex<Talk>>,
    serving: JoinHandle<()>,
}

impl Node {
    /// Starts a node without a topology. Whatever it has no answer for, it answers `+OK`.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let talk = Arc::new(Mutex::new(Talk::default()));
        let shared = Arc::clone(&talk);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        let node = Self { addr, talk, serving };
        node.answer("CLUSTER INFO", UNINITIALISED);
        node.answer("CLUSTER NODES", UNINITIALISED);
        node
    }

    /// Sets the whole reply to a command.
    pub fn answer(&self, command: &str, reply: &str) {
        self.talk.lock().unwrap().replies.insert(command.to_owned(), reply.to_owned());
    }

    /// Sets the text a command is answered with.
    pub fn say(&self, command: &str, text: &str) {
        self.answer(command, &format!("${}\r\n{text}\r\n", text.len()));
    }

    /// Behaves as a member of a cluster.
    pub fn join(&self, epoch: u64, role: &str, sequence: u64) {
        self.say("CLUSTER INFO", &format!("cluster_state:ok\r\ncluster_current_epoch:{epoch}\r\n"));
        let link = if role == "slave" { "master_link_status:up\r\n" } else { "" };
        self.say("INFO", &format!("role:{role}\r\n{link}sequence:{sequence}\r\n"));
    }

    /// Commands it was sent so far.
    pub fn heard(&self) -> Vec<String> {
        self.talk.lock().unwrap().heard.clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(stream: TcpStream, talk: Arc<Mutex<Talk>>) {
    let mut stream = BufReader::new(stream);
    while let Some(command) = read(&mut stream).await {
        let reply = {
            let mut talk = talk.lock().unwrap();
            talk.heard.push(command.clone());
            talk.replies.get(&command).cloned().unwrap_or_else(|| "+OK\r\n".to_owned())
        };
        if stream.get_mut().write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let words = number(stream, '*').await?;
    let mut command = Vec::new();
    for _ in 0..words {
        let length = number(stream, '$').await?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        command.push(String::from_utf8(word).ok()?);
    }
    Some(command.join(" "))
}

async fn number(stream: &mut BufReader<TcpStream>, sign: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(sign)?.parse().ok()
}
