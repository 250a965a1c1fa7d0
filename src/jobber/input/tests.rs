use super::*;

fn input(mutation: &str) -> Input {
    let document = Document::parse(mutation, None).unwrap();
    Input::new(&document, Some("input"), TimeZone::get("America/New_York").unwrap())
}

fn job() -> Input {
    input(
        "mutation ($input: JobEditInput!) { jobEdit(jobId: \"x\", input: $input) { userErrors { message } } }",
    )
}

fn client() -> Input {
    input(
        "mutation ($input: ClientEditInput!) { clientEdit(clientId: \"x\", input: $input) { userErrors { message } } }",
    )
}

fn sent(input: Input) -> Value {
    Value::Object(input.finish().unwrap())
}

#[test]
fn what_is_typed_becomes_what_the_schema_wants() {
    let mut input = job();
    for (path, text) in [
        ("title", "7"),
        ("jobNumber", "7"),
        ("allowReviewRequest", "no"),
        ("timeframe.startAt", "2026-03-10"),
        ("timeframe.durationUnits", "days"),
        ("timeframe.durationValue", "3"),
    ] {
        input.put_text(path, text).unwrap();
    }
    input.push_text("jobFormIds", "a").unwrap();
    input.push_text("jobFormIds", "b").unwrap();
    assert_eq!(
        sent(input),
        json!({"input": {
            "title": "7", "jobNumber": 7, "allowReviewRequest": false, "jobFormIds": ["a", "b"],
            "timeframe": {"startAt": "2026-03-10", "durationUnits": "DAYS", "durationValue": 3},
        }})
    );
    let mut input = client();
    input.put_text("phonesToAdd[0].number", "555").unwrap();
    input.put_text("phonesToAdd[1].number", "666").unwrap();
    assert_eq!(sent(input), json!({"input": {"phonesToAdd": [{"number": "555"}, {"number": "666"}]}}));
}

/// For every update input: a field that is given is all that is sent.
#[test]
fn one_field_given_is_one_field_sent() {
    for action in crate::domain::actions::all().filter(|action| action.verb == "update") {
        for text in action.documents() {
            let document = Document::parse(text, None).unwrap();
            let Some((name, ty)) = document.variables().into_iter().find(|(name, _)| name != "id") else {
                continue;
            };
            let root: &'static str = if name == "input" { "input" } else { "attributes" };
            let Some(ExtendedType::InputObject(object)) = type_named(ty.inner_named_type()) else {
                panic!("{name} of {}", action.name())
            };
            let needed = object.fields.values().any(|field| field.ty.is_non_null());
            for (field, of) in &object.fields {
                let is_text = of.ty.inner_named_type() == "String" && !of.ty.is_list();
                if !is_text || needed {
                    continue;
                }
                let mut input = Input::new(&document, Some(root), TimeZone::UTC);
                input.put("$id", "x".into()).unwrap();
                input.put_text(field, "word").unwrap();
                assert_eq!(
                    sent(input),
                    json!({"id": "x", root: {field.as_str(): "word"}}),
                    "{}.{field}",
                    action.name()
                );
            }
        }
    }
}

#[test]
fn nulls_are_sent_only_when_they_are_asked_for() {
    let mut input = job();
    input.begin_with(json!({"title": null}).as_object().unwrap().clone());
    assert_eq!(
        input.finish().unwrap_err().to_string(),
        "`title` is null: leave it out if it should stay as it is, or empty it with --clear title"
    );
    let mut input = job();
    input.clear("title").unwrap();
    assert_eq!(sent(input), json!({"input": {"title": null}}));
    let mut input = client();
    let error = input.clear("phonesToEdit[0].id").unwrap_err().to_string();
    assert_eq!(error, "`phonesToEdit[0].id` cannot be emptied: Jobber needs it");
}

#[test]
fn parts_without_content_are_not_sent() {
    let mut input = client();
    let given = json!({"firstName": "Ann", "billingAddress": {}, "tagsToAdd": []});
    input.begin_with(given.as_object().unwrap().clone());
    assert_eq!(sent(input), json!({"input": {"firstName": "Ann", "tagsToAdd": []}}));
}

