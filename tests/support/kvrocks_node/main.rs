//! The stand-in node as a program: `kvrocks-node [--port N] [--dir DIR] [--password TEXT]`.
//!
//! It says its address on standard output and runs until it is killed. `STANDIN FAULT name value`
//! switches its faults. Keys are in memory; the node file is kept in the directory.

#[path = "mod.rs"]
mod kvrocks_node;

use std::error::Error;

use kvrocks_node::{Node, Options};

#[tokio::main]
#[allow(clippy::print_stdout, reason = "whoever starts it needs the port")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut port = 0;
    let mut options = Options { knows_pause: true, ..Options::default() };
    let mut args = std::env::args().skip(1);
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--port" => port = value.parse()?,
            "--dir" => options.dir = Some(value.into()),
            "--password" => {
                options.password.clone_from(&value);
                options.master_password = value;
            }
            _ => return Err(format!("unknown flag {flag}").into()),
        }
    }
    let node = Node::start(port, options).await?;
    println!("{}", node.addr);
    std::future::pending().await
}
