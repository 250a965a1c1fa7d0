//! The variables of an action, from what somebody gave: flags over `-d` over `--input`.

use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{Desk, OpError, failed};
use crate::domain::actions::{self, Flag, Form, Takes};
use crate::jobber::input::{Input, InputError, length, moment};
use crate::jobber::operations::Request;
use crate::jobber::schema::Document;

/// Parts of an address in an input.
const ADDRESS: [&str; 6] = ["street1", "street2", "city", "province", "postalCode", "country"];

impl From<InputError> for OpError {
    fn from(error: InputError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// The part of an action that one document takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion {
    pub(super) variable: Option<&'static str>,
    /// Names of its flags. `None` is all of them.
    pub(super) flags: Option<&'static [&'static str]>,
}

impl Portion {
    fn has(&self, flag: &str) -> bool {
        self.flags.is_none_or(|flags| flags.contains(&flag))
    }
}

/// The first name of a path.
fn first(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

impl Desk<'_> {
    /// Whether something of what was given belongs to this portion.
    pub(super) fn is_given(&self, portion: &Portion) -> bool {
        self.given_flags(portion).next().is_some() || self.given_paths().any(|path| self.takes(portion, path))
    }

    fn given_flags<'d>(&'d self, portion: &'d Portion) -> impl Iterator<Item = (&'static Flag, &'d str)> {
        self.call.flags.iter().filter_map(|(name, text)| {
            let flag = self.action.flag(name).filter(|_| portion.has(name))?;
            Some((flag, text.as_str()))
        })
    }

    fn given_paths(&self) -> impl Iterator<Item = &str> {
        let data = self.call.data.iter().map(|(path, _)| path.as_str());
        let input = self.call.input.iter().flat_map(Map::keys).map(String::as_str);
        data.chain(input).chain(self.call.clear.iter().map(String::as_str))
    }

    /// Whether a path belongs to the portion: to its flags, if it has some of its own.
    fn takes(&self, portion: &Portion, path: &str) -> bool {
        let Some(names) = portion.flags else { return true };
        let flags = names.iter().filter_map(|name| self.action.flag(name));
        flags.into_iter().any(|flag| first(flag.path) == first(path))
    }

    /// What was given and belongs to no portion of an action in parts.
    pub(super) fn check_paths(&self, portions: &[Portion]) -> Result<(), OpError> {
        let stray = self.given_paths().find(|path| !portions.iter().any(|portion| self.takes(portion, path)));
        match stray {
            None => Ok(()),
            Some(path) => {
                let mut known: Vec<&str> = self.action.flags.iter().map(|flag| first(flag.path)).collect();
                known.dedup();
                let name = self.action.name();
                Err(OpError::Refused(format!(
                    "`{path}` is not a field of {name}; it takes {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// The variables of one document. `more` are put by their paths in the variables.
    pub(super) async fn fill(
        &self,
        document: &Document,
        portion: Portion,
        more: &[(String, Value)],
    ) -> Result<Map<String, Value>, OpError> {
        let mut input = Input::new(document, portion.variable, self.zone());
        if let Some(given) = &self.call.input {
            let given = given.iter().filter(|(name, _)| self.takes(&portion, name));
            input.begin_with(given.map(|(name, value)| (name.clone(), value.clone())).collect());
        }
        for (path, text) in self.call.data.iter().filter(|(path, _)| self.takes(&portion, path)) {
            input.put_text(path, text)?;
        }
        for (flag, text) in self.given_flags(&portion) {
            self.put(&mut input, flag, text).await.map_err(|error| at_flag(flag, error))?;
        }
        self.put_times(&mut input, &portion)?;
        for (path, value) in more {
            input.put(&format!("${path}"), value.clone())?;
        }
        if let Some(path) = self.action.whole.filter(|path| input.at(path).is_some()) {
            self.complete_address(&mut input, path).await?;
        }
        for (path, text) in self.action.defaults {
            input.default(path, text)?;
        }
        for path in self.call.clear.iter().filter(|path| self.takes(&portion, path)) {
            if input.at(path).is_some() {
                return Err(OpError::Refused(format!("`{path}` is given and emptied at once: choose one")));
            }
            input.clear(path)?;
        }
        self.check_needs(&input, portion)?;
        input.finish().map_err(|error| self.in_flags(error))
    }

    /// Names the flag for what is missing.
    fn in_flags(&self, error: InputError) -> OpError {
        let InputError::Missing { path } = &error else { return error.into() };
        let flag = self.action.flags.iter().find(|flag| flag.path == *path || first(flag.path) == path);
        match flag {
            Some(flag) => OpError::Refused(format!("--{} is missing ({error})", flag.name)),
            None => error.into(),
        }
    }

    fn check_needs(&self, input: &Input, portion: Portion) -> Result<(), OpError> {
        let is_there = |path: &&str| match input.at(path) {
            Some(Value::String(text)) => !text.trim().is_empty(),
            Some(Value::Array(items)) => !items.is_empty(),
            value => value.is_some(),
        };
        let needs = self.action.needs;
        if !needs.is_empty() && !needs.iter().any(is_there) {
            let flags: Vec<String> = needs
                .iter()
                .filter_map(|path| self.action.flags.iter().find(|flag| flag.path == *path))
                .map(|flag| format!("--{}", flag.name))
                .collect();
            return Err(OpError::Refused(format!("{} needs {}", self.action.name(), flags.join(" or "))));
        }
        if self.action.verb == "update" && portion.variable.is_some() && !self.is_given(&portion) {
            return Err(OpError::Refused(format!(
                "there is nothing to change: name at least one field (see `jobber-reviewd jobber {} update --help`)",
                self.action.noun
            )));
        }
        Ok(())
    }

    async fn put(&self, input: &mut Input, flag: &Flag, text: &str) -> Result<(), OpError> {
        let path = flag.path;
        match flag.takes {
            Takes::Value | Takes::Date if text.is_empty() => {
                let path = path.rsplit('$').next().unwrap_or(path);
                return Err(OpError::Refused(format!(
                    "it is empty; to empty the field, write --clear {path}"
                )));
            }
            Takes::Value | Takes::Switch | Takes::Date => input.put_text(path, text)?,
            Takes::Items => input.push_text(path, text)?,
            Takes::Line => input.push(path, line(text)?)?,
            Takes::Phone => {
                let is_first = input.at(path).is_none() && self.action.verb == "create";
                input.push(path, json!({"number": text, "primary": is_first, "smsAllowed": true}))?;
            }
            Takes::Email => {
                let is_first = input.at(path).is_none() && self.action.verb == "create";
                input.push(path, json!({"address": text, "primary": is_first}))?;
            }
            Takes::Record(kind) => {
                let found = self.find(kind, text).await?;
                input.put(path, found.id.into())?;
            }
            Takes::Records(kind) => {
                let found = self.find(kind, text).await?;
                input.push(path, found.id.into())?;
            }
            Takes::Nobody => input.put(path, json!([]))?,
            Takes::Choice(choices) => {
                let choice = choices.iter().find(|(word, value)| *word == text || *value == text);
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                let wrong = || OpError::Refused(format!("it takes {}, not `{text}`", words.join(" or ")));
                input.put(path, choice.ok_or_else(wrong)?.1.into())?;
            }
            Takes::Instant => {
                let at = moment(text, input.zone())?.0;
                input.put(path, local(at, input.zone()))?;
            }
            Takes::Start { .. } | Takes::Length | Takes::End => {}
        }
        Ok(())
    }

    /// When something begins and ends.
    fn put_times(&self, input: &mut Input, portion: &Portion) -> Result<(), OpError> {
        let flags: Vec<_> = self.given_flags(portion).collect();
        let text = |wanted: &dyn Fn(&Takes) -> bool| {
            flags.iter().find(|(flag, _)| wanted(&flag.takes)).map(|(_, text)| *text)
        };
        let begun = flags.iter().find_map(|(flag, text)| match flag.takes {
            Takes::Start { end, form } => Some((*text, flag.path, end, form)),
            _ => None,
        });
        let (lasts, until) = (text(&|takes| *takes == Takes::Length), text(&|takes| *takes == Takes::End));
        let Some((at, start_path, end_path, form)) = begun else {
            return match lasts.or(until) {
                Some(_) => Err(OpError::Refused("--for and --until need --at".to_owned())),
                None => Ok(()),
            };
        };
        let zone = input.zone().clone();
        let (start, is_day) = moment(at, &zone)?;
        if is_day && lasts.is_some() {
            return Err(OpError::Refused("--for needs a time of day: --at \"2026-03-12 09:00\"".to_owned()));
        }
        let end = match (lasts, until) {
            (Some(_), Some(_)) => return Err(OpError::Refused("give --for or --until, not both".to_owned())),
            (Some(lasts), None) => Some((crate::clock::plus(start, length(lasts)?), false)),
            (None, Some(until)) => Some(moment(until, &zone)?),
            (None, None) if is_day => Some((start, true)),
            (None, None) => None,
        };
        if end.is_some_and(|(end, _)| end < start) {
            return Err(OpError::Refused("it would end before it begins: check --at and --until".to_owned()));
        }
        match (form, end) {
            // Jobber takes both or neither (`actions.md`, Create a Visit).
            (Form::Local, None) => Err(OpError::Refused("say when it ends: --for 2h, or --until".to_owned())),
            (Form::Local, Some((end, is_last_day))) => {
                input.put(start_path, parts(start, is_day, &zone))?;
                Ok(input.put(end_path, parts(end, is_last_day, &zone))?)
            }
            (Form::Instant, end) => {
                input.put(start_path, local(start, &zone))?;
                if let Some((end, _)) = end {
                    input.put(end_path, local(end, &zone))?;
                }
                Ok(())
            }
        }
    }

    /// Fills the parts of an address that were not given with what is there.
    async fn complete_address(&self, input: &mut Input, path: &str) -> Result<(), OpError> {
        let Some(show) = actions::find(self.action.noun, "show").filter(|_| !self.call.only_print) else {
            return Ok(());
        };
        let document = Document::parse(show.document, None).map_err(failed)?;
        let id = self.target.as_ref().map(|target| target.id.clone()).unwrap_or_default();
        let variables = Map::from_iter([("id".to_owned(), json!(id))]);
        let data = self.query(Request { document, variables, kind: "address" }).await?;
        let record = data.as_object().and_then(|data| data.values().next()).cloned().unwrap_or_default();
        for part in ADDRESS {
            let is_cleared = self.call.clear.iter().any(|cleared| *cleared == format!("{path}.{part}"));
            let known = record[path][part].as_str().filter(|known| !known.is_empty() && !is_cleared);
            if let Some(known) = known
                && input.at(&format!("{path}.{part}")).is_none()
            {
                input.put(&format!("{path}.{part}"), known.into())?;
            }
        }
        Ok(())
    }
}

fn at_flag(flag: &Flag, error: OpError) -> OpError {
    match error {
        OpError::Refused(words) => OpError::Refused(format!("--{}: {words}", flag.name)),
        other => other,
    }
}

/// `Filter;2;25.00`: name, quantity, unit price.
fn line(text: &str) -> Result<Value, OpError> {
    let wrong = || OpError::Refused(format!("`{text}` is not a line item: write \"Filter;2;25.00\""));
    let (rest, price) = text.rsplit_once(';').ok_or_else(wrong)?;
    let (name, quantity) = rest.rsplit_once(';').ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    let (quantity, price) = (number(quantity).ok_or_else(wrong)?, number(price).ok_or_else(wrong)?);
    if name.trim().is_empty() {
        return Err(wrong());
    }
    Ok(json!({"name": name.trim(), "quantity": quantity, "unitPrice": price}))
}

/// An instant with the offset of the account.
fn local(at: jiff::Timestamp, zone: &TimeZone) -> Value {
    at.display_with_offset(zone.to_offset(at)).to_string().into()
}

/// `LocalDateTimeAttributes`. A day without a time is any time on that day.
fn parts(at: jiff::Timestamp, is_day: bool, zone: &TimeZone) -> Value {
    let local = at.to_zoned_datetime(zone.clone());
    let mut parts = json!({
        "date": local.date().to_string(),
        "timezone": zone.iana_name().unwrap_or("UTC"),
    });
    if !is_day {
        parts["time"] = local.strftime("%H:%M:%S").to_string().into();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_name_quantity_and_price() {
        assert_eq!(
            line("Filter; 20x20;2;25.00").unwrap(),
            json!({"name": "Filter; 20x20", "quantity": 2.0, "unitPrice": 25.0})
        );
        for wrong in ["Filter", "Filter;2", "Filter;two;25", ";2;25", "Filter;2;inf"] {
            assert!(line(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_written_as_jobber_wants_them() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let at: jiff::Timestamp = "2026-03-12T13:00:00Z".parse().unwrap();
        assert_eq!(local(at, &zone), "2026-03-12T09:00:00-04:00");
        assert_eq!(
            parts(at, false, &zone),
            json!({"date": "2026-03-12", "time": "09:00:00", "timezone": "America/New_York"})
        );
        assert_eq!(parts(at, true, &zone), json!({"date": "2026-03-12", "timezone": "America/New_York"}));
    }
}
