//! Stands in for nodes in unit tests: answers by the script, with every fault on request.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::*;

/// What a node does with a command.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Answers this text.
    Text(String),
    /// Answers this error; its whole text.
    Error(String),
    /// Refuses the connection; it never hears the command.
    Refuses,
    /// Hears the command and never answers; the caller waits out its time.
    Silent,
    /// Hears the command, and the connection breaks before the answer.
    Lost,
    /// Answers something that is no text.
    Garbage,
}

impl Behaviour {
    /// Answers `OK`.
    pub(crate) fn ok() -> Self {
        Self::Text("OK".to_owned())
    }

    /// Hears commands.
    fn hears(&self) -> bool {
        !matches!(self, Self::Refuses)
    }
}

#[derive(Default)]
struct Script {
    /// By the first words of a command.
    behaviours: BTreeMap<String, VecDeque<Behaviour>>,
    password: String,
}

#[derive(Default)]
struct Nodes {
    scripts: BTreeMap<String, Script>,
    heard: Vec<(String, String)>,
}

/// Nodes by address. The script with the most words in common answers a command; each command
/// takes the next behaviour of its script, the last one stays. A node that is in no script refuses.
#[derive(Default)]
pub(crate) struct FakeNodes(Mutex<Nodes>);

impl FakeNodes {
    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Scripts what the node at `addr` does with commands that begin with these words, in place
    /// of what was scripted for them before; empty words stand for every command.
    pub(crate) fn script(&self, addr: &str, words: &str, script: &[Behaviour]) {
        let mut nodes = self.lock();
        let node = nodes.scripts.entry(addr.to_owned()).or_default();
        node.behaviours.insert(words.to_owned(), script.iter().cloned().collect());
    }

    /// As [`script`](Self::script), in a row.
    pub(crate) fn with(self, addr: &str, words: &str, script: &[Behaviour]) -> Self {
        self.script(addr, words, script);
        self
    }

    /// The node at `addr` wants this password.
    pub(crate) fn lock_up(&self, addr: &str, password: &str) {
        let mut nodes = self.lock();
        password.clone_into(&mut nodes.scripts.entry(addr.to_owned()).or_default().password);
    }

    /// Address and words of every command that reached a node, oldest first, and forgets them.
    pub(crate) fn take_heard(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.lock().heard)
    }

    fn admit(&self, node: NodeAccess<'_>) -> Result<(), NodeError> {
        let nodes = self.lock();
        let Some(script) = nodes.scripts.get(node.addr) else { return Err(refused(node.addr)) };
        let Password::Readable(given) = node.password else {
            let source = OpenError::UnknownKey { key_id: "fake".to_owned() };
            return Err(NodeError::Sealed { addr: node.addr.to_owned(), source });
        };
        let text = match (script.password.as_str(), given) {
            (wanted, given) if wanted == given => return Ok(()),
            ("", _) => "ERR Client sent AUTH, but no password is set",
            (_, "") => "NOAUTH Authentication required.",
            _ => "ERR Invalid password",
        };
        Err(NodeError::Refused { addr: node.addr.to_owned(), text: text.to_owned() })
    }

    fn next(&self, addr: &str, command: &str) -> Behaviour {
        let mut nodes = self.lock();
        let begins = |words: &str| {
            let rest = command.strip_prefix(words);
            rest.is_some_and(|rest| words.is_empty() || rest.is_empty() || rest.starts_with(' '))
        };
        let script = nodes.scripts.get_mut(addr).and_then(|script| {
            let fitting = script.behaviours.iter_mut().filter(|(words, _)| begins(words));
            fitting.max_by_key(|(words, _)| words.len()).map(|(_, behaviours)| behaviours)
        });
        let behaviour = match script {
            Some(script) if script.len() > 1 => script.pop_front(),
            Some(script) => script.front().cloned(),
            None => None,
        };
        let behaviour = behaviour.unwrap_or(Behaviour::Refuses);
        if behaviour.hears() {
            nodes.heard.push((addr.to_owned(), command.to_owned()));
        }
        behaviour
    }
}

