//! The `OpenAPI` document of `node.http` and of the control socket, from the types that are answered.
use std::sync::LazyLock;

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse as _, Response},
};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{
    access::{AccessRequest, AccessStatus},
    flow_query::{FlowList, FlowQuery},
    order::{Explained, OperatorRequest},
    trace::TraceRequest,
};
use crate::{
    daemon::{
        cluster::push::{PushReport, PushRequest, StandingReport},
        observe::{
            recent::{Happening, History},
            status::Status,
        },
    },
    trace::TraceLine,
};

/// Where schemas stand in a document.
const SCHEMAS: &str = "/components/schemas";
const HTTP: &str = "node.http";
const CONTROL: &str = "control socket";

/// The answer with the document, which is made when it is first asked for.
pub(in crate::daemon) fn answer() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| document().to_string().into());
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, TEXT.clone()).into_response()
}

/// The document, `OpenAPI` 3.1.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = SCHEMAS.into();
        // The document says once which dialect it is in.
        settings.meta_schema = None;
    });
    let mut paths = Paths {
        types: settings.into_generator(),
        paths: Map::new(),
    };
    paths.of_http();
    paths.of_control();
    let schemas = paths.types.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "lbd",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "What lbd answers on node.http, read-only, and on its control socket.",
            "description": "Operations tagged `node.http` are at the address of `node.http`; there is no \
                password and nothing can be changed there. Those tagged `control socket` are HTTP on the \
                Unix socket `node.control`, which only the service's user and root may open.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [
            {"url": "http://127.0.0.1:9425", "description": "node.http"},
            {"url": "http://localhost", "description": "node.control, a Unix socket"},
        ],
        "tags": [
            {"name": HTTP, "description": "Read-only, by GET."},
            {"name": CONTROL, "description": "What `lbd` the command speaks to the daemon."},
        ],
        "paths": paths.paths,
        "components": {"schemas": schemas},
    })
}

struct Paths {
    types: SchemaGenerator,
    paths: Map<String, Value>,
}

/// What an operation answers.
enum Answer {
    Json(Schema),
    /// Text of these media types.
    Text(&'static [&'static str]),
}

impl Paths {
    fn json<T: JsonSchema>(&mut self) -> Answer {
        Answer::Json(self.types.subschema_for::<T>())
    }

    fn of_http(&mut self) {
        let document = Answer::Json(schemars::json_schema!({"type": "object"}));
        self.get(HTTP, "/api/openapi.json", "This document.", &[], document);
        let page = Answer::Text(&["text/html"]);
        self.get(HTTP, "/", "The dashboard.", &[], page);
        let metrics = Answer::Text(&["application/openmetrics-text", "text/plain"]);
        self.get(HTTP, "/metrics", "Figures for Prometheus.", &[], metrics);
        let status = self.json::<Status>();
        self.get(
            HTTP,
            "/api/status",
            "What `lbd status --json` prints.",
            &[],
            status,
        );
        let events = self.json::<Vec<Happening>>();
        self.get(HTTP, "/api/events", "What happened lately.", &[], events);
        let history = self.json::<History>();
        let text = "Each backend's figures over the last hour.";
        self.get(HTTP, "/api/history", text, &[], history);
        let live = Answer::Text(&["text/event-stream"]);
        self.get(HTTP, "/api/live", "The state each second.", &[], live);
    }

    fn of_control(&mut self) {
        let document = Answer::Json(schemars::json_schema!({"type": "object"}));
        self.get(CONTROL, "/openapi.json", "This document.", &[], document);
        let status = self.json::<Status>();
        self.get(CONTROL, "/status", "What `lbd status` shows.", &[], status);
        let explained = self.json::<Explained>();
        let backend = [("backend", "Only this backend.", "string")];
        let text = "Each backend's weight and the figures behind it.";
        self.get(CONTROL, "/explain", text, &backend, explained);
        let access = self.json::<AccessStatus>();
        let source = [(
            "source",
            "Whether this address may open sessions.",
            "string",
        )];
        self.get(
            CONTROL,
            "/access",
            "Who may open sessions.",
            &source,
            access,
        );
        let events = self.json::<Vec<Happening>>();
        let after = [("after", "Only those after the event of this id.", "integer")];
        self.get(CONTROL, "/events", "What happened lately.", &after, events);
        let history = self.json::<History>();
        let text = "Each backend's figures over the last hour.";
        self.get(CONTROL, "/history", text, &[], history);
        let standings = self.json::<StandingReport>();
        let text = "Which node has which version of the configuration.";
        self.get(CONTROL, "/push", text, &[], standings);
        self.post::<OperatorRequest, String>("/operator", "Drains, undrains, or weighs a backend.");
        self.post::<AccessRequest, String>("/access", "Denies sources, or takes that back.");
        self.post::<PushRequest, PushReport>(
            "/push",
            "Pushes the configuration, or rolls it back.",
        );
        self.post::<FlowQuery, FlowList>("/flows", "Lists sessions; the filters are the body.");
        self.post::<TraceRequest, TraceLine>(
            "/trace",
            "Tells why frames go where they go, a line each, until the time is up.",
        );
    }

