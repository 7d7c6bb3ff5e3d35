//! What a node answers to each command. Everything here happens at once; what takes time is handed
//! back to the connection.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    cluster,
    core::Core,
    info, keys,
    resp::Reply,
    standin,
    topology::{Entry, Range},
};

const NOAUTH: &str = "NOAUTH Authentication required.";
const LOADING: &str = "LOADING kvrocks is restoring the db from backup";
/// Too few words, or too many.
pub const ARGUMENTS: &str = "wrong number of arguments";

/// What a connection remembers between commands.
#[derive(Debug, Default)]
pub struct Session {
    /// Logged on, or no password was needed when it first spoke.
    pub is_admitted: bool,
    /// Logged on with the password of a namespace.
    pub is_tenant: bool,
    /// `READONLY` was sent.
    pub is_readonly: bool,
    /// `ASKING` was sent just before.
    pub is_asking: bool,
    /// The slots that the node at the other end sends.
    pub importing: Option<Range>,
}

/// What the connection does next.
#[derive(Debug)]
pub enum Step {
    /// Answers.
    Reply(Reply),
    /// Closes without an answer, and the node stops.
    Shutdown,
    /// The node starts again, with its node file or without it.
    Restart {
        /// With its node file.
        keeps_node_file: bool,
    },
    /// Begins a migration; answers at once or at its end.
    Migrate {
        /// Slots.
        range: Range,
        /// Where to.
        to: Arc<Entry>,
        /// Wait for the end, at most so long; a time of 0 sets no limit.
        waits: Option<Duration>,
        /// The connection breaks instead of answering.
        is_answer_lost: bool,
    },
    /// Serves writes to a replica from now on.
    Replicate {
        /// Position of the replica.
        seq: u64,
        /// History of that position.
        history: String,
        /// `host:port` of the replica.
        addr: String,
    },
    /// Answers with the log.
    Log,
    /// Tries again a little later: writes are paused.
    Later,
}

impl From<Reply> for Step {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// Carries a command out.
pub fn run(core: &mut Core, session: &mut Session, words: &[String]) -> Step {
    let name = words[0].to_ascii_uppercase();
    let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
    let asked = std::mem::take(&mut session.is_asking);
    match name.as_str() {
        "AUTH" => return auth(core, session, &args).into(),
        "HELLO" => return hello(core, session, &args).into(),
        // Whoever spoke before there was a password stays.
        _ if core.options.password.is_empty() => session.is_admitted = true,
        _ if !session.is_admitted => {
            return Reply::Error(NOAUTH.to_owned()).into();
        }
        _ => {}
    }
    match name.as_str() {
        "PING" => Reply::Simple("PONG".to_owned()).into(),
        "INFO" => Reply::Bulk(info::info(core, args.first().copied())).into(),
        "ROLE" => info::role(core).into(),
        "READONLY" => {
            session.is_readonly = true;
            Reply::ok().into()
        }
        "READWRITE" => {
            session.is_readonly = false;
            Reply::ok().into()
        }
        "ASKING" => {
            session.is_asking = true;
            Reply::ok().into()
        }
        "CLIENT" => client(core, &args).into(),
        "CONFIG" => config(core, &args).into(),
        "SHUTDOWN" => Step::Shutdown,
        "SLAVEOF" => Reply::err("can't change to slave in cluster mode").into(),
        "CLUSTER" | "CLUSTERX" if core.options.is_standalone => {
            Reply::err("Cluster mode is not enabled").into()
        }
        "CLUSTER" | "CLUSTERX" if session.is_tenant => {
            Reply::err("admin permission required to perform the command").into()
        }
        "CLUSTER" | "CLUSTERX" if core.faults.is_loading => classed(core, LOADING).into(),
        "CLUSTER" => cluster::cluster(core, session, &args).into(),
        "CLUSTERX" => cluster::clusterx(core, &args),
        "STANDIN" => standin::run(core, &args),
        _ if keys::is_key_command(&name) => {
            session.is_asking = asked;
            let step = keys::run(core, session, &name, &args);
            session.is_asking = false;
            step
        }
        _ => {
            let list: Vec<String> = args.iter().map(|arg| format!("`{arg}`")).collect();
            let list = list.join(", ");
            Reply::err(format!("unknown command `{}`, with args beginning with: {list}", words[0]))
                .into()
        }
    }
}

/// An error with a class of its own; old servers put `ERR ` before it.
pub fn classed(core: &Core, text: &str) -> Reply {
    if core.options.has_old_errors { Reply::err(text) } else { Reply::Error(text.to_owned()) }
}

fn auth(core: &Core, session: &mut Session, args: &[&str]) -> Reply {
    if core.options.password.is_empty() {
        return Reply::err("Client sent AUTH, but no password is set");
    }
    let token = &core.options.namespace_token;
    let given = args.last().copied().unwrap_or_default();
    session.is_tenant = !token.is_empty() && given == token;
    if !session.is_tenant && given != core.options.password {
        return Reply::err("Invalid password");
    }
    session.is_admitted = true;
    Reply::ok()
}

/// `HELLO [version [AUTH user password]]`.
fn hello(core: &Core, session: &mut Session, args: &[&str]) -> Reply {
    if let Some(place) = args.iter().position(|word| word.eq_ignore_ascii_case("auth")) {
        let admitted = auth(core, session, &args[place + 1..args.len().min(place + 3)]);
        if admitted != Reply::ok() {
            return admitted;
        }
    } else if !core.options.password.is_empty() && !session.is_admitted {
        return Reply::Error(NOAUTH.to_owned());
    }
    info::hello(core)
}

fn client(core: &mut Core, args: &[&str]) -> Reply {
    match args {
        [word, ..] if !core.options.knows_pause => {
            Reply::err(format!("Syntax error, try CLIENT LIST|INFO|KILL ip:port, not {word}"))
        }
        [word, time, ..] if word.eq_ignore_ascii_case("pause") => match time.parse() {
            Ok(time) => {
                core.paused_until = Some(Instant::now() + Duration::from_millis(time));
                Reply::ok()
            }
            Err(_) => Reply::err("timeout is not an integer or out of range"),
        },
        [word] if word.eq_ignore_ascii_case("unpause") => {
            core.paused_until = None;
            Reply::ok()
        }
        _ => Reply::err("syntax error"),
    }
}

fn config(core: &mut Core, args: &[&str]) -> Reply {
    match args {
        ["SET" | "set", "requirepass", value] => {
            core.options.password = (*value).to_owned();
            Reply::ok()
        }
        ["SET" | "set", "masterauth", value] => {
            core.options.master_password = (*value).to_owned();
            Reply::ok()
        }
        ["SET" | "set", "migrate-type", value] => {
            core.pace.is_raw = *value == "raw-key-value";
            Reply::ok()
        }
        ["SET" | "set", name, value] if name.starts_with("migrate-") => {
            let Ok(number) = value.parse::<u32>() else {
                let fault = "not started as an integer";
                return Reply::err(format!("CONFIG SET '{name}' error: {fault}"));
            };
            match *name {
                "migrate-speed" => core.pace.speed = u64::from(number.max(1)),
                "migrate-pipeline-size" => core.pace.pipeline = number.max(1) as usize,
                "migrate-sequence-gap" => core.pace.gap = number.max(1) as usize,
                _ => return unsupported(name),
            }
            Reply::ok()
        }
        ["SET" | "set", name, _] => unsupported(name),
        _ => Reply::err(ARGUMENTS),
    }
}

fn unsupported(name: &str) -> Reply {
    Reply::err(format!("CONFIG SET '{name}' error: Unsupported CONFIG parameter: {name}"))
}
