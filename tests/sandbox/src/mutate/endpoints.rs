//! Webhook endpoints: one for each topic. They belong to the app, so what one account creates brings the events of all
//! of them; a switch makes them belong to the account that creates them.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Payload, Target};
use crate::time::instant;
use crate::world::{Kind, World, object};

/// Jobber's words for a second endpoint of a topic: only "one hook" was seen.
const THERE_IS_ONE: &str = "Only one hook per topic is allowed";

pub(super) fn create(world: &mut World, account: u64, arguments: &Map<String, Value>) -> Payload {
    let input = arguments.get("input").cloned().map(object).unwrap_or_default();
    let text = |name: &str| input.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (topic, url) = (text("topic"), text("url"));
    if world.endpoints_of(account).iter().any(|(of, number)| is_about(world, *of, *number, &topic)) {
        return refused(THERE_IS_ONE, &["input", "topic"]);
    }
    let is_refused = |known: &crate::world::Account| known.switches.refused_topics.contains(&topic);
    if world.accounts.get(&account).is_some_and(is_refused) {
        // Jobber's words are not known.
        return refused("Your app does not have the scope of this topic", &["input", "topic"]);
    }
    let (number, now) = (world.number(), instant(world.now()));
    if let Some(account) = world.accounts.get_mut(&account) {
        let row = json!({"topic": topic, "url": url, "createdAt": now, "updatedAt": now});
        Arc::make_mut(&mut account.data).insert(Kind::WebhookEndpoint, number, object(row));
    }
    let fields = vec![("webhookEndpoint", Target::One(Kind::WebhookEndpoint, Some(number)))];
    Payload { fields, user_errors: vec![] }
}

pub(super) fn delete(world: &mut World, account: u64, arguments: &Map<String, Value>) -> Payload {
    let ids = arguments.get("webhookEndpointsIds").and_then(Value::as_array).cloned().unwrap_or_default();
    for id in ids.iter().filter_map(Value::as_str) {
        let found = world.endpoints_of(account).into_iter().find(|(of, number)| {
            let data = world.accounts.get(of).map(|account| &account.data);
            data.and_then(|data| data.find(Kind::WebhookEndpoint, id)) == Some(*number)
        });
        let Some((of, number)) = found else {
            return refused("Webhook endpoint not found", &["webhookEndpointsIds"]);
        };
        let tables = world.accounts.get_mut(&of).map(|account| &mut Arc::make_mut(&mut account.data).tables);
        if let Some(endpoints) = tables.and_then(|tables| tables.get_mut(&Kind::WebhookEndpoint)) {
            endpoints.remove(&number);
        }
    }
    Payload { fields: vec![], user_errors: vec![] }
}

fn is_about(world: &World, account: u64, number: u64, topic: &str) -> bool {
    let row = world.accounts.get(&account).and_then(|known| known.data.get(Kind::WebhookEndpoint, number));
    row.and_then(|row| row.get("topic")).and_then(Value::as_str) == Some(topic)
}

fn refused(message: &str, path: &[&str]) -> Payload {
    Payload { fields: vec![], user_errors: vec![json!({"message": message, "path": path})] }
}
