use std::io::Write as _;

use jiff::SignedDuration;

use super::secret::SecretSource;
use super::values::HttpsUrl;
use super::*;

const GOOD: &str = r#"
[jobber]
client_id = "id"
[http]
public_url = "https://reviews.example.com"
[review]
webhook_url = "https://platform.example.com/hook"
"#;

fn load(text: &str) -> Result<Config, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    Config::load(Some(file.path())).map_err(|error| error.to_string().replace(&path, "FILE"))
}

fn error(text: &str) -> String {
    load(text).unwrap_err()
}

fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    GOOD.replace(from, to)
}

#[test]
fn the_least_that_is_needed() {
    let config = load(GOOD).unwrap();
    assert_eq!(config.redirect_uri(), "https://reviews.example.com/oauth/callback");
    assert_eq!(config.poll.concurrency, Concurrency(256));
    assert_eq!(config.review.delay, Period(SignedDuration::from_hours(2)));
    assert_eq!(config.review.max_age, Period(SignedDuration::from_hours(168)));
    assert_eq!(config.jobber.api_base.0.as_str(), "https://api.getjobber.com/api");
}

#[test]
fn renamed_keys_are_still_understood_but_not_beside_their_new_names() {
    let old = format!("{GOOD}\nonly_titles = [\"lawn\"]\n");
    assert_eq!(load(&old).unwrap().review.policy().only_named, ["lawn"]);
    let error = error(&format!("{old}only_named = [\"roof\"]\n"));
    assert_eq!(
        error,
        "review.only_titles: it is the old name of review.only_named, and both are set; keep only review.only_named (FILE line 9)"
    );
    let own = [("not_titles".to_owned(), serde_json::json!(["warranty"]))].into();
    assert_eq!(load(GOOD).unwrap().with_overrides(&own).unwrap().review.policy().not_named, ["warranty"]);
}

#[test]
fn an_error_is_one_line_whatever_it_quotes() {
    let error = error(&changed("https://reviews.example.com", "one\\ntwo"));
    assert_eq!(
        error,
        "http.public_url: `one two` is not a URL; write one such as https://example.com/path (FILE line 5)"
    );
}

