//! The description of the HTTP API, from the table of actions and the schema.

use serde_json::{Map, Value, json};

use crate::domain::actions::{self, Action, Shape};
use crate::jobber::input::json_schema;
use crate::jobber::schema::Document;
use crate::jobber::{API_VERSION, scopes};

/// The whole document, in `OpenAPI` 3.1.
pub fn description() -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for action in actions::all() {
        let path = format!("/api/v1/accounts/{{account}}/{}/{}", action.noun, action.verb);
        let mut methods = json!({"post": operation(action, &mut schemas)});
        if !action.writes() {
            methods["get"] = reading(action);
        }
        paths.insert(path, methods);
    }
    paths.insert("/api/v1/accounts/{account}/api".to_owned(), json!({"post": {
        "operationId": "api",
        "summary": "Sends any GraphQL document to Jobber",
        "parameters": [account(), idempotency_key(false)],
        "requestBody": body(json!({
            "type": "object",
            "required": ["query"],
            "properties": {
                "query": {"type": "string"},
                "variables": {"type": "object"},
                "operationName": {"type": "string"},
                "yes": {"type": "boolean", "description": "A mutation needs it, and the header Idempotency-Key."},
            },
        })),
        "responses": responses(),
    }}));
    paths.insert(
        "/api/v1/asks/{id}/review".to_owned(),
        json!({"post": {
            "operationId": "asks.review",
            "summary": "Tells about the review that came of an ask",
            "parameters": [{
                "name": "id", "in": "path", "required": true, "schema": {"type": "string"},
                "description": "The webhook-id of the ask",
            }],
            "requestBody": body(json!({
                "type": "object",
                "required": ["rating"],
                "properties": {
                    "rating": {"type": "number", "minimum": 0, "maximum": 10},
                    "text": {"type": "string"},
                    "url": {"type": "string", "format": "uri"},
                },
            })),
            "responses": responses(),
        }}),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "jobber-reviewd",
            "version": "1",
            "description": format!("Actions in Jobber (API version {API_VERSION}) and reviews of asks."),
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas,
        },
    })
}

fn operation(action: &'static Action, schemas: &mut Map<String, Value>) -> Value {
    let flags: Map<String, Value> =
        action.flags.iter().map(|flag| (flag.name.to_owned(), json!({"description": flag.about}))).collect();
    let mut properties = Map::from_iter([(
        "with".to_owned(),
        json!({"type": "object", "description": "Flags, as the command line has them", "properties": flags, "additionalProperties": false}),
    )]);
    if let Some((kind, _)) = action.target {
        let description = format!("The {}, by anything that names one", kind.as_str());
        properties.insert("target".to_owned(), json!({"type": "string", "description": description}));
    }
    let document = Document::parse(action.document, None).ok();
    if let Some((_, ty)) =
        document.iter().flat_map(Document::variables).find(|(name, _)| Some(name.as_str()) == action.variable)
    {
        properties.insert("input".to_owned(), json_schema(&ty, schemas));
    }
    if let Shape::List { takes_text, .. } = action.shape {
        if takes_text {
            properties.insert("text".to_owned(), json!({"type": "string"}));
        }
        properties
            .insert("limit".to_owned(), json!({"type": "integer", "minimum": 0, "description": "0 is all"}));
        properties.insert("sort".to_owned(), json!({"type": "string"}));
    }
    if action.writes() {
        properties.insert("clear".to_owned(), json!({"type": "array", "items": {"type": "string"}}));
        properties.insert("yes".to_owned(), json!({"type": "boolean"}));
    }
    let mut parameters = vec![account()];
    parameters.extend(action.writes().then(|| idempotency_key(true)));
    json!({
        "operationId": action.name(),
        "summary": action.about,
        "description": format!("Needs the permission `{}` and the scope {}.", action.name(), scopes::label(action.scope)),
        "parameters": parameters,
        "requestBody": body(json!({"type": "object", "properties": properties, "additionalProperties": false})),
        "responses": responses(),
    })
}

fn reading(action: &'static Action) -> Value {
    let mut parameters = vec![account()];
    let query = |name: &str, about: &str, is_needed: bool| json!({"name": name, "in": "query", "required": is_needed, "description": about, "schema": {"type": "string"}});
    let is_possible = !matches!(action.shape, Shape::Impossible(_));
    parameters.extend(
        action.target.map(|_| query("target", "The record, by anything that names one", is_possible)),
    );
    if let Shape::List { .. } = action.shape {
        parameters.push(query("text", "What to look for", false));
        parameters.push(query("limit", "How many rows; 0 is all", false));
        parameters.push(query("sort", "A key of Jobber's, and :asc or :desc", false));
    }
    parameters.extend(action.flags.iter().map(|flag| query(flag.name, flag.about, false)));
    json!({
        "operationId": format!("{}.get", action.name()),
        "summary": action.about,
        "parameters": parameters,
        "responses": responses(),
    })
}

fn account() -> Value {
    json!({
        "name": "account", "in": "path", "required": true, "schema": {"type": "string"},
        "description": "The account, by id or name",
    })
}

fn idempotency_key(is_needed: bool) -> Value {
    json!({
        "name": "Idempotency-Key", "in": "header", "required": is_needed, "schema": {"type": "string", "maxLength": 200},
        "description": "Under one key a write is done once; the same key again gives the first outcome",
    })
}

fn body(schema: Value) -> Value {
    json!({"content": {"application/json": {"schema": schema}}})
}

fn responses() -> Value {
    json!({
        "200": {"description": "Done; for reads the record or the rows"},
        "400": {"description": "The request cannot be read"},
        "401": {"description": "The key is missing or not known"},
        "403": {"description": "The key, the settings or the app's scopes do not allow it"},
        "404": {"description": "Not found"},
        "409": {"description": "The Idempotency-Key was used for something else, or is under way"},
        "422": {"description": "Refused, by Jobber or because the input is wrong; nothing was done"},
        "424": {"description": "Done in part, or it is not known whether it was done; it is not sent again"},
        "429": {"description": "Too many requests"},
        "503": {"description": "Jobber or the store cannot be reached; nothing was done"},
    })
}
