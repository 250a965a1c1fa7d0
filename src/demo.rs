//! The demo in one process: a local Jobber, a review platform, the daemon, and its users.
//!
//! Everything is real: the link and its pages, the consent, the GraphQL, the signed requests, the retry
//! schedule. Only the clock is faster: one second is ten minutes, so that nobody waits two hours.

mod stage;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};

use crate::daemon::stop_on_signal;
use crate::domain::model::{
    AccountId, Alert, AlertKind, AskId, Decision, EncodedId, MessageId, Outcome, SkipReason, Trigger, WorkRef,
};
use crate::ops::actions::Caller;
use crate::ops::protocol::{self, Scene, Verb};
use crate::ops::reviews::{Told, review};
use crate::text_table::table;
use jobber_sandbox::Op;
use stage::Stage;

const SPEED: u32 = 600;

const SPEED_AFTERWARDS: u32 = 60;

const OLD_JOBS: usize = 60;

const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) async fn run(keep: bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    let stage = Stage::set().await?;
    let stop = stage.context.stop.clone();
    let daemon = tokio::spawn(stage.daemon_task()?);
    let played = Play { stage: &stage }.tell().await;
    if let Err(error) = played {
        stop.cancel();
        let _ended = daemon.await;
        return Err(error);
    }
    tell("")?;
    tell(&format!(
        "Finished in {:.1} seconds; the clock ran {SPEED} times faster than real time.",
        begun.elapsed().as_secs_f64()
    ))?;
    if keep {
        stage.slow_down();
        stage.invite().await?;
        stop_on_signal(stop.clone())?;
        stop.cancelled().await;
    }
    stop.cancel();
    daemon.await?
}

fn tell(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("the output cannot be written")
}

struct Play<'s> {
    stage: &'s Stage,
}

struct Customer {
    name: String,
    client: String,
    job: WorkRef,
    title: String,
}

