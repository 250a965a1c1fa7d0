//! Links for the contractors of a list.

use std::path::Path;

use jiff::Timestamp;

use super::args::LinkArgs;
use super::call::{Call, print_json, print_text};
use super::exit::{Status, Stop};
use super::reach::ask;
use crate::domain::actions::nearest;
use crate::domain::model::{LinkBrand, LinkId, Trigger};
use crate::ops::links::NewLinkReply;
use crate::ops::protocol::LinkCreate;

/// Columns that are read. Others are passed on.
const READ: [&str; 3] = ["name", "trigger", "account"];

/// Columns that are added.
const ADDED: [&str; 3] = ["link", "expires", "link id"];

/// One link, or one for each row of a file.
pub(super) async fn create(call: &Call, args: LinkArgs) -> Result<Status, Stop> {
    let LinkArgs { name, from, trigger, expires, account, brand_name, brand_contact } = args;
    let expires_seconds = expires.0.as_secs();
    let brand = LinkBrand { name: brand_name, contact: brand_contact };
    match (name, from) {
        (Some(name), None) => call.run(LinkCreate { name, trigger, account, expires_seconds, brand }).await,
        (_, Some(file)) => create_from(call, &file, trigger, expires_seconds, &brand).await,
        (None, None) => Err(Stop::usage("name the contractor, or a list of them with --from FILE")),
    }
}

struct Row {
    line: u64,
    cells: Vec<String>,
    wanted: LinkCreate,
}

async fn create_from(
    call: &Call,
    file: &Path,
    trigger: Option<Trigger>,
    expires_seconds: i64,
    brand: &LinkBrand,
) -> Result<Status, Stop> {
    let named = |problem: String| Stop::usage(format!("{}{problem}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| named(format!(" cannot be read: {error}")))?;
    let (columns, rows) = read(&text, trigger, expires_seconds, brand).map_err(named)?;
    let mut made = Vec::new();
    for row in &rows {
        match ask(call.config.as_deref(), &row.wanted).await {
            Ok(link) => made.push((row, link)),
            Err(stop) => {
                // What was made is shown only once, so it is printed whatever happens.
                let status = if made.is_empty() { stop.status } else { Status::Partly };
                print(call, &columns, &made)?;
                let (line, made) = (row.line, made.len());
                let told = format!("{} line {line}: {}; links made: {made}", file.display(), stop.message);
                return Err(Stop::new(status, told));
            }
        }
    }
    print(call, &columns, &made)
}

/// The columns and rows of a list, all checked before the first link is made.
fn read(
    text: &str,
    trigger: Option<Trigger>,
    expires_seconds: i64,
    brand: &LinkBrand,
) -> Result<(Vec<String>, Vec<Row>), String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let wrong = |error: csv::Error| format!(": it is not CSV with the same columns in each line ({error})");
    let columns: Vec<String> = reader
        .headers()
        .map_err(wrong)?
        .iter()
        .map(|name| name.trim_start_matches('\u{feff}').to_owned())
        .collect();
    let place = |wanted: &str| columns.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    let Some(name) = place(READ[0]) else {
        let near = nearest("name", columns.clone());
        let near = near.map_or_else(String::new, |near| format!("; is it `{near}`?"));
        return Err(format!(": its first line has no column `name`{near}"));
    };
    let (triggers, accounts) = (place(READ[1]), place(READ[2]));
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).filter(|cell| !cell.is_empty());
        let Some(name) = cell(Some(name)) else {
            return Err(format!(" line {line}: the name is empty"));
        };
        let own = cell(triggers).map(str::parse::<Trigger>).transpose();
        let own = own.map_err(|error| format!(" line {line}: trigger: {error}"))?;
        let wanted = LinkCreate {
            name: name.to_owned(),
            trigger: own.or(trigger),
            account: cell(accounts).map(str::to_owned),
            expires_seconds,
            brand: brand.clone(),
        };
        rows.push(Row { line, cells: record.iter().map(str::to_owned).collect(), wanted });
    }
    if rows.is_empty() {
        return Err(" has no contractors: give each a line below the line with `name`".to_owned());
    }
    Ok((columns, rows))
}

/// A link for a row of the list.
#[derive(serde::Serialize)]
pub(super) struct LinkMade<'m> {
    name: &'m str,
    id: &'m LinkId,
    url: &'m str,
    expires_at: Timestamp,
}

/// The list again, with the links.
fn print(call: &Call, columns: &[String], made: &[(&Row, NewLinkReply)]) -> Result<Status, Stop> {
    let cells = |(row, link): &(&Row, NewLinkReply)| -> Vec<String> {
        let added = [link.url.clone(), link.expires_at.to_string(), link.id.to_string()];
        row.cells.iter().cloned().chain(added).collect()
    };
    if call.json {
        let with_links = made.iter().map(|(row, NewLinkReply { id, url, expires_at, .. })| LinkMade {
            name: &row.wanted.name,
            id,
            url,
            expires_at: *expires_at,
        });
        return print_json(&with_links.collect::<Vec<_>>());
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = columns.iter().map(String::as_str).chain(ADDED);
    writer.write_record(header).map_err(Stop::failed)?;
    for row in made {
        writer.write_record(cells(row)).map_err(Stop::failed)?;
    }
    let bytes = writer.into_inner().map_err(Stop::failed)?;
    print_text(String::from_utf8_lossy(&bytes).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Wanted = (String, Option<Trigger>, Option<String>);

    fn rows(text: &str) -> Result<Vec<Wanted>, String> {
        let (_, rows) = read(text, Some(Trigger::JobCompleted), 60, &LinkBrand::default())?;
        let row = |Row { wanted, .. }: Row| (wanted.name, wanted.trigger, wanted.account);
        Ok(rows.into_iter().map(row).collect())
    }

    #[test]
    fn a_list_says_who_and_how() {
        let list = "E-mail,Name,trigger,account\na@example.com,\"Ace, Inc.\",,\nb@example.com, Bright ,invoice_paid,Bright Windows\n";
        let expected = [
            ("Ace, Inc.".to_owned(), Some(Trigger::JobCompleted), None),
            ("Bright".to_owned(), Some(Trigger::InvoicePaid), Some("Bright Windows".to_owned())),
        ];
        assert_eq!(rows(list).unwrap(), expected);
        assert_eq!(rows("\u{feff}name\nAce\n").unwrap().len(), 1, "as spreadsheets write it");
    }

    #[test]
    fn a_list_that_cannot_be_used_says_where_it_is_wrong() {
        for (list, expected) in [
            ("names\nAce\n", "has no column `name`; is it `names`?"),
            ("name\n", "has no contractors"),
            ("", "has no column `name`"),
            ("name,trigger\nAce,\n,\n", "line 3: the name is empty"),
            ("name,trigger\nAce,job_done\n", "line 2: trigger: "),
            ("name\nAce,more\n", "not CSV"),
        ] {
            let error = rows(list).unwrap_err();
            assert!(error.contains(expected), "{list:?}: {error}");
        }
    }
}
