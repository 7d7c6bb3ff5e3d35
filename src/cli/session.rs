//! How replicas are asked and how answers are said.

use std::{error::Error, fmt::Write, time::Duration};

use reqwest::Method;
use serde_json::Value;

use super::{
    client::{self, ClientError, Request},
    ctl::Shape,
    exit::Exit,
    output,
};
use crate::clock;

/// What a verb comes to; the error is for people.
pub(super) type Done = Result<(), Box<dyn Error + Send + Sync>>;

/// Time for one answer, unless a verb knows better.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// Everything committed so far, please.
const LINEARIZABLE: [(&str, &str); 1] = [("quorate-consistency", "linearizable")];
/// Shown instead of passwords.
const HIDDEN: &str = "******";

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    /// A replica said no.
    #[error("{message}")]
    Refused {
        /// The status.
        status: u16,
        /// The replica's text.
        message: String,
        /// Whether it was a change whose outcome the replica does not know.
        is_in_doubt: bool,
    },
    /// No replica could be asked.
    #[error(transparent)]
    NotAsked(#[from] ClientError),
    /// The answer is not what was asked for.
    #[error("{endpoint} answered something else")]
    Strange {
        /// Who answered.
        endpoint: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Replicas to ask and the shape of what is said.
#[derive(Debug)]
pub(super) struct Session {
    endpoints: Vec<String>,
    shape: Shape,
    profile: Option<&'static str>,
}

impl Session {
    pub(super) const fn new(endpoints: Vec<String>, shape: Shape) -> Self {
        Self { endpoints, shape, profile: None }
    }

    /// The same, with answers as in this profile, whatever the listener's own is.
    pub(super) fn with_profile(self, profile: &'static str) -> Self {
        Self { profile: Some(profile), ..self }
    }

    /// A session with each endpoint alone.
    pub(super) fn each(&self) -> impl Iterator<Item = Self> {
        self.endpoints.iter().map(|endpoint| Self {
            endpoints: vec![endpoint.clone()],
            shape: self.shape,
            profile: self.profile,
        })
    }

    /// Whether programs read what is said.
    pub(super) fn is_json(&self) -> bool {
        self.shape == Shape::Json
    }

    /// Everything committed so far, as the first replica that can tell shows it.
    pub(super) async fn get(&self, path: &str) -> Result<Value, SessionError> {
        self.ask(Method::GET, path, None, &LINEARIZABLE, PATIENCE).await.map(data)
    }

    /// The same of an answer that has no envelope.
    pub(super) async fn get_bare(&self, path: &str) -> Result<Value, SessionError> {
        self.ask(Method::GET, path, None, &LINEARIZABLE, PATIENCE).await
    }

    /// What the first replica that answers has now, current or not.
    pub(super) async fn get_local(&self, path: &str) -> Result<Value, SessionError> {
        self.ask(Method::GET, path, None, &[], PATIENCE).await.map(data)
    }

    /// Asks for a change.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, SessionError> {
        self.change_within(method, path, body, PATIENCE).await
    }

    /// Asks for a change that may take some time.
    pub(super) async fn change_within(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        patience: Duration,
    ) -> Result<Value, SessionError> {
        self.change_bare(method, path, body, patience).await.map(data)
    }

    /// The same of an answer that has no envelope. The change happens once, also if the answer of
    /// one replica is lost and another is asked: both are asked under the same key.
    pub(super) async fn change_bare(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        patience: Duration,
    ) -> Result<Value, SessionError> {
        let key = clock::random_id().iter().fold(String::new(), |mut key, byte| {
            // Writing to a string cannot fail.
            let _ = write!(key, "{byte:02x}");
            key
        });
        self.ask(method, path, body.as_ref(), &[("idempotency-key", &key)], patience).await
    }

    /// Asks one replica after the other until one decides.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&'static str, &str)],
        patience: Duration,
    ) -> Result<Value, SessionError> {
        let mut all = headers.to_vec();
        all.extend(self.profile.map(|profile| ("quorate-profile", profile)));
        let mut last = None;
        for endpoint in &self.endpoints {
            let request = Request { method: method.clone(), path, headers: &all, body, patience };
            let error = match client::send(endpoint, request).await {
                Ok(text) => return read(endpoint, &text),
                Err(error) => error,
            };
            let is_final = match &error {
                ClientError::Refused { status, is_for_later, .. } => {
                    !is_for_later && status.as_u16() != 504
                }
                ClientError::Unreachable { .. }
                | ClientError::Lost { .. }
                | ClientError::Strange { .. } => false,
            };
            // Whoever was asked before may have carried it out; that nobody else can be reached
            // does not change it.
            let is_in_doubt = |error: &ClientError| Exit::of(error) == Exit::Unknown;
            if !last.as_ref().is_some_and(is_in_doubt) || is_final || is_in_doubt(&error) {
                last = Some(error);
            }
            if is_final {
                break;
            }
        }
        Err(match last {
            Some(ClientError::Refused { status, message, is_in_doubt, .. }) => {
                SessionError::Refused { status: status.as_u16(), message, is_in_doubt }
            }
            Some(error) => error.into(),
            None => {
                let (endpoint, reason) = ("nobody".to_owned(), "no endpoint was given".to_owned());
                ClientError::Unreachable { endpoint, reason }.into()
            }
        })
    }

    /// Says what a change came to: a line for people, the data for programs.
    pub(super) fn report(&self, data: Value, line: &str) -> Done {
        if self.is_json() {
            return say_json(data);
        }
        output::say(line);
        Ok(())
    }

    /// Says what was asked for: rows for people, the data for programs.
    pub(super) fn show(&self, data: Value, rows: impl FnOnce(&Value) -> Vec<Vec<String>>) -> Done {
        if self.is_json() {
            return say_json(data);
        }
        output::say_table(&rows(&data));
        Ok(())
    }
}