fn refused(addr: &str) -> NodeError {
    let source = io::ErrorKind::ConnectionRefused.into();
    NodeError::Connect { addr: addr.to_owned(), source }
}

impl NodeCall for FakeNodes {
    fn exchange<'a>(
        &'a self,
        node: NodeAccess<'a>,
        commands: &'a [&'a [&'a str]],
        time: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, NodeError>> {
        Box::pin(async move {
            let addr = || node.addr.to_owned();
            self.admit(node)?;
            let mut answers = Vec::new();
            for command in commands {
                match self.next(node.addr, &command.join(" ")) {
                    Behaviour::Text(text) => answers.push(text),
                    Behaviour::Error(text) => {
                        return Err(NodeError::Refused { addr: addr(), text });
                    }
                    Behaviour::Refuses => return Err(refused(node.addr)),
                    Behaviour::Silent => {
                        tokio::time::sleep(time).await;
                        return Err(NodeError::Timeout { addr: addr() });
                    }
                    Behaviour::Lost => {
                        let source = io::ErrorKind::UnexpectedEof.into();
                        return Err(NodeError::Broken { addr: addr(), source });
                    }
                    Behaviour::Garbage => return Err(NodeError::Protocol { addr: addr() }),
                }
            }
            Ok(answers)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn scripts_are_followed_and_what_reached_a_node_is_known() {
        let nodes = FakeNodes::default()
            .with("a:1", "", &[Behaviour::ok()])
            .with("a:1", "CLUSTERX SETNODES", &[Behaviour::Lost, Behaviour::ok()])
            .with("a:1", "CLUSTER INFO", &[Behaviour::Error("ERR no".to_owned())])
            .with("b:1", "", &[Behaviour::Silent])
            .with("c:1", "", &[Behaviour::Refuses, Behaviour::Garbage]);
        let time = Duration::from_millis(5);
        let push: [&[&str]; 2] =
            [&["CLUSTERX", "SETNODEID", "x"], &["CLUSTERX", "SETNODES", "t", "1"]];
        let ask = async |addr, password| {
            let told = nodes
                .exchange(NodeAccess { addr, password: Password::Readable(password) }, &push, time)
                .await;
            told.map_err(|error| error.to_string())
        };
        let lost = ask("a:1", "").await.unwrap_err();
        assert!(lost.starts_with("a:1 closed the connection"), "{lost}");
        assert_eq!(ask("a:1", "").await.unwrap(), ["OK", "OK"]);
        let access = NodeAccess { addr: "a:1", password: Password::Readable("") };
        let refused = nodes.call(access, &["CLUSTER", "INFO"], time).await.unwrap_err();
        assert_eq!((refused.to_string(), refused.is_answer()), ("ERR no".to_owned(), true));
        assert_eq!(nodes.call(access, &["CLUSTER", "NODES"], time).await.unwrap(), "OK");
        let heard = nodes.take_heard();
        assert_eq!(heard.last().unwrap().1, "CLUSTER NODES");
        let pushes = heard[..4].to_vec();
        let expected = ["SETNODEID x", "SETNODES t 1", "SETNODEID x", "SETNODES t 1"];
        let expected = expected.map(|words| ("a:1".to_owned(), format!("CLUSTERX {words}")));
        assert_eq!(pushes, expected);
        assert_eq!(ask("b:1", "").await.unwrap_err(), "b:1 did not answer in time");
        assert_eq!(nodes.take_heard().len(), 1);
        assert!(ask("c:1", "").await.unwrap_err().starts_with("c:1 cannot be reached"));
        assert_eq!(nodes.take_heard(), []);
        assert_eq!(ask("c:1", "").await.unwrap_err(), "c:1 answered something that is no text");
        assert!(ask("d:1", "").await.unwrap_err().starts_with("d:1 cannot be reached"));
        nodes.lock_up("a:1", "secret");
        assert_eq!(ask("a:1", "wrong").await.unwrap_err(), "ERR Invalid password");
        assert_eq!(ask("a:1", "").await.unwrap_err(), "NOAUTH Authentication required.");
        assert_eq!(ask("a:1", "secret").await.unwrap(), ["OK", "OK"]);
    }
}
