//! The stand-in's own command, `STANDIN`: replication between stand-ins, and the switches of the
//! faults for whoever has no value of [`Node`](super::Node) in the hand.

use super::{
    command::Step,
    core::Core,
    options::{Finish, Instead, Next},
    resp::Reply,
};

const USAGE: &str = "STANDIN REPLICATE seq history addr | FAULT name number | \
    NEXT reply|unanswered|unheard|silence text words... | FINISH success|fail|lost | \
    SEQUENCE number | LOG | RESTART keep|lose";
const FAULTS: &str = "fault is silent, delay-ms, loading, refusing, no-link, hold-migrations, \
    failing-migrations, lost-pushes, lost-migrate-answers or refused-roles";

/// Carries it out.
pub fn run(core: &mut Core, args: &[&str]) -> Step {
    let verb = args.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    match (verb.as_str(), &args[args.len().min(1)..]) {
        ("REPLICATE", [seq, history, addr]) => match seq.parse() {
            Ok(seq) => {
                Step::Replicate { seq, history: (*history).to_owned(), addr: (*addr).to_owned() }
            }
            Err(_) => Reply::err("position is no number").into(),
        },
        ("FAULT", [name, value]) => fault(core, name, value).into(),
        ("NEXT", [instead, text, words @ ..]) => next(core, instead, text, words).into(),
        ("FINISH", [how]) => match *how {
            "success" => finish(core, Finish::Success),
            "fail" => finish(core, Finish::Fail),
            "lost" => finish(core, Finish::Lost),
            _ => Reply::err(USAGE),
        }
        .into(),
        ("SEQUENCE", [number]) => match number.parse() {
            Ok(number) => {
                core.store.jump(number);
                Reply::ok().into()
            }
            Err(_) => Reply::err("position is no number").into(),
        },
        ("LOG", []) => Step::Log,
        ("RESTART", ["keep"]) => Step::Restart { keeps_node_file: true },
        ("RESTART", ["lose"]) => Step::Restart { keeps_node_file: false },
        _ => Reply::err(USAGE).into(),
    }
}

fn finish(core: &mut Core, how: Finish) -> Reply {
    core.finish(how);
    Reply::ok()
}

fn next(core: &mut Core, instead: &str, text: &str, words: &[&str]) -> Reply {
    let instead = match instead.to_ascii_lowercase().as_str() {
        "reply" => Instead::Reply(format!("{text}\r\n")),
        "unanswered" => Instead::Unanswered,
        "unheard" => Instead::Unheard,
        "silence" => Instead::Silence,
        _ => return Reply::err(USAGE),
    };
    core.faults.next.push(Next::new(&words.join(" "), instead));
    Reply::ok()
}

fn fault(core: &mut Core, name: &str, value: &str) -> Reply {
    let Ok(number) = value.parse::<u32>() else { return Reply::err("value is no number") };
    let faults = &mut core.faults;
    match name.to_ascii_lowercase().as_str() {
        "silent" => faults.is_silent = number != 0,
        "delay-ms" => faults.delay_ms = u64::from(number),
        "loading" => faults.is_loading = number != 0,
        "refusing" => faults.is_refusing = number != 0,
        "no-link" => faults.has_no_link = number != 0,
        "hold-migrations" => faults.holds_migrations = number != 0,
        "failing-migrations" => faults.failing_migrations = number,
        "lost-pushes" => faults.lost_pushes = number,
        "lost-migrate-answers" => faults.lost_migrate_answers = number,
        "refused-roles" => faults.refused_roles = number,
        _ => return Reply::err(FAULTS),
    }
    Reply::ok()
}
