//! The initial data of a sandbox.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::control::{add_account, add_user};
use super::mutate::{self, Payload, Target};
use super::time::instant;
use super::world::{Kind, World, encode_id, object};

/// The initial data of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seed {
    /// Nothing.
    #[default]
    Empty,
    /// Three contractors with a week's work.
    Demo,
    /// Many accounts with many jobs each, a tenth of them closed.
    Large {
        /// Number of accounts.
        accounts: usize,
        /// Jobs per account.
        jobs: usize,
    },
}

pub(super) fn plant(world: &mut World, seed: Seed) {
    match seed {
        Seed::Empty => {}
        Seed::Demo => demo(world),
        Seed::Large { accounts, jobs } => {
            for account in 0..accounts {
                large(world, account, jobs);
            }
        }
    }
}

struct Person {
    first: &'static str,
    last: &'static str,
    phone: Option<&'static str>,
    street: &'static str,
}

const fn person(
    first: &'static str,
    last: &'static str,
    phone: Option<&'static str>,
    street: &'static str,
) -> Person {
    Person { first, last, phone, street }
}

fn demo(world: &mut World) {
    plumbing(world);
    let cleaning = add_account(world, "Sparkle Home Cleaning", "America/Denver");
    let crew = [hire(world, cleaning, "Rosa", "Lund")];
    let clients = [
        person("Nadia", "Klein", Some("3035550142"), "9 Aspen Ct"),
        person("Tom", "Reyes", None, "77 Quarry Rd"),
    ];
    for client in clients {
        let (property, _) = customer(world, cleaning, &client, "Boulder", "CO");
        job(world, cleaning, &property, "Biweekly Cleaning", 140.0, &crew);
    }
    let garden = add_account(world, "Green Acre Landscaping", "America/Chicago");
    let crew = [hire(world, garden, "Olu", "Adeyemi"), hire(world, garden, "Pat", "Moran")];
    let client = person("Irene", "Falk", Some("6125550177"), "310 Birch Ave");
    let (property, _) = customer(world, garden, &client, "Edina", "MN");
    job(world, garden, &property, "Spring Cleanup", 480.0, &crew);
}

/// The demo's contractor, with one customer for each possible case.
fn plumbing(world: &mut World) {
    let account = add_account(world, "Ace Plumbing", "America/New_York");
    let mike = hire(world, account, "Mike", "Torres");
    let dana = hire(world, account, "Dana", "Petrov");
    let works = [
        (person("John", "Smith", Some("5551234567"), "123 Main St"), "Water Heater Installation", 2500.0),
        (person("Maria", "Gonzalez", Some("5551112222"), "48 Elm St"), "Kitchen Faucet Replacement", 310.0),
        (person("Peter", "Novak", Some("5553334444"), "5 Hill Rd"), "Drain Cleaning", 180.0),
        (person("Aisha", "Khan", None, "61 Lake Dr"), "Toilet Repair", 220.0),
        (person("Walter", "Jones", Some("5555556666"), "19 Cedar Ln"), "Leak Inspection", 95.0),
        (person("Grace", "Liu", Some("5557778888"), "2 Orchard Way"), "Sump Pump Service", 260.0),
    ];
    for (number, (client, title, price)) in works.iter().enumerate() {
        let (property, _) = customer(world, account, client, "Springfield", "IL");
        let crew = if number % 2 == 0 { vec![mike.clone()] } else { vec![dana.clone()] };
        job(world, account, &property, title, *price, &crew);
    }
}

fn large(world: &mut World, index: usize, jobs: usize) {
    let account = add_account(world, &format!("Contractor {index}"), "America/New_York");
    let hand = hire(world, account, "Sam", "Field");
    let client = person("Chris", "Example", Some("5550100100"), "1 Test St");
    let (property, _) = customer(world, account, &client, "Springfield", "IL");
    for number in 0..jobs {
        let title = format!("Job {number}");
        let job = job(world, account, &property, &title, 100.0, std::slice::from_ref(&hand));
        if number % 10 == 0 {
            let input = json!({"modifyIncompleteVisitsBy": "COMPLETE_PAST_DESTROY_FUTURE"});
            run(world, account, "jobClose", json!({"jobId": job, "input": input}));
        }
    }
    // Old work, like in an account that was just connected.
    let long_ago = instant(world.now() - SignedDuration::from_hours(24 * 30));
    let data = world.accounts.get_mut(&account).map(|account| Arc::make_mut(&mut account.data));
    let jobs = data.and_then(|data| data.tables.get_mut(&Kind::Job));
    for row in jobs.into_iter().flat_map(|jobs| jobs.values_mut()) {
        row.insert("updatedAt".to_owned(), long_ago.clone().into());
        if row.get("completedAt").is_some_and(|at| !at.is_null()) {
            row.insert("completedAt".to_owned(), long_ago.clone().into());
        }
    }
}

fn hire(world: &mut World, account: u64, first: &str, last: &str) -> String {
    let (number, now) = (world.number(), world.now());
    match world.accounts.get_mut(&account) {
        Some(account) => {
            let data = Arc::make_mut(&mut account.data);
            add_user(data, number, first, last, false, "America/New_York", now)
        }
        None => String::new(),
    }
}

/// Creates a client with a property. Returns the ids of the property and the client.
fn customer(world: &mut World, account: u64, person: &Person, city: &str, state: &str) -> (String, String) {
    let email = format!("{}.{}@example.com", person.first.to_lowercase(), person.last.to_lowercase());
    let phones: Vec<Value> = person
        .phone
        .iter()
        .map(|number| json!({"number": number, "smsAllowed": true, "primary": true}))
        .collect();
    let emails =
        if person.phone.is_some() { vec![json!({"address": email, "primary": true})] } else { vec![] };
    let made = run(
        world,
        account,
        "clientCreate",
        json!({"input": {"firstName": person.first, "lastName": person.last, "phones": phones, "emails": emails}}),
    );
    let client = id_of(&made);
    let address = json!({"street1": person.street, "city": city, "province": state});
    let input = json!({"properties": [{"address": address}]});
    let made = run(world, account, "propertyCreate", json!({"clientId": client, "input": input}));
    let property = made.fields.iter().find_map(|(_, target)| match target {
        Target::Many(kind, numbers) => numbers.first().map(|number| encode_id(kind.name(), *number)),
        _ => None,
    });
    (property.unwrap_or_default(), client)
}

fn job(world: &mut World, account: u64, property: &str, title: &str, price: f64, crew: &[String]) -> String {
    let input = json!({
        "propertyId": property,
        "title": title,
        "invoicing": {"invoicingType": "FIXED_PRICE", "invoicingSchedule": "ON_COMPLETION"},
        "scheduling": {"createVisits": true, "notifyTeam": false, "assignedTo": crew},
        "lineItems": [{"name": title, "unitPrice": price, "quantity": 1.0, "saveToProductsAndServices": false}],
    });
    id_of(&run(world, account, "jobCreate", json!({ "input": input })))
}

fn run(world: &mut World, account: u64, mutation: &str, arguments: Value) -> Payload {
    mutate::mutate(world, account, mutation, &object(arguments))
        .unwrap_or(Payload { fields: vec![], user_errors: vec![] })
}

fn id_of(payload: &Payload) -> String {
    payload
        .fields
        .iter()
        .find_map(|(_, target)| match target {
            Target::One(kind, Some(number)) => Some(encode_id(kind.name(), *number)),
            _ => None,
        })
        .unwrap_or_default()
}