#[test]
fn what_does_not_fit_is_named_with_its_remedy() {
    let put = |path: &str, text: &str| {
        let mut input = job();
        input.put_text(path, text).and_then(|()| input.finish()).unwrap_err().to_string()
    };
    assert_eq!(put("titel", "x"), "`titel` is not a field of JobEditInput; did you mean `title`?");
    assert_eq!(
        put("timeframe.startsAt", "x"),
        "`timeframe.startsAt` is not a field of TimeframeAttributes; did you mean `startAt`?"
    );
    assert_eq!(put("jobNumber", "seven"), "`jobNumber` takes a whole number, not `seven`");
    assert_eq!(
        put("timeframe.startAt", "soon"),
        "`timeframe.startAt` takes a date, such as 2026-03-12, not `soon`"
    );
    assert_eq!(
        put("timeframe.durationUnits", "day"),
        "`timeframe.durationUnits` takes one of DAYS, WEEKS, MONTHS, YEARS, not `day`"
    );
    assert_eq!(
        put("scheduling.recurrence", "DAILY"),
        "`scheduling.recurrence` takes a rule that begins with RRULE:, not `DAILY`"
    );
    assert_eq!(put("scheduling.startTime", "09:00"), "`scheduling.createVisits` is missing");
    assert_eq!(put("title[0]", "x"), "`title` takes one value, not `[…]`");
    assert_eq!(
        put("customFields.id", "x"),
        "`customFields` takes a list: add [0] for its first item, not `.id`"
    );
    for path in ["", ".", "a[", "a[x]", "a[99999]", "a..b"] {
        assert!(put(path, "x").contains("is not a path"), "{path}");
    }
    let nothing =
        input("mutation ($input: TaskCreateInput!) { taskCreate(input: $input) { userErrors { message } } }");
    assert_eq!(nothing.finish().unwrap_err().to_string(), "`title` is missing");
    let mut wrong = job();
    wrong.begin_with(json!({"jobNumber": "7", "x": 1}).as_object().unwrap().clone());
    assert_eq!(wrong.finish().unwrap_err().to_string(), "`jobNumber` takes a whole number, not `7`");
}

#[test]
fn defaults_go_where_something_is() {
    let document =
        "mutation ($input: JobCreateAttributes!) { jobCreate(input: $input) { userErrors { message } } }";
    let mut input = input(document);
    input.put_text("propertyId", "x").unwrap();
    input.push("lineItems", json!({"name": "a", "unitPrice": 1.0, "quantity": 1.0})).unwrap();
    input
        .push(
            "lineItems",
            json!({"name": "b", "unitPrice": 1.0, "quantity": 1.0, "saveToProductsAndServices": true}),
        )
        .unwrap();
    for (path, text) in [
        ("invoicing.invoicingType", "FIXED_PRICE"),
        ("invoicing.invoicingSchedule", "ON_COMPLETION"),
        ("scheduling?.notifyTeam", "false"),
        ("lineItems[].saveToProductsAndServices", "false"),
    ] {
        input.default(path, text).unwrap();
    }
    let sent = sent(input);
    assert_eq!(
        sent["input"]["invoicing"],
        json!({"invoicingType": "FIXED_PRICE", "invoicingSchedule": "ON_COMPLETION"})
    );
    assert_eq!(sent["input"].get("scheduling"), None);
    assert_eq!(sent["input"]["lineItems"][0]["saveToProductsAndServices"], false);
    assert_eq!(sent["input"]["lineItems"][1]["saveToProductsAndServices"], true);
}

#[test]
fn local_times_that_do_not_exist_or_come_twice_are_refused() {
    let zone = TimeZone::get("America/New_York").unwrap();
    let at = |text: &str| moment(text, &zone);
    assert_eq!(at("2026-03-12 09:00").unwrap(), ("2026-03-12T13:00:00Z".parse().unwrap(), false));
    assert_eq!(at("2026-03-12T09:00").unwrap().0, at("2026-03-12 09:00").unwrap().0);
    assert_eq!(at("2026-03-12").unwrap(), ("2026-03-12T04:00:00Z".parse().unwrap(), true));
    assert_eq!(at("2026-11-01T01:30:00-04:00").unwrap().0, "2026-11-01T05:30:00Z".parse().unwrap());
    assert_eq!(
        at("2026-03-08 02:30").unwrap_err().to_string(),
        "there is no 2026-03-08 02:30 in America/New_York: clocks skip it that day; choose another time"
    );
    assert!(at("2026-11-01 01:30").unwrap_err().to_string().starts_with("2026-11-01 01:30 comes twice"));
    assert!(at("tomorrow").unwrap_err().to_string().contains("is not a time"));
    assert_eq!(length("2h").unwrap(), SignedDuration::from_hours(2));
    assert!(length("-2h").is_err() && length("soon").is_err());
}

