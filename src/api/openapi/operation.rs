//! One operation of a document: a method and a path, what it takes, and every way it is answered.

use serde_json::{Map, Value, json};

/// What a body has in it.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Nothing.
    Empty,
    /// JSON of a schema.
    Json(Value),
    /// Text, with an example.
    Text(String),
    /// Bytes of a media type.
    Bytes(&'static str),
    /// JSON of a schema, or a form with the same members.
    JsonOrForm(Value),
    /// JSON of a schema, or a stream of events.
    JsonOrStream(Value),
    /// Lines, each of which is JSON of a schema.
    Lines(Value),
}

impl Content {
    fn value(&self) -> Option<Value> {
        Some(match self {
            Self::Empty => return None,
            Self::Json(schema) => json!({ "application/json": { "schema": schema } }),
            Self::Text(example) => {
                let schema = json!({ "type": "string", "examples": [example] });
                json!({ "text/plain": { "schema": schema } })
            }
            Self::Bytes(media_type) => json!({ *media_type: {} }),
            Self::JsonOrForm(schema) => json!({
                "application/json": { "schema": schema },
                "application/x-www-form-urlencoded": { "schema": schema },
            }),
            Self::JsonOrStream(schema) => json!({
                "application/json": { "schema": schema },
                "text/event-stream": { "schema": { "type": "string" } },
            }),
            // Each line is one item, which this version of OpenAPI has no word for.
            Self::Lines(schema) => json!({
                "application/x-ndjson": { "schema": { "type": "string" }, "x-line-schema": schema },
            }),
        })
    }
}

/// An operation. Changes unless its method is GET.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) value: Value,
    pub(super) parameters: Vec<Value>,
    pub(super) responses: Map<String, Value>,
    pub(super) is_change: bool,
    pub(super) reads_state: bool,
    pub(super) is_guarded: bool,
}

impl Operation {
    /// An operation without parameters and answers.
    pub(crate) fn new(
        method: &'static str,
        path: &str,
        id: &str,
        tag: &str,
        summary: &str,
    ) -> Self {
        let is_change = method != "GET";
        Self {
            method,
            path: path.to_owned(),
            value: json!({ "operationId": id, "tags": [tag], "summary": summary }),
            parameters: Vec::new(),
            responses: Map::new(),
            is_change,
            reads_state: !is_change,
            is_guarded: true,
        }
    }

    /// More about it.
    pub(crate) fn says(mut self, text: &str) -> Self {
        self.value["description"] = json!(text);
        self
    }

    /// Reads what the replica itself knows, so no consistency can be asked for.
    pub(crate) const fn of_this_replica(mut self) -> Self {
        self.reads_state = false;
        self
    }

    /// Reads the state, whatever its method says.
    pub(crate) const fn into_read(mut self) -> Self {
        (self.is_change, self.reads_state) = (false, true);
        self
    }

    /// Changes something, whatever its method says.
    pub(crate) const fn into_change(mut self) -> Self {
        (self.is_change, self.reads_state) = (true, false);
        self
    }

    /// Answered to everybody in every condition.
    pub(crate) const fn open(mut self) -> Self {
        (self.is_guarded, self.is_change, self.reads_state) = (false, false, false);
        self
    }

    /// A parameter of the query string that may be left out.
    pub(crate) fn query(mut self, name: &str, schema: Value, text: &str) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "query", "required": false, "schema": schema, "description": text,
        }));
        self
    }

    /// A parameter of the query string that must be there.
    pub(crate) fn must_query(self, name: &str, schema: Value, text: &str) -> Self {
        let mut operation = self.query(name, schema, text);
        if let Some(parameter) = operation.parameters.last_mut() {
            parameter["required"] = json!(true);
        }
        operation
    }

    /// A header that may be left out.
    pub(crate) fn header(mut self, name: &str, schema: Value, text: &str) -> Self {
        self.parameters.push(json!({
            "name": name, "in": "header", "required": false, "schema": schema, "description": text,
        }));
        self
    }

    /// A body that must be there.
    pub(crate) fn takes(self, content: &Content) -> Self {
        self.body(content, true)
    }

    /// A body that may be left out.
    pub(crate) fn may_take(self, content: &Content) -> Self {
        self.body(content, false)
    }

    fn body(mut self, content: &Content, is_required: bool) -> Self {
        if let Some(content) = content.value() {
            self.value["requestBody"] = json!({ "required": is_required, "content": content });
        }
        self
    }

    /// An example of the body.
    pub(crate) fn example(mut self, example: &Value) -> Self {
        if let Some(contents) = self.value["requestBody"]["content"].as_object_mut() {
            for content in contents.values_mut() {
                content["example"] = example.clone();
            }
        }
        self
    }

    /// One way it is answered.
    pub(crate) fn answers(mut self, status: u16, text: &str, content: &Content) -> Self {
        let is_done = self.is_change && self.is_guarded && status < 300;
        let response = response(status, text, content, is_done);
        self.responses.insert(status.to_string(), response);
        self
    }

    /// Whether it changes something.
    pub(crate) const fn is_change(&self) -> bool {
        self.is_change
    }

    pub(super) fn has_body(&self) -> bool {
        self.value.get("requestBody").is_some()
    }

    /// Names between braces in the path.
    pub(super) fn path_parameters(&self) -> Vec<String> {
        let parts = self.path.split('{').skip(1);
        parts.filter_map(|part| part.split_once('}')).map(|(name, _)| name.to_owned()).collect()
    }
}

/// An answer with the headers that answers of this kind have.
pub(super) fn response(status: u16, text: &str, content: &Content, is_done: bool) -> Value {
    let mut names = vec!["Quorate-Index", "Quorate-Term", "Quorate-Leader", "Quorate-Age-Ms"];
    if is_done {
        names.push("Quorate-Request-Id");
    }
    if matches!(status, 429 | 503) {
        names.push("Retry-After");
    }
    if status == 401 {
        names.push("WWW-Authenticate");
    }
    let reference = |name: &str| json!({ "$ref": format!("#/components/headers/{name}") });
    let headers: Map<String, Value> =
        names.into_iter().map(|name| (name.to_owned(), reference(name))).collect();
    let mut response = json!({ "description": text, "headers": headers });
    if let Some(content) = content.value() {
        response["content"] = content;
    }
    response
}

/// Headers of answers, which documents refer to.
pub(super) fn headers() -> Value {
    let integer = json!({ "type": "integer", "minimum": 0 });
    let header = |schema: &Value, text: &str| json!({ "schema": schema, "description": text });
    json!({
        "Quorate-Index": header(&integer, "Log index of the state that was read, or of the change."),
        "Quorate-Term": header(&integer, "Term of the replica that answers."),
        "Quorate-Leader": header(
            &json!({ "type": "string", "pattern": "^([0-9]+|none)$" }),
            "Id of the leader as the replica knows it, or `none`.",
        ),
        "Quorate-Age-Ms": header(&integer, "Milliseconds since the replica last knew itself current."),
        "Quorate-Request-Id": header(
            &json!({ "type": "string", "pattern": "^[0-9a-f]{32}$" }),
            "Id of the change; as `Idempotency-Key` of a repetition it makes that harmless.",
        ),
        "Retry-After": header(&integer, "Seconds after which asking again makes sense."),
        "WWW-Authenticate": header(&json!({ "type": "string" }), "`Bearer`."),
    })
}