#[test]
fn the_keys_are_those_of_the_type() {
    let json = serde_json::to_value(load(GOOD).unwrap()).unwrap();
    let mut of_type: Vec<String> = Vec::new();
    let mut sections: Vec<_> = json.as_object().unwrap().clone().into_iter().collect();
    while let Some((name, value)) = sections.pop() {
        match value {
            serde_json::Value::Object(keys) => {
                sections.extend(keys.into_iter().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            _ => of_type.push(name),
        }
    }
    of_type.sort();
    let mut listed: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    listed.sort_unstable();
    assert_eq!(of_type, listed);
}

#[test]
fn every_error_names_its_key_and_the_remedy() {
    let review = "webhook_url = \"https://platform.example.com/hook\"";
    let with = |line: &str| changed(review, &format!("{review}\n{line}"));
    let cases = [
        (
            with("min_rating = 4"),
            "review.min_rating: customers must not be chosen by how they feel: Google and the FTC forbid selective asking; remove it; to hold back asks for unfinished work, use review.hold_tag",
        ),
        (
            with("message = \"Hi {{ client.frist_name }}\""),
            "review.message: undefined value in line 1; correct the template; the documentation lists the fields it can use",
        ),
        (
            with("body_file = \"/nowhere\""),
            "review.body_file: /nowhere cannot be read (entity not found); give the path of a readable file",
        ),
        (
            with("clients = \"everybody\""),
            "review.clients: `everybody` is not known; use one of all, people, companies",
        ),
        (
            with("[review.window]\nweekdays = \"9-5\""),
            "review.window.weekdays: `9-5` is not a range of hours; write hours such as 09:00-20:00, or closed",
        ),
        (
            with("[review.window]\nweekdays = \"closed\"\nsaturday = \"closed\"\nsunday = \"closed\""),
            "review.window: it is never open, so nobody would be asked; set hours such as 09:00-20:00 for at least one day",
        ),
        (
            with("[review.window]\ntimezone = \"Middle Earth\""),
            "review.window.timezone: `Middle Earth` is not a known time zone; use an IANA name such as America/Chicago",
        ),
        (
            with("[review.window]\ntimezone = \"America/Torronto\""),
            "review.window.timezone: `America/Torronto` is not a known time zone; use an IANA name such as America/Toronto",
        ),
        (
            with("webhook_secret_file = \"x\"\n[store]\nretention = \"30d\""),
            "store.retention: it is not longer than review.cooldown: past asks would be forgotten before the cooldown is over; raise it, or shorten review.cooldown",
        ),
        (
            changed("client_id = \"id\"", ""),
            "jobber.client_id: it is not set; set it in the configuration file or as JOBBER_REVIEWD__JOBBER__CLIENT_ID: Client id of your app in Jobber's developer centre.",
        ),
        (changed("client_id = \"id\"", "client_id = \" \""), "jobber.client_id: it is empty; "),
        (
            changed("[http]\npublic_url = \"https://reviews.example.com\"", ""),
            "http.public_url: it is not set; ",
        ),
        (with("colour = \"red\""), "review.colour: there is no such key; "),
        (
            changed("client_id", "client_secret = \"hunter2\"\nclient_id"),
            "jobber.client_secret: there is no such key; ",
        ),
        (
            with("delay = \"soon\""),
            "review.delay: `soon` is not a length of time; write one such as 90s, 30m, 2h or 7d",
        ),
        (with("delay = \"-2h\""), "review.delay: `-2h` is not a length of time; "),
        (with("delay = \"8d\""), "review.delay: 8d is not shorter than review.max_age, 7d; "),
        (
            with("trigger = \"job_done\""),
            "review.trigger: `job_done` is not known; did you mean `job_completed`? if not, use one of job_completed, visit_completed, ",
        ),
        (
            with("include_drafts = \"yes\""),
            "review.include_drafts: it is the string \"yes\"; it must be true or false",
        ),
        (with("delay = 5"), "review.delay: it is the number 5; write \"5s\", \"5m\", \"5h\" or \"5d\""),
        (with("dealy = \"5m\""), "did you mean `delay`? if not, remove it or use one of trigger, "),
        (
            with("[poll]\nschedule = \"*/5 * * * *\""),
            "poll.schedule: `*/5 * * * *` has 5 fields; write six, seconds first, such as `0 */5 * * * *` for every five minutes",
        ),
        (with("[poll]\nschedule = \"0 99 * * * *\""), "poll.schedule: `0 99 * * * *` is not a schedule; "),
        (with("[poll]\nconcurrency = 0"), "poll.concurrency: 0 is out of range; write 1 to 1024"),
        (
            changed(review, "webhook_url = \"http://platform.example.com/hook\""),
            "review.webhook_url: `http://platform.example.com/hook` is not https; use https (http is allowed only for this machine itself)",
        ),
        (changed(review, "webhook_url = \"platform\""), "review.webhook_url: `platform` is not a URL; "),
        (
            changed(review, "webhook_url = \"https://me:pw@example.com/\""),
            "review.webhook_url: it contains a user name or password; ",
        ),
        (
            changed("https://reviews.example.com", "https://example.com/reviews"),
            "http.public_url: it has a path; ",
        ),
        (
            changed("https://reviews.example.com", "http://reviews.example.com"),
            "http.public_url: `http://reviews.example.com` is not https; ",
        ),
        (with("[http"), "is not valid TOML ("),
    ];
    for (text, expected) in cases {
        let error = error(&text);
        assert!(error.contains(expected), "expected: {expected}\n   found: {error}");
        assert!(!error.contains("hunter2"));
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn errors_of_mail_and_digest_name_their_keys() {
    let with = |lines: &str| format!("{GOOD}\n{lines}");
    for (text, expected) in [
        (
            with("[alerts.mail]\nserver = \"mail.example.com\"\nfrom = \"a@example.com\""),
            "alerts.mail.server: `mail.example.com` is not a mail server; write one such as smtps://mail.example.com",
        ),
        (
            with(
                "[alerts.mail]\nserver = \"smtps://mail.example.com\"\nfrom = \"me\"\nto = [\"a@example.com\"]",
            ),
            "alerts.mail.from: `me` is not an address; write one such as ops@example.com",
        ),
        (
            with("[alerts.mail]\nserver = \"smtps://mail.example.com\"\nfrom = \"a@example.com\""),
            "alerts.mail.to: nobody would get the mails; ",
        ),
        (
            with("[alerts]\ndigest = \"funday 8:00\""),
            "alerts.digest: `funday 8:00` is not a time of the week; write one such as monday 08:00",
        ),
    ] {
        let error = error(&text);
        assert!(error.contains(expected), "expected: {expected}\n   found: {error}");
    }
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let text = "\
[jobber]
client_id = \"id\"
budget_share = \"much\"

[http]
public_url = \"http://reviews.example.com\"

[review]
webhook_url = \"https://platform.example.com/hook\"
delay = 5
dealy = \"5m\"
cooldown = \"900d\"

[review.window]
timezone = \"Middle Earth\"

[[rules]]
on = \"ask.delivered\"
does = \"clients.note\"
";
    let told = error(text);
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "7 settings cannot be used:", "{told}");
    for (key, line) in [
        ("jobber.budget_share", 3),
        ("http.public_url", 6),
        ("review.delay", 10),
        ("review.dealy", 11),
        ("review.window.timezone", 15),
        ("rules.0.does", 19),
    ] {
        let is_told = |told: &&&str| {
            told.trim().starts_with(&format!("{key}: ")) && told.ends_with(&format!(" (FILE line {line})"))
        };
        assert_eq!(lines.iter().filter(is_told).count(), 1, "{key} {line}: {told}");
    }
    assert!(
        told.contains("  rules") && told.contains("  store.retention: it is not longer than review.cooldown"),
        "{told}"
    );
}

#[test]
fn a_mistake_brings_no_others_that_are_not_there() {
    for (from, to, told) in [
        ("[http]", "[review.window]\nweekdays = \"closed\"\n[http]", None),
        ("[http]", "store = \"/x\"\n[http]", None),
        ("[review]", "[brand]\nlanguages = [\"de\"]\n[review]", Some("brand.languages.0: `de` is not known")),
        (
            "[review]",
            "[events]\nwebhook_url = \"nowhere\"\nforward = [{topics = [\"QUOTE_*\"]}]\n[review]",
            Some("events.webhook_url: "),
        ),
        ("[review]", "[review]\nmax_age = \"soon\"\ndelay = \"8d\"", Some("review.max_age: ")),
        ("[review]", "[review]\nwindow = \"09:00-17:00\"", Some("review.window: it is the string")),
    ] {
        let text = changed(from, to);
        match (load(&text), told) {
            (Err(error), Some(told)) => {
                assert!(error.starts_with(told) && !error.contains('\n'), "{to}: {error}");
            }
            (Err(error), None) => assert!(!error.contains('\n'), "{to}: {error}"),
            (Ok(_), told) => assert!(told.is_none(), "{to}"),
        }
    }
}

#[test]
fn a_file_that_was_named_must_exist() {
    let error = Config::load(Some(Path::new("/nonexistent/config.toml"))).unwrap_err().to_string();
    assert_eq!(error, "/nonexistent/config.toml: there is no such file; give the right path with --config");
}

#[test]
fn http_is_fine_on_this_machine_only() {
    for good in
        ["http://127.0.0.1:9000/hook", "http://localhost/x", "http://[::1]:80/", "https://example.com"]
    {
        assert!(HttpsUrl::parse(good).is_ok(), "{good}");
    }
    for bad in
        ["http://127.0.0.1.example.com/", "http://10.0.0.1/", "ftp://localhost/", "http://localhost.evil/"]
    {
        assert!(HttpsUrl::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn periods_read_back_what_they_write() {
    for text in ["0s", "90s", "30m", "2h", "7d", "180d", "1h 30m"] {
        let period = Period::parse(text).unwrap();
        assert_eq!(Period::parse(&period.to_string()), Ok(period), "{text}");
    }
    assert_eq!(Period::parse("7d").unwrap().to_string(), "7d");
    assert_eq!(Period::parse(&Period::parse("1d, 0.5s").unwrap().to_string()), Period::parse("1d 0.5s"));
    assert!(Period::parse("776275656h").unwrap_err().contains("longer than a century"));
    assert_eq!(Period::parse("2h").unwrap().to_string(), "2h");
}

#[test]
fn a_secret_that_everybody_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let config = load(&changed(
        "client_id = \"id\"",
        &format!("client_id = \"id\"\nclient_secret_file = {:?}", path.display().to_string()),
    ))
    .unwrap();
    let find = || find_secret(&config, SecretName::JobberClientSecret);

    assert!(find().unwrap_err().to_string().contains("cannot be read (entity not found)"));
    std::fs::write(&path, "s3cret").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = find().unwrap_err().to_string();
    assert!(error.contains("is open to every user of this machine (mode 644); run: chmod 600"), "{error}");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(find().unwrap().1, SecretSource::File(path));
    let missing = find_secret(&config, SecretName::StoreKey).unwrap_err().to_string();
    assert_eq!(
        missing,
        "store.key_file: the secret is missing; set it to a file with the secret, load the systemd credential store_key, or set JOBBER_REVIEWD__STORE__KEY"
    );
}