    fn get(
        &mut self,
        tag: &str,
        path: &str,
        summary: &str,
        queries: &[(&str, &str, &str)],
        answer: Answer,
    ) {
        let queries = queries.iter().map(|(name, description, kind)| {
            json!({"name": name, "in": "query", "description": description, "schema": {"type": kind}})
        });
        let mut operation = operation(tag, "get", path, summary, answer);
        operation["parameters"] = queries.collect();
        self.add(path, "get", operation);
    }

    fn post<Q: JsonSchema, A: JsonSchema>(&mut self, path: &str, summary: &str) {
        let answer = self.json::<A>();
        let asked = self.types.subschema_for::<Q>();
        let mut operation = operation(CONTROL, "post", path, summary, answer);
        operation["requestBody"] = json!({
            "required": true,
            "content": {"application/json": {"schema": asked}},
        });
        operation["responses"]["409"] = plain("Refused; the sentence says why.");
        self.add(path, "post", operation);
    }

    fn add(&mut self, path: &str, method: &str, operation: Value) {
        let methods = self.paths.entry(path).or_insert_with(|| json!({}));
        methods[method] = operation;
    }
}

fn operation(tag: &str, method: &str, path: &str, summary: &str, answer: Answer) -> Value {
    let content: Map<String, Value> = match answer {
        Answer::Json(schema) => {
            Map::from_iter([("application/json".to_owned(), json!({"schema": schema}))])
        }
        Answer::Text(kinds) => kinds
            .iter()
            .map(|kind| ((*kind).to_owned(), json!({"schema": {"type": "string"}})))
            .collect(),
    };
    let words = path.split(['/', '.']).filter(|word| !word.is_empty());
    let words: Vec<&str> = [method].into_iter().chain(words).collect();
    json!({
        "operationId": words.join("_"),
        "summary": summary,
        "tags": [tag],
        "responses": {
            "200": {"description": summary, "content": content},
            "503": plain("The daemon is stopping."),
        },
    })
}

fn plain(description: &str) -> Value {
    json!({
        "description": description,
        "content": {"text/plain": {"schema": {"type": "string"}}},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_has_a_name_of_its_own_and_its_answers() {
        let document = document();
        let mut names = BTreeSet::new();
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap();
                assert!(names.insert(name.to_owned()), "{name} of {path} twice");
                let answer = &operation["responses"]["200"];
                assert!(answer["content"].is_object(), "{method} {path}");
                assert_eq!(operation["requestBody"].is_object(), method == "post");
            }
        }
    }

    #[test]
    fn a_public_parser_resolves_every_operation() {
        let spec = oas3::from_json(document().to_string()).unwrap();
        assert_eq!(spec.validate_version().unwrap().minor, 1);
        let mut operations = 0;
        for (path, method, operation) in spec.operations() {
            operations += 1;
            let responses = operation.responses(&spec);
            assert!(responses.contains_key("200"), "{method} {path}");
            let parameters = operation.parameters(&spec).unwrap();
            assert!(
                parameters
                    .iter()
                    .all(|parameter| parameter.schema.is_some())
            );
            assert_eq!(
                operation.request_body(&spec).unwrap().is_some(),
                method == "POST",
                "{method} {path}"
            );
        }
        let written = document()["paths"].as_object().unwrap().clone();
        let written = written
            .values()
            .map(|methods| methods.as_object().unwrap().len());
        assert_eq!(operations, written.sum::<usize>());
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        fn look(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(members) => {
                    for (name, member) in members {
                        match member {
                            Value::String(to) if name == "$ref" => drop(found.insert(to.clone())),
                            member => look(member, found),
                        }
                    }
                }
                Value::Array(members) => members.iter().for_each(|member| look(member, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = BTreeSet::new();
        look(&document, &mut found);
        assert!(found.len() > 20, "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn the_paths_are_those_that_are_served() {
        let served = |source: &str| -> BTreeSet<String> {
            let routes = source.split(".route(").skip(1);
            let path = |route: &str| Some(route.split('"').nth(1)?.to_owned());
            routes.filter_map(path).collect()
        };
        let mut expected = served(include_str!("../observe/web/mod.rs"));
        expected.extend(served(include_str!("control.rs")));
        let document = document();
        let written = document["paths"].as_object().unwrap().keys().cloned();
        assert_eq!(written.collect::<BTreeSet<_>>(), expected);
    }

    /// `LBD_WRITE=1 cargo test --workspace --lib openapi` writes it anew.
    #[test]
    fn the_document_in_deploy_is_that_of_the_types() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../deploy/schemas/openapi.json"
        );
        if std::env::var_os("LBD_WRITE").is_some() {
            let text = serde_json::to_string_pretty(&document()).unwrap();
            std::fs::write(file, text + "\n").unwrap();
        }
        let written: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(written, document());
    }
}
