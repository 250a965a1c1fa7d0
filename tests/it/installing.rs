//! The first minute: `init`, the secrets, and the settings as a schema.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use jobber_reviewd::testing::KEYS;
use jobber_sandbox::{CLIENT_ID, CLIENT_SECRET, Sandbox, Seed};
use serde_json::{Value, json};

use crate::replies;
use crate::support::*;

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_jobber-reviewd"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn one_command_makes_what_the_daemon_starts_with() {
    let sandbox = Sandbox::start(local(), Seed::Empty).await.unwrap();
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join("etc").join(name);
    let settings = path("config.toml").to_str().unwrap().to_owned();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{CLIENT_SECRET}\n")).unwrap();
    let secret = secret.to_str().unwrap();
    let url = receiver.url();
    let all = [
        ["--client-id", CLIENT_ID],
        ["--client-secret-file", secret],
        ["--public-url", "http://127.0.0.1:8787"],
        ["--webhook-url", &url],
    ];
    let init = |flags: &[[&str; 2]]| run(&[&["--config", &settings, "init"], flags.as_flattened()].concat());

    // Nobody is there to be asked, or something is wrong: nothing is written.
    let told = init(&all[..2]);
    assert_eq!(told.status.code(), Some(2));
    assert!(words(&told.stderr).contains("give --public-url, --webhook-url"), "{}", words(&told.stderr));
    let mut wrong = all;
    wrong[2][1] = "reviews.example.com";
    let told = init(&wrong);
    assert_eq!(told.status.code(), Some(2));
    assert!(words(&told.stderr).contains("http.public_url"), "{}", words(&told.stderr));
    assert!(!path("config.toml").exists() && !path("store_key").exists());

    let told = init(&all);
    let text = words(&told.stdout);
    assert_eq!(told.status.code(), Some(0), "{}", words(&told.stderr));
    for part in ["http://127.0.0.1:8787/oauth/callback", "Scheduled Items: read", "whsec_", "Next: "] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(CLIENT_SECRET));
    assert_eq!(mode(&path("config.toml")), 0o644);
    for name in ["store_key", "webhook_secret", "jobber_client_secret"] {
        assert_eq!(mode(&path(name)), 0o600, "{name}");
    }
    assert!(text.contains(std::fs::read_to_string(path("webhook_secret")).unwrap().trim()));
    assert_eq!(std::fs::read_dir(folder.path().join("etc")).unwrap().count(), 4, "nothing is left over");
    let checked = run(&["--config", &settings, "config", "check"]);
    assert_eq!(checked.status.code(), Some(0), "{}", words(&checked.stderr));

    // And the daemon's own check of it all, against Jobber and the platform.
    let doctor = program(&["--config", &settings, "doctor"])
        .env("JOBBER_REVIEWD__JOBBER__API_BASE", sandbox.api_base())
        .env("JOBBER_REVIEWD__HTTP__LISTEN", "127.0.0.1:0")
        .env("JOBBER_REVIEWD__STORE__PATH", folder.path().join("store"))
        .env("JOBBER_REVIEWD__CONTROL__SOCKET", folder.path().join("control.sock"))
        .env("JOBBER_REVIEWD_FIRST_START", "true")
        .output();
    let doctor = tokio::task::spawn_blocking(move || doctor.unwrap()).await.unwrap();
    let text = words(&doctor.stdout);
    assert!(
        text.contains("secrets") && text.contains("store") && !text.contains("FAILED  secrets"),
        "{text}"
    );

    let before: Vec<String> =
        ["config.toml", "store_key"].map(|name| std::fs::read_to_string(path(name)).unwrap()).to_vec();
    let told = init(&all);
    assert_eq!(told.status.code(), Some(2));
    assert!(words(&told.stderr).contains("nothing is written over them"), "{}", words(&told.stderr));
    let after: Vec<String> =
        ["config.toml", "store_key"].map(|name| std::fs::read_to_string(path(name)).unwrap()).to_vec();
    assert_eq!(before, after);
}

/// As after the package was installed: the example and two secrets are there.
#[tokio::test]
async fn what_the_package_brought_is_kept_and_completed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let example = std::fs::read_to_string("systemd/config.example.toml").unwrap();
    std::fs::write(path("config.toml"), example.replace("# delay = \"2h\"", "delay = \"3h\"")).unwrap();
    std::fs::write(path("webhook_secret"), "whsec_bXkgb3duIHNlY3JldCBvZiBzdWZmaWNpZW50IHNpemU=\n").unwrap();
    let settings = path("config.toml").to_str().unwrap().to_owned();
    let flags = [
        "--json",
        "--config",
        &settings,
        "init",
        "--client-id",
        "id",
        "--client-secret-file",
        "-",
        "--public-url",
        "https://r.example.com",
        "--webhook-url",
        "https://p.example.com/hook",
    ];
    let mut init = program(&flags);
    let mut init = init.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut init.stdin.take().unwrap(), b"from stdin\n").unwrap();
    let told = init.wait_with_output().unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(replies::misfit_of("initialised", &told), None);
    assert_eq!(told["redirect_uri"], "https://r.example.com/oauth/callback");
    assert_eq!(told["webhook_secret"], "whsec_bXkgb3duIHNlY3JldCBvZiBzdWZmaWNpZW50IHNpemU=");
    let written = std::fs::read_to_string(path("config.toml")).unwrap();
    assert!(written.contains("\ndelay = \"3h\"\n") && written.contains("client_id = \"id\"\n"), "{written}");
    assert_eq!(std::fs::read_to_string(path("jobber_client_secret")).unwrap(), "from stdin\n");
}

