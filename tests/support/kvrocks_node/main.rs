//! Stand-in nodes as a program: `kvrocks-node [--port N] [--host ADDRESS] [--count N] [--dir DIR]
//! [--password TEXT] [--masterauth TEXT] [--rsid-psync] [--old-errors] [--no-pause] [--standalone]`.
//!
//! It says the address of each node on a line of its own and runs until it is killed. With a count
//! the ports ascend from the given one, and each node has a directory below the given one. The
//! command `STANDIN` switches faults while it runs. Keys are in memory; the node file is kept in
//! the directory.

#[path = "mod.rs"]
mod kvrocks_node;

use std::{error::Error, path::PathBuf};

use kvrocks_node::{Node, Options};

/// What the flags say.
#[derive(Default)]
struct Wish {
    port: u16,
    count: u16,
    dir: Option<PathBuf>,
    options: Options,
}

impl Wish {
    fn read(mut args: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut wish = Self { count: 1, ..Self::default() };
        wish.options.knows_pause = true;
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            let options = &mut wish.options;
            match flag.as_str() {
                "--port" => wish.port = value()?.parse()?,
                "--count" => wish.count = value()?.parse()?,
                "--host" => options.host = value()?,
                "--dir" => wish.dir = Some(value()?.into()),
                "--password" => {
                    options.password = value()?;
                    options.master_password.clone_from(&options.password);
                }
                "--masterauth" => options.master_password = value()?,
                "--rsid-psync" => options.compares_histories = true,
                "--old-errors" => options.has_old_errors = true,
                "--no-pause" => options.knows_pause = false,
                "--standalone" => options.is_standalone = true,
                _ => return Err(format!("unknown flag {flag}").into()),
            }
        }
        Ok(wish)
    }
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "whoever starts it needs the ports")]
async fn main() -> Result<(), Box<dyn Error>> {
    let wish = Wish::read(std::env::args().skip(1))?;
    for number in 0..wish.count {
        let port = if wish.port == 0 { 0 } else { wish.port + number };
        let mut options = wish.options.clone();
        options.dir = wish.dir.as_ref().map(|dir| match wish.count {
            1 => dir.clone(),
            _ => dir.join(number.to_string()),
        });
        if let Some(dir) = &options.dir {
            std::fs::create_dir_all(dir)?;
        }
        let mut node = Node::start(port, options).await?;
        println!("{}", node.addr);
        tokio::spawn(async move {
            loop {
                let keeps_node_file = node.restart_wished().await;
                node.restart(keeps_node_file).await.expect("the port is still ours");
            }
        });
    }
    std::future::pending().await
}
