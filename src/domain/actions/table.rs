//! The table, by noun. `docs/actions.md` is written from it.

mod clients;
mod expenses;
mod invoices;
mod jobs;
mod properties;
mod quotes;
mod requests;
mod tasks;
mod users;
mod visits;

use super::{Action, Effect, Flag, Form, Kind, Part, Shape, Sorting, Takes};

const NOUNS: [&[Action]; 10] = [
    jobs::ACTIONS,
    visits::ACTIONS,
    clients::ACTIONS,
    invoices::ACTIONS,
    quotes::ACTIONS,
    properties::ACTIONS,
    tasks::ACTIONS,
    users::ACTIONS,
    expenses::ACTIONS,
    requests::ACTIONS,
];

/// Every action but the raw call, by noun.
pub fn all() -> impl Iterator<Item = &'static Action> + Clone {
    NOUNS.iter().copied().flatten()
}

const fn action(
    noun: &'static str,
    verb: &'static str,
    about: &'static str,
    scope: &'static str,
    effect: Effect,
) -> Action {
    Action {
        noun,
        verb,
        about,
        scope,
        effect,
        make: None,
        shape: Shape::Once,
        document: "",
        target: None,
        variable: None,
        flags: &[],
        defaults: &[],
        needs: &[],
        whole: None,
        property: None,
    }
}

const fn reads(noun: &'static str, verb: &'static str, about: &'static str, scope: &'static str) -> Action {
    action(noun, verb, about, scope, Effect::Reads)
}

const fn writes(noun: &'static str, verb: &'static str, about: &'static str, scope: &'static str) -> Action {
    action(noun, verb, about, scope, Effect::Writes)
}

const fn dangerous(
    noun: &'static str,
    verb: &'static str,
    about: &'static str,
    scope: &'static str,
) -> Action {
    action(noun, verb, about, scope, Effect::Dangerous)
}

impl Action {
    const fn make(mut self, name: &'static str) -> Self {
        self.make = Some(name);
        self
    }

    const fn document(mut self, text: &'static str) -> Self {
        self.document = text;
        self
    }

    const fn about(mut self, kind: Kind, path: &'static str) -> Self {
        self.target = Some((kind, path));
        self
    }

    const fn input(mut self, variable: &'static str) -> Self {
        self.variable = Some(variable);
        self
    }

    const fn shape(mut self, shape: Shape) -> Self {
        self.shape = shape;
        self
    }

    const fn flags(mut self, flags: &'static [Flag]) -> Self {
        self.flags = flags;
        self
    }

    const fn needs(mut self, paths: &'static [&'static str]) -> Self {
        self.needs = paths;
        self
    }

    const fn whole(mut self, path: &'static str) -> Self {
        self.whole = Some(path);
        self
    }

    const fn property(mut self, path: &'static str) -> Self {
        self.property = Some(path);
        self
    }

    const fn defaults(mut self, defaults: &'static [(&'static str, &'static str)]) -> Self {
        self.defaults = defaults;
        self
    }
}

const fn flag(name: &'static str, path: &'static str, about: &'static str, takes: Takes) -> Flag {
    Flag { name, path, takes, about }
}

const fn value(name: &'static str, path: &'static str, about: &'static str) -> Flag {
    flag(name, path, about, Takes::Value)
}

const fn switch(name: &'static str, path: &'static str, about: &'static str) -> Flag {
    flag(name, path, about, Takes::Switch)
}

const fn items(name: &'static str, path: &'static str, about: &'static str) -> Flag {
    flag(name, path, about, Takes::Items)
}

const fn line(name: &'static str, path: &'static str, about: &'static str) -> Flag {
    flag(name, path, about, Takes::Line)
}

const fn date(name: &'static str, path: &'static str, about: &'static str) -> Flag {
    flag(name, path, about, Takes::Date)
}

const fn instant(name: &'static str, path: &'static str, about: &'static str) -> Flag {
    flag(name, path, about, Takes::Instant)
}