#[test]
fn the_version_says_more_to_whoever_asks() {
    let short = words(&run(&["--version"]).stdout);
    assert_eq!(short, format!("jobber-reviewd {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(words(&run(&["-V"]).stdout), short);
    let told = words(&run(&["--version", "--verbose"]).stdout);
    for part in ["commit: ", "Jobber's API: 20", "features: demo", "target: ", "rustc: "] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told: Value = serde_json::from_slice(&run(&["--version", "--verbose", "--json"]).stdout).unwrap();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--verbose"]).status.code(), Some(2), "only with --version");
}

#[test]
fn a_secret_is_new_each_time_and_never_written_over() {
    let made = || words(&run(&["secret", "new", "webhook-secret"]).stdout);
    let (one, other) = (made(), made());
    assert!(one.starts_with("whsec_") && one != other);
    assert!(standardwebhooks::Webhook::new(one.trim()).is_ok());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let write = || run(&["secret", "new", "store-key", "--file", file.to_str().unwrap()]);
    assert_eq!(write().status.code(), Some(0));
    let (kept, mode) = (std::fs::read_to_string(&file).unwrap(), mode(&file));
    assert_eq!((kept.trim().len(), mode), (44, 0o600));
    let told = write();
    assert_eq!(told.status.code(), Some(2));
    assert!(words(&told.stderr).contains("is there already"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), kept);
}

#[test]
fn the_schema_of_the_settings_takes_what_the_program_takes() {
    let schema: Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let example = std::fs::read_to_string("systemd/config.example.toml").unwrap();
    let settings = |text: &str| serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    let fits = |text: &str| {
        let value = settings(text);
        let errors: Vec<String> = validator
            .iter_errors(&value)
            .map(|error| format!("{error} at {}", error.instance_path()))
            .collect();
        errors
    };
    assert_eq!(fits(&example), [""; 0]);
    let hint = |line: &str| {
        line.strip_prefix("# ").filter(|rest| rest.split(' ').nth(1) == Some("=")).map(str::to_owned)
    };
    let full: Vec<String> =
        example.lines().map(|line| hint(line).unwrap_or_else(|| line.to_owned())).collect();
    assert_eq!(fits(&full.join("\n")), [""; 0], "with every hint");
    for (right, wrong) in [
        ("client_id = ", "client = "),
        ("# budget_share = 50", "budget_share = 500"),
        ("# trigger = \"job_completed\"", "trigger = \"job_done\""),
        ("# enabled = false", "enabled = \"no\""),
        ("# topics = [\"client.updated\"]", "topics = [\"client\"]"),
        ("public_url = ", "# public_url = "),
    ] {
        assert!(!fits(&example.replacen(right, wrong, 1)).is_empty(), "{wrong}");
    }
    for key in KEYS {
        let path = key.name.split('.').fold(String::new(), |path, part| format!("{path}/properties/{part}"));
        let known = schema.pointer(&path).unwrap_or_else(|| panic!("{}", key.name));
        assert_eq!(known["description"], key.about);
        if let Some(default) = key.default {
            let mut only = json!({});
            *key.name.split('.').fold(&mut only, |value, part| &mut value[part]) =
                serde_json::from_str(default).unwrap();
            let errors: Vec<String> = validator.iter_errors(&only).map(|error| error.to_string()).collect();
            assert!(errors.iter().all(|error| error.contains("required")), "{}: {errors:?}", key.name);
        }
    }
}

/// Whatever the schema lists for a setting, the program takes, and the other way round.
#[test]
fn the_schema_lists_the_words_that_the_program_knows() {
    let schema: Value = serde_json::from_slice(&run(&["config", "schema"]).stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("config.toml");
    let example = std::fs::read_to_string("systemd/config.example.toml").unwrap();
    std::fs::write(&settings, example).unwrap();
    for (key, list) in [
        ("review.trigger", false),
        ("review.greet", false),
        ("review.phones", false),
        ("review.clients", false),
        ("review.jobber_switch", false),
        ("alerts.format", false),
        ("events.topics", true),
        ("brand.languages", true),
    ] {
        let path = key.split('.').fold(String::new(), |path, part| format!("{path}/properties/{part}"));
        let known = schema.pointer(&path).unwrap();
        let listed = if list { &known["items"]["enum"] } else { &known["enum"] };
        let value = if list { "[\"nonsense\"]" } else { "nonsense" };
        let variable = format!("JOBBER_REVIEWD__{}", key.replace('.', "__").to_uppercase());
        let told = program(&["--config", settings.to_str().unwrap(), "config", "show"])
            .env(variable, value)
            .output();
        let told = words(&told.unwrap().stderr);
        for word in listed.as_array().unwrap() {
            let word = word.as_str().unwrap();
            assert!(told.contains(&format!("`{word}`")) || told.contains(word), "{key}: {word} in {told}");
        }
        let count = told.matches('`').count() / 2;
        assert!(count == 0 || count <= listed.as_array().unwrap().len() + 1, "{key} knows more: {told}");
    }
}