impl Play<'_> {
    async fn tell(&self) -> anyhow::Result<()> {
        let Stage { sandbox, public_url, .. } = self.stage;
        tell("Three programs run in this process, each on a port of its own:")?;
        tell(&format!("  a local Jobber     http://{}/", sandbox.address()))?;
        tell(&format!("  the daemon         {public_url}/"))?;
        tell(&format!(
            "  a review platform  {} (it will fail twice)",
            self.stage.context.config.review.webhook_url
        ))?;
        tell("")?;

        let account = self.account("Ace Plumbing")?;
        let [john, maria, peter, aisha, walter, grace] = self.customers(account)?;
        self.close(account, &walter)?;
        tell(&format!(
            "Ace Plumbing closes a job: {} for {}. Nobody is connected yet.",
            walter.title, walter.name
        ))?;
        let id = self.connect(account, &walter).await?;

        self.edit_client(account, &maria, "receivesReviewRequests: false")?;
        for customer in [&john, &maria, &peter, &aisha, &grace] {
            self.close(account, customer)?;
        }
        tell("Five jobs are closed:")?;
        tell(&format!(
            "  {} ({}) and {} ({}): both can be asked",
            john.name, john.title, grace.name, grace.title
        ))?;
        tell(&format!("  {}: does not want review requests", maria.name))?;
        tell(&format!("  {}: has no phone that takes texts and no e-mail address", aisha.name))?;
        tell(&format!("  {}: nothing wrong yet", peter.name))?;
        let all = [&john, &maria, &peter, &aisha, &grace];
        self.until("all five seen", async || {
            let mut seen = true;
            for customer in all {
                seen &= self.decision(&id, &customer.job).await?.is_some();
            }
            Ok(seen.then_some(()))
        })
        .await?;
        tell("The daemon has seen them and waits half an hour.")?;
        self.reopen(account, &peter)?;
        tell(&format!("  Meanwhile {}’s job is reopened: the drain is blocked again.", peter.name))?;
        self.until("every decision", async || {
            let done = self.skipped(&id, &peter, SkipReason::NoLongerFinished).await?
                && self.skipped(&id, &maria, SkipReason::ClientOptedOut).await?
                && self.skipped(&id, &aisha, SkipReason::NoContact).await?;
            Ok(done.then_some(()))
        })
        .await?;
        tell("The half hour is over. The daemon reads everything again and decides:")?;
        tell(&format!("  {}, {} and {} are not asked.", maria.name, aisha.name, peter.name))?;
        self.until("two asks", async || Ok((self.stage.platform().asks.len() == 2).then_some(()))).await?;
        let requests = self.stage.platform().requests;
        tell(&format!(
            "  {} and {} are asked. The platform failed twice, so it got {requests} requests, but only one id for each ask.",
            john.name, grace.name
        ))?;
        tell("")?;

        self.close_the_loop(account, &john).await?;
        self.tidy_up(account, &id, &john).await?;
        self.ask_nobody_twice(account, &id, &john).await?;
        self.hear_at_once(account, &peter).await?;
        self.forward_a_quote(account, &grace).await?;
        let stats = self.stage.sandbox.stats(account);
        tell(&format!(
            "Jobber answered {} requests for {} points of the account’s budget.",
            stats.requests, stats.points
        ))?;
        self.tables(&id).await
    }

    async fn connect(&self, account: u64, walter: &Customer) -> anyhow::Result<AccountId> {
        let url = self.stage.new_link("Ace Plumbing", Trigger::JobCompleted).await?;
        tell(
            "The admin makes a one-time link. The contractor opens it, presses the button, and allows access in Jobber:",
        )?;
        self.stage.walk_through(&url, account, Trigger::JobCompleted).await?;
        let id = self.connected().await?;
        tell("  connected; customers are asked half an hour after a job is closed.")?;
        self.until("the first sweep", async || {
            Ok(self.skipped(&id, walter, SkipReason::BeforeConnection).await?.then_some(()))
        })
        .await?;
        tell(&format!("  {}’s job was closed before that, so it is never asked about.", walter.name))?;
        tell("")?;
        Ok(id)
    }

    /// What was asked and what came of it stands in Jobber.
    async fn close_the_loop(&self, account: u64, john: &Customer) -> anyhow::Result<()> {
        let asks = self.stage.platform().asks.clone();
        let of_john = asks.iter().find(|(_, body)| body["client"]["id"] == john.client.as_str());
        let (ask, _) = of_john.context("John was not asked")?;
        let told = Told { rating: 5.0, text: Some("Hot water again, thank you!".to_owned()), url: None };
        review(&self.stage.context, &Caller::Operator, &AskId::new(ask.as_str()), told).await?;
        tell(&format!(
            "{} writes a review, and the platform tells. Two rules write into Jobber:",
            john.name
        ))?;
        let notes = self
            .until("the notes", async || {
                let document = "query ($client: EncodedId!, $job: EncodedId!) { client(id: $client) { notes(first: 5) { nodes { message } } } job(id: $job) { notes(first: 5) { nodes { ... on JobNote { message } } } } }";
                let data = self.jobber(account, document, json!({"client": john.client, "job": john.job.id}))?;
                let of = |record: &str| data[record]["notes"]["nodes"][0]["message"].as_str().map(str::to_owned);
                Ok(of("client").zip(of("job")))
            })
            .await?;
        tell(&format!("  on the client: {}", notes.0))?;
        tell(&format!("  on the job:    {}", notes.1))?;
        tell("")
    }

    /// Sixty old jobs are closed in one sitting.
    async fn tidy_up(&self, account: u64, id: &AccountId, john: &Customer) -> anyhow::Result<()> {
        for _ in 0..OLD_JOBS {
            let job = self.old_job(account, john)?;
            self.close(account, &job)?;
        }
        tell(&format!("Somebody in the office tidies up and closes {OLD_JOBS} old jobs at once."))?;
        let alert = self
            .until("the burst", async || {
                let mut alerts = self.stage.context.notifier.standing().await?.into_iter();
                let is_whole =
                    |alert: &Alert| alert.kind == AlertKind::BurstHeld && alert.held_up == OLD_JOBS;
                Ok(alerts.find(is_whole))
            })
            .await?;
        tell("  Nobody is asked: all of them are held, and the operator is told once:")?;
        tell(&format!("  \"{}\"", alert.summary))?;
        let dropped = self.run(protocol::QueueDropBurst { account: id.to_string() }).await?;
        tell(&format!("  The operator drops the burst: {}.", dropped.done))?;
        tell("")
    }

    /// Another trigger and another card, but the same work and the same person.
    async fn ask_nobody_twice(&self, account: u64, id: &AccountId, john: &Customer) -> anyhow::Result<()> {
        let url = self.stage.new_link("Ace Plumbing", Trigger::InvoicePaid).await?;
        self.stage.walk_through(&url, account, Trigger::InvoicePaid).await?;
        tell(
            "Ace Plumbing chooses another trigger, through another link: from now on, customers are asked when an invoice is paid.",
        )?;
        let invoice = self.pay(account, john)?;
        tell(&format!("  {} pays for the {}, the work he was asked about.", john.name, john.title))?;
        self.until("the last decision", async || {
            let skipped = matches!(
                self.decision(id, &invoice).await?.map(|decision| decision.outcome),
                Some(Outcome::Skipped { reason: SkipReason::AlreadyAsked })
            );
            Ok(skipped.then_some(()))
        })
        .await?;
        tell("  He is not asked again.")?;
        let joan = self.second_card(account, john)?;
        let invoice = self.pay(account, &joan)?;
        tell(&format!(
            "Somebody in the office creates a second client, {}, with the phone number of {}; a {} is done and paid.",
            joan.name, john.name, joan.title
        ))?;
        self.until("the second card", async || {
            let skipped = matches!(
                self.decision(id, &invoice).await?.map(|decision| decision.outcome),
                Some(Outcome::Skipped { reason: SkipReason::AskedRecently })
            );
            Ok(skipped.then_some(()))
        })
        .await?;
        tell("  It is the same person, who is not asked again for half a year.")
    }

    /// Jobber sends an event, so no sweep is needed.
    async fn hear_at_once(&self, account: u64, peter: &Customer) -> anyhow::Result<()> {
        self.run(protocol::EventsTurn { account: None, on: true }).await?;
        let (set, unset) = ([("delay".to_owned(), json!("0s"))].into(), vec![]);
        let name = "Ace Plumbing".to_owned();
        self.run(protocol::AccountSet { account: name, set, unset, body: None, secret: None }).await?;
        tell("From now on Jobber sends events, and Ace Plumbing sets its delay to zero.")?;
        let before = self.stage.platform().asks.len();
        self.close(account, peter)?;
        self.pay(account, peter)?;
        let paid = Instant::now();
        self.until("the ask", async || Ok((self.stage.platform().asks.len() > before).then_some(()))).await?;
        tell(&format!(
            "  {} pays for the {}, which is fixed now. The ask reaches the platform {} ms later.",
            peter.name,
            peter.title,
            paid.elapsed().as_millis()
        ))?;
        tell("")
    }

    /// Any of Jobber's events goes on, with the record.
    async fn forward_a_quote(&self, account: u64, grace: &Customer) -> anyhow::Result<()> {
        let quote = self.quote(account, grace)?;
        let (field, value) = ("quoteStatus".to_owned(), json!("approved"));
        let approve = Op::SetField { account, id: quote, field, value, touch: true };
        self.stage.sandbox.control(approve).map_err(|error| anyhow!(error))?;
        let event = self
            .until("the quote", async || Ok(self.stage.platform().events.values().next().cloned()))
            .await?;
        tell(&format!(
            "{} approves a quote, and the event goes on to the platform with the record:",
            grace.name
        ))?;
        let record = &event["record"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        tell(&format!(
            "  {} of quote #{} \"{}\" over {}",
            text(&event["topic"]),
            text(&record["quoteNumber"]),
            text(&record["title"]),
            record["amounts"]["total"]
        ))?;
        tell("")
    }

    async fn run<V: Verb>(&self, verb: V) -> anyhow::Result<V::Reply> {
        // Messages before the reply are dropped.
        let (tell, _) = tokio::sync::mpsc::channel(1);
        let scene = Scene { context: &self.stage.context, is_daemon: true, tell };
        Ok(verb.run(scene).await?)
    }

    async fn tables(&self, id: &AccountId) -> anyhow::Result<()> {
        let row = |(ask, body): (&MessageId, &Value)| {
            let text =
                |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
            [text("/client/name"), text("/client/phone"), text("/message"), ask.to_string()]
        };
        let asked: Vec<[String; 4]> = self.stage.platform().asks.iter().map(row).collect();
        tell("\nASKED\n")?;
        tell(&table(&["customer", "phone", "message", "id"], "Nobody was asked.", asked.into_iter()))?;
        let decisions = self.stage.context.store.decisions(id).await?;
        let clients: BTreeMap<EncodedId, String> = self.client_names(id).await?;
        let is_tidied =
            |decision: &&Decision| decision.outcome == Outcome::Skipped { reason: SkipReason::BurstDropped };
        let tidied = decisions.iter().filter(is_tidied).count();
        let skipped = decisions.iter().filter(|decision| !is_tidied(decision)).filter_map(|decision| {
            let Outcome::Skipped { reason } = decision.outcome else { return None };
            let client = decision.subject.client_id.as_ref().and_then(|client| clients.get(client));
            let name = client.cloned().unwrap_or_else(|| "-".to_owned());
            Some([
                name,
                decision.work.kind.as_str().to_owned(),
                reason.to_string(),
                reason.describe().to_owned(),
            ])
        });
        tell("\nNOT ASKED\n")?;
        tell(&table(&["customer", "work", "reason", "in words"], "Everybody was asked.", skipped))?;
        tell(&format!("and {tidied} old jobs that were closed at once"))
    }

    async fn until<T>(
        &self,
        what: &str,
        look: impl AsyncFn() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            if begun.elapsed() > PATIENCE {
                bail!("the story got stuck waiting for {what}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn connected(&self) -> anyhow::Result<AccountId> {
        let store = &self.stage.context.store;
        self.until("the connection", async || {
            Ok(store.accounts().await?.into_iter().next().map(|account| account.id))
        })
        .await
    }

    async fn decision(&self, id: &AccountId, work: &WorkRef) -> anyhow::Result<Option<Decision>> {
        Ok(self.stage.context.store.decision(id, work).await?)
    }

    async fn skipped(&self, id: &AccountId, customer: &Customer, reason: SkipReason) -> anyhow::Result<bool> {
        let outcome = self.decision(id, &customer.job).await?.map(|decision| decision.outcome);
        Ok(outcome == Some(Outcome::Skipped { reason }))
    }

    // In Jobber

    fn account(&self, name: &str) -> anyhow::Result<u64> {
        let state = self.stage.sandbox.control(Op::State).map_err(|error| anyhow!(error))?;
        let accounts = state["accounts"].as_array().cloned().unwrap_or_default();
        let found =
            accounts.iter().find(|account| account["name"]["name"] == name || account["name"] == name);
        found.and_then(|account| account["account"].as_u64()).context("no such contractor")
    }

    fn jobber(&self, account: u64, document: &str, variables: Value) -> anyhow::Result<Value> {
        let answer = self.stage.sandbox.graphql(account, document, variables);
        match answer.get("errors") {
            None => Ok(answer["data"].clone()),
            Some(errors) => bail!("Jobber refused: {errors}"),
        }
    }

    fn customers<const N: usize>(&self, account: u64) -> anyhow::Result<[Customer; N]> {
        let document = "{ jobs(first: 50, sort: [{key: JOB_NUMBER, direction: ASCENDING}]) { nodes { id title client { id name } } } }";
        let data = self.jobber(account, document, Value::Null)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let jobs = data["jobs"]["nodes"].as_array().cloned().unwrap_or_default();
        let customers: Vec<Customer> = jobs
            .iter()
            .map(|job| Customer {
                name: text(&job["client"]["name"]),
                client: text(&job["client"]["id"]),
                job: WorkRef::job(EncodedId::new(text(&job["id"]))),
                title: text(&job["title"]),
            })
            .collect();
        customers.try_into().map_err(|_| anyhow!("the seed has another cast"))
    }

    async fn client_names(&self, id: &AccountId) -> anyhow::Result<BTreeMap<EncodedId, String>> {
        let account =
            self.account(&self.stage.context.store.account(id).await?.context("no account")?.name)?;
        let data = self.jobber(account, "{ clients(first: 100) { nodes { id name } } }", Value::Null)?;
        let clients = data["clients"]["nodes"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(clients
            .iter()
            .map(|client| (EncodedId::new(text(&client["id"])), text(&client["name"])))
            .collect())
    }

    fn close(&self, account: u64, customer: &Customer) -> anyhow::Result<()> {
        let document = "mutation ($id: EncodedId!) { jobClose(jobId: $id, input: {modifyIncompleteVisitsBy: COMPLETE_PAST_DESTROY_FUTURE}) { userErrors { message } } }";
        self.jobber(account, document, json!({"id": customer.job.id})).map(drop)
    }

    fn reopen(&self, account: u64, customer: &Customer) -> anyhow::Result<()> {
        let document = "mutation ($id: EncodedId!) { jobReopen(jobId: $id) { userErrors { message } } }";
        self.jobber(account, document, json!({"id": customer.job.id})).map(drop)
    }

    fn edit_client(&self, account: u64, customer: &Customer, change: &str) -> anyhow::Result<()> {
        let document = format!(
            "mutation ($id: EncodedId!) {{ clientEdit(clientId: $id, input: {{{change}}}) {{ userErrors {{ message }} }} }}"
        );
        self.jobber(account, &document, json!({"id": customer.client})).map(drop)
    }

    fn old_job(&self, account: u64, of: &Customer) -> anyhow::Result<Customer> {
        let document =
            "query ($id: EncodedId!) { client(id: $id) { clientProperties(first: 1) { nodes { id } } } }";
        let data = self.jobber(account, document, json!({"id": of.client}))?;
        let property = &data["client"]["clientProperties"]["nodes"][0]["id"];
        let document = "mutation ($p: EncodedId!) { jobCreate(input: {propertyId: $p, invoicing: {invoicingType: FIXED_PRICE, invoicingSchedule: ON_COMPLETION}}) { job { id } } }";
        let made = self.jobber(account, document, json!({"p": property}))?;
        let job = made["jobCreate"]["job"]["id"].as_str().context("no job")?.to_owned();
        let (name, client) = (of.name.clone(), of.client.clone());
        Ok(Customer { name, client, job: WorkRef::job(EncodedId::new(job)), title: String::new() })
    }

    fn second_card(&self, account: u64, of: &Customer) -> anyhow::Result<Customer> {
        let phones = "query ($id: EncodedId!) { client(id: $id) { phones { number } } }";
        let data = self.jobber(account, phones, json!({"id": of.client}))?;
        let number = data["client"]["phones"][0]["number"].as_str().context("no telephone")?;
        let made = self.jobber(
            account,
            "mutation ($c: ClientCreateInput!) { clientCreate(input: $c) { client { id name clientProperties(first: 1) { nodes { id } } } } }",
            json!({"c": {
                "firstName": "J.", "lastName": of.name.split(' ').next_back(),
                "phones": [{"number": number, "smsAllowed": true}],
                "properties": [{"address": {"street1": "9 Elm St"}}],
            }}),
        )?;
        let client = &made["clientCreate"]["client"];
        let title = "Tap Repair";
        let made = self.jobber(
            account,
            "mutation ($p: EncodedId!, $t: String!) { jobCreate(input: {propertyId: $p, title: $t, invoicing: {invoicingType: FIXED_PRICE, invoicingSchedule: ON_COMPLETION}}) { job { id } } }",
            json!({"p": client["clientProperties"]["nodes"][0]["id"], "t": title}),
        )?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let card = Customer {
            name: text(&client["name"]),
            client: text(&client["id"]),
            job: WorkRef::job(EncodedId::new(text(&made["jobCreate"]["job"]["id"]))),
            title: title.to_owned(),
        };
        self.close(account, &card)?;
        Ok(card)
    }

    fn quote(&self, account: u64, of: &Customer) -> anyhow::Result<String> {
        let property =
            "query ($id: EncodedId!) { client(id: $id) { clientProperties(first: 1) { nodes { id } } } }";
        let data = self.jobber(account, property, json!({"id": of.client}))?;
        let property = &data["client"]["clientProperties"]["nodes"][0]["id"];
        let document = "mutation ($c: EncodedId!, $p: EncodedId!) { quoteCreate(attributes: {clientId: $c, propertyId: $p, title: \"New gutters\", lineItems: [{name: \"Gutter\", unitPrice: 12, quantity: 40, saveToProductsAndServices: false}]}) { quote { id } userErrors { message } } }";
        let made = self.jobber(account, document, json!({"c": of.client, "p": property}))?;
        Ok(made["quoteCreate"]["quote"]["id"].as_str().context("no quote")?.to_owned())
    }

    fn pay(&self, account: u64, customer: &Customer) -> anyhow::Result<WorkRef> {
        let document = "mutation ($client: EncodedId!, $job: EncodedId!) { invoiceCreate(input: {clientId: $client, jobIds: [$job], markSent: true, dueDetails: {}, tax: {taxCalculationMethod: EXCLUSIVE}, lineItems: [{name: \"Work\", unitPrice: 2500, quantity: 1}]}) { invoice { id } userErrors { message } } }";
        let data =
            self.jobber(account, document, json!({"client": customer.client, "job": customer.job.id}))?;
        let invoice = data["invoiceCreate"]["invoice"]["id"].as_str().context("no invoice")?.to_owned();
        let op = Op::PayInvoice { account, invoice: invoice.clone(), received_date: None };
        self.stage.sandbox.control(op).map_err(|error| anyhow!(error))?;
        Ok(WorkRef::invoice(EncodedId::new(invoice)))
    }
}
