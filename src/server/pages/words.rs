//! The texts of the pages, by language.

use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_LANGUAGE;
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use fluent_langneg::{NegotiationStrategy, accepted_languages, negotiate_languages};
use unic_langid::LanguageIdentifier;

use crate::config::Language;

/// What the pages say in one language.
pub(in crate::server) struct Words {
    /// For `lang` in HTML.
    pub(in crate::server) tag: &'static str,
    bundle: FluentBundle<FluentResource>,
}

static ENGLISH: LazyLock<Words> = LazyLock::new(|| Words::new("en", include_str!("en.ftl")));
static SPANISH: LazyLock<Words> = LazyLock::new(|| Words::new("es", include_str!("es.ftl")));
static FRENCH: LazyLock<Words> = LazyLock::new(|| Words::new("fr-CA", include_str!("fr-CA.ftl")));

/// The language that a browser prefers among those that are `offered`; without any of them, the first one.
pub(in crate::server) fn words_for(headers: &HeaderMap, offered: &[Language]) -> &'static Words {
    let header = headers.get(ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let wanted = accepted_languages::parse(header);
    let available: Vec<(LanguageIdentifier, Language)> =
        offered.iter().filter_map(|language| Some((language.code().parse().ok()?, *language))).collect();
    let codes: Vec<&LanguageIdentifier> = available.iter().map(|(code, _)| code).collect();
    let first = codes.first();
    let chosen = negotiate_languages(&wanted, &codes, first, NegotiationStrategy::Lookup);
    let chosen = chosen.first().and_then(|chosen| available.iter().find(|(code, _)| code == **chosen));
    words_in(chosen.map_or(Language::En, |(_, language)| *language))
}

pub(super) fn words_in(language: Language) -> &'static Words {
    match language {
        Language::En => &ENGLISH,
        Language::Es => &SPANISH,
        Language::Fr => &FRENCH,
    }
}

impl Words {
    fn new(tag: &'static str, source: &str) -> Self {
        let mut bundle = FluentBundle::new_concurrent(tag.parse().into_iter().collect());
        // Marks around values help in texts of mixed direction, of which there are none.
        bundle.set_use_isolating(false);
        // A test parses them all.
        let resource = FluentResource::try_new(source.to_owned()).unwrap_or_else(|(resource, _)| resource);
        bundle.add_resource_overriding(resource);
        Self { tag, bundle }
    }

    /// The message `id`, or its attribute in `id.attribute`.
    pub(super) fn with(&self, id: &str, values: &[(&str, &str)]) -> String {
        let values = values.iter().map(|(name, value)| (*name, FluentValue::from(*value)));
        self.format(id, &values.collect())
    }

    pub(super) fn count(&self, id: &str, count: i64) -> String {
        let mut values = FluentArgs::new();
        values.set("count", count);
        self.format(id, &values)
    }

    fn format(&self, id: &str, values: &FluentArgs<'_>) -> String {
        let (name, attribute) = id.split_once('.').map_or((id, None), |(name, rest)| (name, Some(rest)));
        let message = self.bundle.get_message(name);
        let pattern = message.and_then(|message| match attribute {
            Some(attribute) => Some(message.get_attribute(attribute)?.value()),
            None => message.value(),
        });
        let Some(pattern) = pattern else { return id.to_owned() };
        // What a value is missing for stands there by its name.
        self.bundle.format_pattern(pattern, Some(values), &mut Vec::new()).into_owned()
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.bundle.has_message(id)
    }

    /// "a, b and c"
    pub(super) fn list(&self, words: &[String]) -> String {
        match words {
            [all @ .., last] if !all.is_empty() => {
                self.with("list-last", &[("all", &all.join(", ")), ("last", last)])
            }
            words => words.concat(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use axum::http::HeaderValue;

    use super::*;

    const SOURCES: [&str; 3] = [include_str!("en.ftl"), include_str!("es.ftl"), include_str!("fr-CA.ftl")];

    /// The values in each message and attribute.
    fn messages(source: &str) -> BTreeMap<String, BTreeSet<String>> {
        FluentResource::try_new(source.to_owned()).unwrap();
        let (mut messages, mut message, mut part) = (BTreeMap::new(), String::new(), String::new());
        for line in source.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, _)) = line.split_once(" = ") {
                if !name.starts_with(' ') {
                    name.clone_into(&mut message);
                }
                part = name
                    .trim()
                    .strip_prefix('.')
                    .map_or_else(|| name.to_owned(), |rest| format!("{message}.{rest}"));
                assert!(messages.insert(part.clone(), BTreeSet::new()).is_none(), "{part} is there twice");
            }
            for value in line.split("{ $").skip(1) {
                let value = value.split([' ', '}']).next().unwrap().to_owned();
                messages.get_mut(&part).unwrap().insert(value);
            }
        }
        messages
    }

    #[test]
    fn every_language_says_the_same_things_with_the_same_values() {
        let [english, others @ ..] = SOURCES.map(messages);
        assert!(english.len() > 100, "{}", english.len());
        for other in others {
            assert_eq!(other, english);
        }
    }

    #[test]
    fn the_language_is_the_browsers() {
        let all = [Language::En, Language::Es, Language::Fr];
        for (header, tag) in [
            ("", "en"),
            ("de-DE,de;q=0.9", "en"),
            ("es-MX,es;q=0.9,en;q=0.8", "es"),
            ("fr-CA,fr;q=0.9,en;q=0.8", "fr-CA"),
            ("fr", "fr-CA"),
            ("de,fr-FR;q=0.8,en;q=0.5", "fr-CA"),
            ("en-US", "en"),
            ("%%%,;;q=,*", "en"),
        ] {
            let headers = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static(header))]);
            assert_eq!(words_for(&headers, &all).tag, tag, "{header}");
        }
        let french = HeaderMap::from_iter([(ACCEPT_LANGUAGE, HeaderValue::from_static("fr-CA"))]);
        assert_eq!(
            words_for(&french, &[Language::Es, Language::En]).tag,
            "es",
            "the first one that is offered"
        );
    }
}
