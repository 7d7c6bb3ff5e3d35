//! Writes one OpenAPI 3.1 document: operations in, JSON out.
//!
//! Schemas come from the types that handlers encode and decode, by [`schemars`]: an answer's as it
//! is written, a body's as it is read. What all operations of a document share (headers, refusals)
//! is said once and added to each.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::operation::{Content, Operation};

/// Where schemas lie in a document.
const SCHEMAS: &str = "#/components/schemas/";

/// One document that is being written.
pub(crate) struct Book {
    title: String,
    description: String,
    answers: SchemaGenerator,
    bodies: SchemaGenerator,
    tags: Vec<Value>,
    path_parameters: BTreeMap<&'static str, Value>,
    /// For every operation; and for those that read, and those that change.
    parameters: Vec<(For, Value)>,
    refusals: Vec<Refusal>,
    chosen: Vec<(&'static str, usize)>,
    operations: Vec<Operation>,
}

/// Which operations something is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// All that are guarded.
    All,
    /// Those that read the state.
    Reads,
    /// Those that change something.
    Changes,
    /// Those that take a body.
    Bodies,
}

impl For {
    fn takes(self, operation: &Operation) -> bool {
        match self {
            Self::All => operation.is_guarded,
            Self::Reads => operation.reads_state,
            Self::Changes => operation.is_guarded && operation.is_change,
            Self::Bodies => operation.is_guarded && operation.has_body(),
        }
    }
}

/// An answer that many operations may give.
struct Refusal {
    whose: For,
    status: u16,
    text: &'static str,
    content: Content,
}

impl Refusal {
    /// Its name among those of the document.
    fn name(&self) -> String {
        format!("{}Of{:?}", self.status, self.whose)
    }
}

impl Book {
    /// A document without operations.
    pub(crate) fn new(title: &str, description: &str) -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        });
        Self {
            title: title.to_owned(),
            description: description.to_owned(),
            answers: settings.clone().for_serialize().into_generator(),
            bodies: settings.for_deserialize().into_generator(),
            tags: Vec::new(),
            path_parameters: BTreeMap::new(),
            parameters: Vec::new(),
            refusals: Vec::new(),
            chosen: Vec::new(),
            operations: Vec::new(),
        }
    }

    /// A group of operations.
    pub(crate) fn tag(&mut self, name: &str, text: &str) {
        self.tags.push(json!({ "name": name, "description": text }));
    }

    /// What `{name}` stands for in paths.
    pub(crate) fn path_parameter(&mut self, name: &'static str, schema: Value, text: &str) {
        let parameter = json!({
            "name": name, "in": "path", "required": true, "schema": schema, "description": text,
        });
        self.path_parameters.insert(name, parameter);
    }

    /// A header or a query parameter of many operations.
    pub(crate) fn parameter(&mut self, whose: For, parameter: Value) {
        self.parameters.push((whose, parameter));
    }

    /// An answer of many operations; one that an operation describes itself wins.
    pub(crate) fn refusal(
        &mut self,
        whose: For,
        status: u16,
        text: &'static str,
        content: &Content,
    ) {
        self.refusals.push(Refusal { whose, status, text, content: content.clone() });
    }

    /// Schema of what is answered, as it is written.
    pub(crate) fn answer<T: JsonSchema>(&mut self) -> Value {
        self.answers.subschema_for::<T>().to_value()
    }

    /// Schema of what is sent, as it is read.
    pub(crate) fn body<T: JsonSchema>(&mut self) -> Value {
        let mut schema = self.bodies.subschema_for::<T>().to_value();
        rename_references(&mut schema, &input_name);
        schema
    }

    /// Of a type that looks different in different profiles, only one form belongs here.
    pub(crate) fn choose(&mut self, name: &'static str, form: usize) {
        self.chosen.push((name, form));
    }

    /// Adds an operation.
    pub(crate) fn add(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// The whole document.
    pub(crate) fn finish(mut self) -> Value {
        let mut paths = Map::new();
        for operation in std::mem::take(&mut self.operations) {
            let method = operation.method.to_ascii_lowercase();
            let item = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
            item[method] = self.operation(operation);
        }
        let responses: Map<String, Value> = self
            .refusals
            .iter()
            .map(|refusal| {
                let Refusal { status, text, content, .. } = refusal;
                (refusal.name(), super::operation::response(*status, text, content, false))
            })
            .collect();
        let mut schemas = self.schemas();
        let mut document = json!({
            "openapi": "3.1.0",
            "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
            "info": {
                "title": self.title,
                "description": self.description,
                "version": env!("CARGO_PKG_VERSION"),
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/", "description": "The replica that answers this document." }],
            "tags": self.tags,
            "paths": paths,
            "components": {
                "headers": super::operation::headers(),
                "responses": responses,
                "securitySchemes": { "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token made with `quorate ctl token create`. What may be done \
                                    without one is a matter of the listener's configuration.",
                } },
            },
            // Either is enough, as far as the listener's configuration lets those without a token.
            "security": [{}, { "token": [] }],
        });
        keep_used(&document, &mut schemas);
        document["components"]["schemas"] = Value::Object(schemas);
        document
    }

    fn operation(&self, operation: Operation) -> Value {
        let mut value = operation.value.clone();
        let names = operation.path_parameters();
        let mut parameters: Vec<Value> = names
            .iter()
            .map(|name| {
                self.path_parameters.get(name.as_str()).cloned().unwrap_or_else(|| {
                    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })
                })
            })
            .collect();
        parameters.extend(operation.parameters.iter().cloned());
        let shared = self.parameters.iter().filter(|(whose, _)| whose.takes(&operation));
        parameters.extend(shared.map(|(_, parameter)| parameter.clone()));
        if !parameters.is_empty() {
            value["parameters"] = Value::Array(parameters);
        }
        let mut responses = operation.responses.clone();
        for refusal in self.refusals.iter().filter(|refusal| refusal.whose.takes(&operation)) {
            let reference = json!({ "$ref": format!("#/components/responses/{}", refusal.name()) });
            responses.entry(refusal.status.to_string()).or_insert(reference);
        }
        value["responses"] = Value::Object(responses);
        if !operation.is_guarded {
            value["security"] = json!([{}]);
        }
        value
    }

    /// Every schema that was asked for, those of bodies under names of their own.
    fn schemas(&mut self) -> Map<String, Value> {
        let mut schemas = self.answers.take_definitions(true);
        for (name, form) in &self.chosen {
            let forms = schemas.get(*name).and_then(|schema| schema["anyOf"].as_array());
            let Some(form) = forms.and_then(|forms| forms.get(*form)).cloned() else { continue };
            if let Some(schema) = schemas.get_mut(*name) {
                let description = schema["description"].take();
                *schema = form;
                if !description.is_null() && schema.get("$ref").is_none() {
                    schema["description"] = description;
                }
            }
        }
        for (name, mut schema) in self.bodies.take_definitions(true) {
            rename_references(&mut schema, &input_name);
            schemas.insert(input_name(&name), schema);
        }
        schemas.values_mut().for_each(plain);
        schemas
    }
}

