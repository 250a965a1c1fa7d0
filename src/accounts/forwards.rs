//! Where Jobber's events go, and what is read for each.

use std::path::Path;
use std::sync::Arc;

use serde_json::Map;

use super::receiver::Receiver;
use crate::config::{Config, ConfigError, ForwardSection};
use crate::domain::forward::{Include, Topics};
use crate::domain::model::EncodedId;
use crate::domain::webhook_event::{Record, Topic};
use crate::jobber::operations::{Request, record_of};
use crate::jobber::schema::{DEAREST, Document, DocumentError};
use crate::outbound::secret::WebhookSecret;

/// Where events of some topics go.
#[derive(Debug, Clone)]
pub struct Forward {
    pub topics: Vec<Topic>,
    pub reads: Reads,
    pub receiver: Receiver,
}

impl Forward {
    pub fn takes(&self, topic: Topic) -> bool {
        self.topics.contains(&topic)
    }
}

/// What is read for an event.
#[derive(Debug, Clone)]
pub enum Reads {
    Nothing,
    Record,
    /// The operator's own query.
    Query(Arc<Document>),
}

impl Reads {
    /// The same for those that read the same. `None` if nothing is read.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Nothing => None,
            Self::Record => Some(""),
            Self::Query(document) => Some(document.text()),
        }
    }

    pub fn request(&self, record: Record, item: &EncodedId) -> Result<Option<Request>, DocumentError> {
        let built_in = || record_of(record, item);
        match self {
            Self::Nothing => Ok(None),
            Self::Record => built_in().map(Some),
            Self::Query(document) => Ok(Some(Request { document: Document::clone(document), ..built_in()? })),
        }
    }
}

/// Reads and checks `events.forward`.
pub fn forwards(config: &Config, secret: &WebhookSecret) -> Result<Vec<Forward>, ConfigError> {
    let default = config.events.webhook_url.as_ref();
    let forward = |section: &ForwardSection| {
        let url = section.url.as_ref().or(default)?.0.clone();
        let topics: Vec<Topic> = section.topics.iter().flat_map(Topics::iter).collect();
        let reads = match &section.include {
            Include::Ids => Ok(Reads::Nothing),
            Include::Record => Ok(Reads::Record),
            Include::File(path) => query(path, &topics).map(|document| Reads::Query(Arc::new(document))),
        };
        let receiver = Receiver { url, secret: secret.clone() };
        Some(reads.map(|reads| Forward { topics, reads, receiver }))
    };
    config.events.forward.iter().filter_map(forward).collect()
}

/// The operator's query: for every topic it must read what the built-in one reads.
fn query(path: &Path, topics: &[Topic]) -> Result<Document, ConfigError> {
    let shown = path.display();
    let wrong = |problem: String| {
        let remedy = "correct the query, or use include = \"record\"";
        ConfigError::new("events.forward", problem, remedy)
    };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let problem = format!("{shown} cannot be read ({})", error.kind());
        ConfigError::new("events.forward", problem, "give the path of a readable file")
    })?;
    let invalid = |error: DocumentError| wrong(format!("{shown}: {error}"));
    let document = Document::parse(&text, None).map_err(invalid)?;
    for topic in topics {
        let built_in = record_of(topic.record(), &EncodedId::new("")).map_err(invalid)?.document;
        let is_alike = !document.is_mutation()
            && document.roots() == built_in.roots()
            && document.variables() == built_in.variables();
        if !is_alike {
            let root = built_in.roots().into_iter().next().unwrap_or_default();
            let (needs, variable) = match topic.record() {
                Record::Account => (root, ""),
                _ => (format!("{root}(id: $id)"), ", with the variable `$id: EncodedId!`"),
            };
            return Err(wrong(format!(
                "{shown}: for {} it must read `{needs}` and nothing else{variable}",
                topic.as_str()
            )));
        }
    }
    let cost = document.cost(&Map::new());
    if cost > DEAREST {
        return Err(wrong(format!("{shown} costs {cost} points, and Jobber runs {DEAREST} at most")));
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_reads_the_record_of_its_topics_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quote.graphql");
        let read = |text: &str, topics: &[Topic]| {
            std::fs::write(&path, text).unwrap();
            query(&path, topics).map(drop).map_err(|error| error.to_string())
        };
        let quote = [Topic::QuoteApproved, Topic::QuoteSent];
        let fine = "query Mine($id: EncodedId!) { quote(id: $id) { quoteNumber client { name } } }";
        assert_eq!(read(fine, &quote), Ok(()));
        assert_eq!(read("query { account { name } }", &[Topic::AppConnect]), Ok(()));
        for (text, topics, said) in [
            (fine, &[Topic::QuoteSent, Topic::JobClosed][..], "for JOB_CLOSED it must read `job(id: $id)`"),
            ("query ($id: EncodedId!) { quote(id: $id) { id } jobs { totalCount } }", &quote, "nothing else"),
            ("query ($number: EncodedId!) { quote(id: $number) { id } }", &quote, "`$id: EncodedId!`"),
            (
                "mutation ($id: EncodedId!) { clientArchive(clientId: $id) { userErrors { message } } }",
                &quote,
                "must read",
            ),
            ("query ($id: EncodedId!) { quote(id: $id) { nomber } }", &quote, "nomber"),
            ("nonsense", &quote, "line 1"),
        ] {
            let error = read(text, topics).unwrap_err();
            assert!(error.contains(said) && error.contains("quote.graphql"), "{text}: {error}");
        }
        let dear = "query ($id: EncodedId!) { quote(id: $id) { client { jobs(first: 100) { nodes { visits(first: 100) { nodes { id } } } } } } }";
        let error = read(dear, &quote).unwrap_err();
        assert!(error.contains("points, and Jobber runs 10000 at most"), "{error}");
        let gone = query(Path::new("/nowhere"), &quote).unwrap_err().to_string();
        assert!(gone.starts_with("events.forward: /nowhere cannot be read"), "{gone}");
    }
}