/// Says data without its passwords.
fn say_json(mut data: Value) -> Done {
    hide_passwords(&mut data);
    output::say_json(&data)?;
    Ok(())
}

fn read(endpoint: &str, text: &str) -> Result<Value, SessionError> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let strange = |source| SessionError::Strange { endpoint: endpoint.to_owned(), source };
    serde_json::from_str(text).map_err(strange)
}

/// What an envelope is around.
fn data(mut answer: Value) -> Value {
    answer.get_mut("data").map(Value::take).unwrap_or_default()
}

fn hide_passwords(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member {
                    Value::String(text) if key == "password" && !text.is_empty() => {
                        *member = HIDDEN.into();
                    }
                    _ => hide_passwords(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(hide_passwords),
        _ => {}
    }
}

/// A cell: text as it is, nothing as a dash, anything else as JSON.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The items of a list; an absent list has none.
pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The members of a value, one a row.
pub(super) fn members(value: &Value) -> Vec<Vec<String>> {
    let members = value.as_object().into_iter().flatten();
    members.map(|(key, value)| vec![key.clone(), cell(value)]).collect()
}

/// Text as a segment of a path, or as a value of a query string.
pub(super) fn segment(text: &str) -> String {
    let mut path = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            _ => drop(write!(path, "%{byte:02X}")),
        }
    }
    path
}

/// A row of a table.
pub(super) fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn passwords_are_hidden_wherever_they_are() {
        let mut value = json!({"shards":[{"nodes":[{"password":"s"},{"password":""}]}],"a":"s"});
        hide_passwords(&mut value);
        let nodes = json!([{"password":HIDDEN},{"password":""}]);
        assert_eq!(value, json!({"shards":[{"nodes":nodes}],"a":"s"}));
    }

    #[test]
    fn data_is_taken_out_of_its_envelope() {
        assert_eq!(data(read("e", "").unwrap()), Value::Null);
        assert_eq!(data(read("e", r#"{"data":[1]}"#).unwrap()), json!([1]));
        assert!(read("e", "<html>").is_err());
    }
}