/// What is read is named apart from what is written: the two may differ in what is required.
fn input_name(name: &str) -> String {
    format!("{name}Input")
}

/// Comments of the code, as people read them who do not see the code.
fn plain(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`").replace("`None`", "null");
            }
            // A list of so many of one kind, which more readers of schemas understand.
            let alike = members.get("prefixItems").and_then(Value::as_array).and_then(|items| {
                let first = items.first()?;
                items.iter().all(|item| item == first).then(|| first.clone())
            });
            if let Some(item) = alike {
                members.remove("prefixItems");
                members.insert("items".to_owned(), item);
            }
            members.values_mut().for_each(plain);
        }
        Value::Array(items) => items.iter_mut().for_each(plain),
        _ => {}
    }
}

fn rename_references(value: &mut Value, rename: &dyn Fn(&str) -> String) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let name = member.as_str().and_then(|text| text.strip_prefix(SCHEMAS));
                match name.filter(|_| key == "$ref") {
                    Some(name) => *member = json!(format!("{SCHEMAS}{}", rename(name))),
                    None => rename_references(member, rename),
                }
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| rename_references(item, rename));
        }
        _ => {}
    }
}

/// Leaves out what nothing refers to: forms that were not chosen.
fn keep_used(document: &Value, schemas: &mut Map<String, Value>) {
    let mut used = BTreeSet::new();
    let mut wanted = references(document);
    while let Some(name) = wanted.pop() {
        if let Some(schema) = schemas.get(&name)
            && used.insert(name)
        {
            wanted.extend(references(schema));
        }
    }
    schemas.retain(|name, _| used.contains(name));
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|text| text.strip_prefix(SCHEMAS)).map(ToOwned::to_owned);
            own.into_iter().chain(members.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Inner {
        text: Option<String>,
    }

    #[derive(Serialize, JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Either {
        First(Inner),
        Second { number: u64 },
    }

    fn document() -> Value {
        let mut book = Book::new("title", "text");
        let (answer, body) = (book.answer::<Either>(), book.body::<Inner>());
        book.choose("Either", 0);
        book.refusal(For::All, 400, "bad", &Content::Text("no".to_owned()));
        let operation = Operation::new("PUT", "/x/{id}", "put", "tag", "summary");
        let operation =
            operation.takes(&Content::Json(body)).answers(200, "done", &Content::Json(answer));
        book.add(operation);
        book.finish()
    }

    #[test]
    fn what_is_written_and_what_is_read_have_schemas_of_their_own() {
        let document = document();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        assert_eq!(schemas.keys().collect::<Vec<_>>(), ["Either", "Inner", "InnerInput"]);
        assert_eq!(schemas["Inner"]["required"], json!(["text"]), "null is written");
        assert_eq!(schemas["InnerInput"].get("required"), None, "absent is read");
        assert_eq!(schemas["Either"]["$ref"], "#/components/schemas/Inner", "the chosen form");
    }

    #[test]
    fn parameters_and_refusals_of_all_are_added_to_each() {
        let document = document();
        let put = &document["paths"]["/x/{id}"]["put"];
        assert_eq!(put["parameters"][0]["name"], "id");
        let statuses: Vec<_> = put["responses"].as_object().unwrap().keys().collect();
        assert_eq!(statuses, ["200", "400"]);
    }
}
