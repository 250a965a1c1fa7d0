//! Every key of the settings: its name, its default and what it is about.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    /// The default as TOML. `None` if the key is required or optional without a default.
    pub default: Option<&'static str>,
    pub required: bool,
    pub about: &'static str,
}

impl Key {
    /// The key's name in an account's own settings, such as `delay` for `review.delay`. `None` if accounts
    /// cannot have it.
    pub fn of_account(&self) -> Option<&'static str> {
        self.name.strip_prefix(OF_ACCOUNTS).filter(|_| self.name != SHARED)
    }
}

const fn key(name: &'static str, default: Option<&'static str>, about: &'static str) -> Key {
    Key { name, default, required: false, about }
}

const fn required(name: &'static str, about: &'static str) -> Key {
    Key { name, default: None, required: true, about }
}

/// Prefix of the keys that an account can override, and the one exception below it.
pub(super) const OF_ACCOUNTS: &str = "review.";
const SHARED: &str = "review.cooldown_across_accounts";

/// Old names of keys below [`OF_ACCOUNTS`], which are still understood, and their present names.
pub(super) const RENAMED: &[(&str, &str)] = &[("only_titles", "only_named"), ("not_titles", "not_named")];

/// All keys in the order of the file.
pub const KEYS: &[Key] = &[
    key(
        "rules",
        Some("[]"),
        "What is done in Jobber after something happened: a table `[[rules]]` each, with `on`, `do` and `with`, see [actions.md](actions.md#rules).",
    ),
    required("jobber.client_id", "Client id of your app in Jobber's developer centre."),
    key("jobber.client_secret_file", None, "File that holds the app's client secret."),
    key(
        "jobber.api_base",
        Some("\"https://api.getjobber.com/api\""),
        "Where Jobber's API is; `/oauth/authorize`, `/oauth/token` and `/graphql` are below it.",
    ),
    key(
        "jobber.draft_app",
        Some("true"),
        "Whether the app is still a draft. Jobber blocks a draft app that is installed on more than 5 paying accounts.",
    ),
    key(
        "jobber.budget_share",
        Some("50"),
        "The most the daemon uses of each account's API points, in percent; the rest is left for other programs that use the app.",
    ),
    key(
        "http.listen",
        Some("\"127.0.0.1:8787\""),
        "Address and port of the connect pages, the OAuth callback and `/healthz`.",
    ),
    required(
        "http.public_url",
        "How browsers reach `http.listen`; the redirect URI is this plus `/oauth/callback`.",
    ),
    key(
        "metrics.listen",
        None,
        "Address and port of `/metrics` for Prometheus, such as `127.0.0.1:9187`; without it nothing is counted.",
    ),
    key(
        "metrics.accounts",
        Some("500"),
        "At most so many accounts, the first by name, have series of their own there, with their names; 0 is none.",
    ),
    key(
        "control.socket",
        Some("\"/run/jobber-reviewd/control.sock\""),
        "Socket through which the command line reaches a running daemon.",
    ),
    key("store.path", Some("\"/var/lib/jobber-reviewd/store\""), "Folder of the store."),
    key(
        "store.url",
        None,
        "A PostgreSQL database instead of that folder: `postgres://reviewd@db.example.com/reviewd`, without a password. Several daemons may name it: one works, the others stand by.",
    ),
    key("store.password_file", None, "File that holds the password at the database, if it wants one."),
    key("store.key_file", None, "File that holds the key which seals tokens: 32 random bytes in base64."),
    key(
        "store.retention",
        Some("\"730d\""),
        "How long decisions and past asks are kept; must be longer than `review.max_age` and `review.cooldown`.",
    ),
    key(
        "store.personal_retention",
        Some("\"365d\""),
        "How long names, contacts, titles of work, texts of reviews and answers of Jobber's to writes are kept of what is settled; afterwards only ids, reasons and times stay.",
    ),
    key(
        "poll.schedule",
        Some("\"0 */5 * * * *\""),
        "When to sweep: cron in UTC with six fields, seconds first.",
    ),
    key(
        "poll.concurrency",
        Some("256"),
        "How many accounts are swept or rechecked at the same time; fewer while Jobber fails.",
    ),
    key(
        "outgoing.private_addresses",
        Some("false"),
        "Whether requests may go to addresses that are not public, such as a receiver in your own network.",
    ),
    key(
        "outgoing.proxy",
        None,
        "HTTP proxy for all outgoing requests; the addresses of receivers are then looked up by the proxy, and it must keep them from your own network. Proxies named in the environment are not used.",
    ),
    key(
        "alerts.webhook_url",
        None,
        "URL that gets a signed message when something breaks and when it works again.",
    ),
    key(
        "alerts.command",
        Some("[]"),
        "Program with its arguments that gets the same message on its standard input: `[\"/usr/local/bin/tell\", \"ops\"]`.",
    ),
    key(
        "alerts.format",
        Some("\"json\""),
        "What that webhook and that program get: `json`, `slack`, `discord` (their incoming webhooks) or `text`.",
    ),
    key(
        "alerts.digest",
        None,
        "When those channels get what happened in a week, such as `monday 08:00`, in the time zone of `review.window.timezone`; without it they do not.",
    ),
    key(
        "alerts.mail.server",
        None,
        "Mail server that gets alerts as text: `smtps://mail.example.com` (TLS) or `smtp://mail.example.com` (STARTTLS, which must be there), with a port if it is another.",
    ),
    key("alerts.mail.user", None, "User name at the mail server, if it wants one."),
    key(
        "alerts.mail.password_file",
        None,
        "File that holds the password at the mail server, if there is a user name.",
    ),
    key("alerts.mail.from", None, "Sender of the mails, such as `reviews@example.com`."),
    key("alerts.mail.to", Some("[]"), "Who gets them: `[\"ops@example.com\"]`."),
    key(
        "events.enabled",
        Some("false"),
        "Whether Jobber sends its events for every account, without `events enable`: the daemon creates and deletes the app's webhooks as they are needed.",
    ),
    key(
        "events.webhook_url",
        None,
        "URL that gets the changes named in `events.topics`, signed and retried like asks; without it, no changes are watched.",
    ),
    key(
        "events.topics",
        Some("[\"client.updated\"]"),
        "Which changes are sent there: `client.updated`, `job.updated`, `visit.completed`, `invoice.updated`; each topic costs one more request per account and sweep.",
    ),
    key(
        "events.forward",
        Some("[]"),
        "Which of Jobber's events are forwarded, and where: a table `[[events.forward]]` each, with `topics`, `url` and `include`, see [receiver.md](receiver.md#jobbers-events).",
    ),
    key(
        "actions.write",
        Some("[]"),
        "Which actions may write in Jobber, by the command line, the HTTP API and rules: `[\"clients.note\", \"jobs.*\"]`; `api` is for mutations of the raw call.",
    ),
    key(
        "api.listen",
        None,
        "Address and port of the HTTP API, such as `127.0.0.1:8788`; without it there is none. Never the public listener: put it behind your web server with https, or keep it on this machine.",
    ),
    key(
        "console.listen",
        None,
        "Address and port of the operator's console, such as `127.0.0.1:8790`; without it there is none. Only an address of this machine itself.",
    ),
    key(
        "brand.name",
        None,
        "Your name on the pages that contractors see; without it, the host of `http.public_url` stands there.",
    ),
    key(
        "brand.contact",
        None,
        "Whom contractors can ask: an e-mail address or a phone number, shown on the pages.",
    ),
    key("brand.privacy", None, "The address of what you say about privacy; the pages link to it."),
    key(
        "brand.logo",
        None,
        "A picture above the pages: a `.png`, `.svg`, `.jpg` or `.webp` of at most 256 KiB. It is read at the start.",
    ),
    key(
        "brand.accent",
        None,
        "The colour of the button, such as `#12715b`. The text on it becomes white or black, whatever can be read.",
    ),
    key(
        "brand.languages",
        Some("[\"en\", \"es\", \"fr\"]"),
        "The languages of the pages: English, Spanish, French (Canada). The browser chooses; without any of its own, the first one.",
    ),
    key(
        "review.trigger",
        Some("\"job_completed\""),
        "What fires an ask: `job_completed`, `visit_completed`, `invoice_created` or `invoice_paid`. A link can choose another.",
    ),
    key("review.include_drafts", Some("false"), "Whether `invoice_created` counts drafts."),
    required("review.webhook_url", "Where asks are posted: the review platform's webhook."),
    key(
        "review.webhook_secret_file",
        None,
        "File that holds the secret which signs asks: `whsec_` and base64 (Standard Webhooks).",
    ),
    key("review.delay", Some("\"2h\""), "How long after completion the customer is asked."),
    key("review.max_age", Some("\"7d\""), "Work finished longer ago than this is not asked about."),
    key(
        "review.last_visit_within",
        Some("\"14d\""),
        "For `job_completed`: a job whose last completed visit was longer than this before its close is not asked about; neither is a job whose visits were all left incomplete. A job without visits counts by its close.",
    ),
    key(
        "review.burst_above",
        Some("20"),
        "When more works than this, and more than three times the usual number of a day, are finished within an hour, they are held until the operator decides (`queue release-burst`, `queue drop-burst`); `0` holds nothing.",
    ),
    key(
        "review.cooldown",
        Some("\"180d\""),
        "A person, recognised by phone or e-mail, is asked at most once in this time, for any work, client or trigger; `0s` means no limit.",
    ),
    key(
        "review.cooldown_across_accounts",
        Some("false"),
        "Whether the cooldown also counts asks by other contractors.",
    ),
    key(
        "review.shadow",
        Some("false"),
        "Decide everything but send nothing, to compare with an old automation (`shadow report`).",
    ),
    key("review.never_tag", Some("\"no-review\""), "Clients with this tag in Jobber are never asked."),
    key(
        "review.hold_tag",
        Some("\"hold-review\""),
        "Clients with this tag in Jobber are not asked until the tag is removed; work that becomes older than `max_age` meanwhile is skipped.",
    ),
    key(
        "review.min_total",
        None,
        "Work with a smaller total is not asked about; in whole currency units. Without it, invoices that total zero are not asked about (`0` asks about them too).",
    ),
    key(
        "review.only_named",
        Some("[]"),
        "Ask only about work with one of these words in its name; an empty list means any work. The name is the title, or the first three line items if the title is blank.",
    ),
    key("review.not_named", Some("[]"), "Do not ask about work with one of these words in its name."),
    key(
        "review.greet",
        Some("\"contact\""),
        "How companies are greeted: `contact` by the first name on the card if there is one, `company` by their name.",
    ),
    key(
        "review.phones",
        Some("\"sms_allowed\""),
        "Which numbers asks go to: `sms_allowed` those that Jobber marks as taking texts, `any` the others too if there is none.",
    ),
    key("review.clients", Some("\"all\""), "Which clients are asked: `all`, `people` or `companies`."),
    key(
        "review.jobber_switch",
        Some("\"auto\""),
        "What Jobber's own switch for review requests on a job or invoice means here: `respect` skips work with the switch off, `ignore` does not, `auto` respects it unless it is off on nearly all finished records that changed last.",
    ),
    key(
        "review.message",
        None,
        "Template for the message to the customer, instead of the built-in one (see *Templates*).",
    ),
    key(
        "review.body_file",
        None,
        "File with a template of the whole JSON body, for a receiver that wants other field names.",
    ),
    key(
        "review.digest_to",
        Some("[]"),
        "Who gets the account's own week by mail, at `alerts.digest` and through `alerts.mail`: `[\"owner@example.com\"]`. Mostly set for one account.",
    ),
    key(
        "review.window.weekdays",
        Some("\"09:00-20:00\""),
        "Hours when customers are asked from Monday to Friday, in the contractor's time zone; `closed` means never.",
    ),
    key("review.window.saturday", Some("\"09:00-20:00\""), "The same for Saturdays."),
    key("review.window.sunday", Some("\"12:00-20:00\""), "The same for Sundays."),
    key("review.window.holidays", Some("[]"), "Days on which nobody is asked: `[\"2026-12-25\"]`."),
    key(
        "review.window.timezone",
        Some("\"America/New_York\""),
        "Time zone for contractors when Jobber does not give theirs.",
    ),
];