/// Every path, enum and required field of the table of actions, on the schema.
#[test]
fn the_table_of_actions_fits_the_schema() {
    use crate::domain::actions::{self, Shape, Takes};

    for action in actions::all() {
        let name = action.name();
        let parts: Vec<(&str, Option<&'static str>)> = match action.shape {
            Shape::InParts(parts) => parts.iter().map(|part| (part.document, part.variable)).collect(),
            Shape::Impossible(_) => continue,
            _ => vec![(action.document, action.variable)],
        };
        let inputs: Vec<Input> = parts
            .into_iter()
            .map(|(text, variable)| {
                let document = Document::parse(text, None).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(document.is_mutation(), action.writes(), "{name}");
                assert!(document.cost(&Map::from_iter([("first".to_owned(), json!(100))])) < 5000, "{name}");
                Input::new(&document, variable, TimeZone::UTC)
            })
            .collect();
        let type_of = |path: &str| {
            let path = path.replace("[].", "[0].").replace("?.", ".");
            let types = inputs.iter().map(|input| input.type_at(&input.steps(&path)?));
            types.fold(Err(InputError::BadPath { path: path.clone() }), Result::or)
        };
        for flag in action.flags {
            // It takes no input: its request has everything.
            if flag.name == "unschedule" {
                continue;
            }
            let ty = type_of(flag.path).unwrap_or_else(|error| panic!("{name} --{}: {error}", flag.name));
            let of = ty.inner_named_type().as_str();
            match flag.takes {
                Takes::Choice(choices) => {
                    let Some(ExtendedType::Enum(known)) = type_named(of) else {
                        panic!("{name} --{}", flag.name)
                    };
                    assert!(choices.iter().all(|(_, value)| known.values.contains_key(*value)), "{name}");
                }
                Takes::Switch => assert_eq!(of, "Boolean", "{name} --{}", flag.name),
                Takes::Items
                | Takes::Line
                | Takes::Phone
                | Takes::Email
                | Takes::Records(_)
                | Takes::Nobody => {
                    assert!(ty.is_list(), "{name} --{}", flag.name);
                }
                Takes::Record(_) => assert_eq!(of, "EncodedId", "{name} --{}", flag.name),
                Takes::Instant => assert_eq!(of, "ISO8601DateTime", "{name} --{}", flag.name),
                Takes::Date => assert_eq!(of, "ISO8601Date", "{name} --{}", flag.name),
                Takes::Start { end, form } => {
                    let wanted = match form {
                        actions::Form::Instant => "ISO8601DateTime",
                        actions::Form::Local => "LocalDateTimeAttributes",
                    };
                    assert_eq!(of, wanted, "{name} --{}", flag.name);
                    assert_eq!(type_of(end).unwrap().inner_named_type(), wanted, "{name}");
                }
                Takes::Value | Takes::Length | Takes::End => {}
            }
        }
        let target = action.target.map(|(_, path)| path).filter(|path| !path.is_empty());
        if let Some(path) = target {
            assert!(type_of(&format!("${path}")).is_ok(), "{name}: {path}");
        }
        for (path, text) in action.defaults {
            let ty = type_of(path).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(inputs[0].typed(&ty, &[], text).is_ok(), "{name}: {path}");
        }
        for path in action.needs {
            assert!(action.flags.iter().any(|flag| flag.path == *path), "{name}: {path}");
        }
        if let Some(path) = action.whole {
            assert!(type_of(&format!("{path}.street1")).is_ok(), "{name}: {path}");
        }
        // What Jobber requires can be said with flags, or is filled in.
        for (variable, ty) in inputs.iter().flat_map(|input| &input.types).filter(|(_, ty)| ty.is_non_null())
        {
            let Some(ExtendedType::InputObject(object)) = type_named(ty.inner_named_type()) else { continue };
            for (field, _) in object.fields.iter().filter(|(_, field)| field.ty.is_non_null()) {
                let begins = |path: &str| path.split(['.', '[']).next() == Some(field.as_str());
                let is_covered = action.flags.iter().any(|flag| begins(flag.path))
                    || action.defaults.iter().any(|(path, _)| begins(path))
                    || action.property.is_some_and(begins)
                    || target == Some(&format!("{variable}.{field}"));
                assert!(is_covered, "{name}: nothing says {field}");
            }
        }
        let (area, level) = action.scope.split_once('_').map(|(level, area)| (area, level)).unwrap();
        let areas =
            ["clients", "jobs", "scheduled_items", "invoices", "quotes", "users", "expenses", "requests"];
        assert!(areas.contains(&area), "{name}: {area}");
        assert_eq!(level, if action.writes() { "write" } else { "read" }, "{name}");
    }
}
