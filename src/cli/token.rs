//! `quorate ctl token`: who may do what.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Outcome, client,
    consent::Consent,
    ctl::{self, Shape},
    output,
};

const TOKENS: &str = "/quorate/v1/tokens";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a token and show it, this once.
    Create {
        /// How much it may: read, operate (change what a family keeps) or admin (everything).
        #[arg(long, value_enum)]
        role: RoleName,
        /// What for.
        #[arg(long, default_value = "")]
        name: String,
        /// The one family it is for; all if not given.
        #[arg(long, value_enum)]
        family: Option<FamilyName>,
        /// The one namespace it is for; with --family kvrocks.
        #[arg(long)]
        namespace: Option<String>,
        /// Seconds until it ends; never if not given.
        #[arg(long)]
        ttl_s: Option<u64>,
    },
    /// List all tokens, without their secrets.
    List,
    /// End a token.
    Revoke {
        /// Its id, as listed.
        id: String,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum RoleName {
    Read,
    Operate,
    Admin,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FamilyName {
    Undermoon,
    Kvrocks,
    Cello,
    Admin,
}

pub(super) async fn run(verb: &Verb, endpoints: &[String], shape: Shape) -> Outcome {
    let (endpoint, _) = ctl::any(endpoints).await?;
    match verb {
        Verb::Create { role, name, family, namespace, ttl_s } => {
            let word = |name: String| name.to_ascii_lowercase();
            let body = json!({
                "role": word(format!("{role:?}")),
                "name": name,
                "family": family.map(|family| word(format!("{family:?}"))),
                "namespace": namespace,
                "ttl_s": ttl_s,
            });
            let made: Value = client::call(&endpoint, Method::POST, TOKENS, Some(&body)).await?;
            match shape {
                Shape::Json => output::say_json(&made)?,
                Shape::Table => output::say(made["token"].as_str().unwrap_or_default()),
            }
        }
        Verb::List => {
            let found: Value = client::call(&endpoint, Method::GET, TOKENS, None).await?;
            match shape {
                Shape::Json => output::say_json(&found["tokens"])?,
                Shape::Table => output::say_table(&table(&found["tokens"])),
            }
        }
        Verb::Revoke { id, consent } => {
            if !id.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(
                    format!("{id} is no id of a token; see `quorate ctl token list`").into()
                );
            }
            consent.to(&format!("whoever uses token {id} will be refused"))?;
            let path = format!("{TOKENS}/{id}");
            let _: Value = client::call(&endpoint, Method::DELETE, &path, None).await?;
            match shape {
                Shape::Json => output::say_json(&json!({ "id": id }))?,
                Shape::Table => output::say(&format!("token {id} is revoked")),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(tokens: &Value) -> Vec<Vec<String>> {
    let head = ["ID", "NAME", "ROLE", "FAMILY", "NAMESPACE", "CREATED_MS", "EXPIRES_MS", "BY"];
    let members =
        ["id", "name", "role", "family", "namespace", "created_ms", "expires_ms", "created_by"];
    let cell = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for token in tokens.as_array().into_iter().flatten() {
        rows.push(members.iter().map(|member| cell(&token[*member])).collect());
    }
    rows
}
