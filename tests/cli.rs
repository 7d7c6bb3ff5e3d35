//! The program as scripts and people meet it: exit codes, streams, questions, completion.

#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use nix::sys::signal::Signal;
use quorate::cli::exit::Exit;
use serde_json::Value;
use support::{
    cluster::Cluster,
    process::{PROGRAM, free_port},
};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    task::{JoinHandle, spawn_blocking},
};

/// Runs the program without a terminal.
async fn run(words: &str) -> Output {
    let words: Vec<String> = words.split_whitespace().map(ToOwned::to_owned).collect();
    let ran = spawn_blocking(move || {
        Command::new(PROGRAM).args(&words).env_clear().stdin(Stdio::null()).output().unwrap()
    });
    ran.await.unwrap()
}

/// Runs the program, which must end so and say nothing on one of the streams.
async fn ends(words: &str, exit: Exit) -> String {
    let output = run(words).await;
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(exit.code().into()), "{words}: {out}{err}");
    let (said, silent) = if exit == Exit::Done { (out, err) } else { (err, out) };
    assert!(!said.is_empty() && silent.is_empty(), "{words}: {said:?} and {silent:?}");
    said
}

#[test]
fn the_guide_and_the_help_list_the_exit_codes() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let guide = fs::read_to_string(guide).unwrap();
    let rows = guide.split("| exit code | meaning |\n|---|---|\n").nth(1).unwrap();
    let rows: Vec<_> = rows.lines().take_while(|line| line.starts_with('|')).collect();
    let wanted = Exit::ALL.map(|exit| format!("| {} | {} |", exit.code(), exit.meaning()));
    assert_eq!(rows, wanted);
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for exit in Exit::ALL {
        let line = format!("  {:<4} {}", exit.code(), exit.meaning());
        assert!(help.lines().any(|shown| shown == line), "{line} is not in {help}");
    }
}

#[tokio::test]
async fn exit_codes_tell_what_became_of_a_command() {
    let mut cluster = Cluster::start(3, &["--request-timeout-ms", "1500"]).await;
    let leader = cluster.wait_leader().await;
    let url = cluster.url(leader);
    let dead = format!("127.0.0.1:{}", free_port());

    let shown = ends(&format!("ctl -H {url} status -o json"), Exit::Done).await;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown.as_array().unwrap().len(), 3);
    ends(&format!("ctl -H {url} kvrocks create namespace shop"), Exit::Done).await;

    let said = ends(&format!("ctl -H {url} kvrocks create namespace shop"), Exit::Failed).await;
    assert!(said.contains("already exists"), "{said}");
    ends(&format!("ctl -H {url} members promote 99"), Exit::Failed).await;
    ends("ctl nonsense", Exit::Usage).await;
    ends("ctl members promote no-number", Exit::Usage).await;

    for verb in ["status", "settings get", "kvrocks list namespaces", "kvrocks create namespace x"]
    {
        ends(&format!("ctl -H {dead} {verb}"), Exit::Unreachable).await;
    }
    // One of several that lives is enough, wherever it stands.
    for verb in ["status", "settings get", "token list", "kvrocks list namespaces", "pool stat"] {
        ends(&format!("ctl --endpoints {dead},{url} {verb}"), Exit::Done).await;
    }

    for id in (1..=3).filter(|id| *id != leader) {
        cluster.replica(id).signal(Signal::SIGSTOP);
    }
    // The leader takes it and cannot commit it.
    ends(&format!("ctl -H {url} kvrocks create namespace other"), Exit::Unknown).await;
}

/// Takes requests and answers none.
async fn deaf() -> (String, JoinHandle<()>) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = port.local_addr().unwrap().to_string();
    let served = tokio::spawn(async move {
        while let Ok((mut stream, _)) = port.accept().await {
            // Read, so that the client sees an end and no reset before it has sent.
            drop(stream.read(&mut [0; 65_536]).await);
        }
    });
    (address, served)
}

#[tokio::test]
async fn a_lost_answer_to_a_change_is_in_doubt_and_to_a_question_it_is_not() {
    let (address, served) = deaf().await;
    let dead = format!("127.0.0.1:{}", free_port());
    let words = format!("ctl -H {address},{dead} kvrocks create namespace shop");
    let said = ends(&words, Exit::Unknown).await;
    assert!(said.contains("may have happened"), "{said}");
    ends(&format!("ctl -H {address} kvrocks list namespaces"), Exit::Unreachable).await;
    served.abort();
}

#[tokio::test]
async fn what_destroys_is_refused_without_a_terminal_and_asks_at_one() {
    let cluster = Cluster::start(1, &[]).await;
    let url = cluster.url(1);
    ends(&format!("ctl -H {url} kvrocks create namespace shop"), Exit::Done).await;
    let verb = format!("ctl -H {url} kvrocks delete namespace shop");
    let said = ends(&verb, Exit::Failed).await;
    assert!(said.contains("there is no terminal to ask at, say --yes"), "{said}");
    for (answer, exit, wanted) in [
        ("n", Exit::Failed, "nothing was changed"),
        ("y", Exit::Done, "delete namespace: shop successfully."),
    ] {
        let line = format!("{PROGRAM} {verb}");
        let ran = spawn_blocking(move || at_terminal(&line, answer));
        let output = ran.await.unwrap();
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(shown.contains("namespace shop will be deleted. Go on? [y/N]"), "{shown}");
        assert!(shown.contains(wanted), "{shown}");
        assert_eq!(output.status.code(), Some(exit.code().into()), "{shown}");
    }
}

/// Runs a line at a terminal of its own, and types an answer.
fn at_terminal(line: &str, answer: &str) -> Output {
    let mut child = Command::new("script")
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Kept until the end: without a keyboard the terminal would go away.
    let mut keyboard = child.stdin.take().unwrap();
    writeln!(keyboard, "{answer}").unwrap();
    let output = child.wait_with_output().unwrap();
    drop(keyboard);
    output
}

#[tokio::test]
async fn shells_take_the_completion() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ends(&format!("completion {shell}"), Exit::Done).await;
        for word in ["kvrocks", "transfer-leader", "force-new-cluster", "--endpoint"] {
            let word = if shell == "fish" { word.trim_start_matches("--") } else { word };
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let script = ends("completion bash", Exit::Done).await;
    // What a person would see after typing `quorate ctl mem` and the tabulator.
    let typed = "COMP_WORDS=(quorate ctl mem) COMP_CWORD=2\n_quorate quorate mem ctl\n";
    let shown = "echo \"${COMPREPLY[@]}\"\n";
    let dir = TempDir::with_prefix("quorate-completion-").unwrap();
    let path = dir.path().join("typed");
    fs::write(&path, format!("{script}\n{typed}{shown}")).unwrap();
    let output = Command::new("bash").arg(path).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "members", "{output:?}");
}
