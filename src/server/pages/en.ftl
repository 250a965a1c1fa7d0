# The pages that contractors see. Every language has the same messages with the same values ({ $name } is whoever runs this).

connect-title = Connect Jobber to { $name }
connect-intro = This link was made for “{ $label }”. It connects your Jobber account, so that your customers are asked for a review when their work is done. What is read, and who gets it, stands below.
connect-button = Connect my Jobber account
reconnect-title = Reconnect { $account }
reconnect-button = Reconnect Jobber
reconnect-lost = Jobber does not let { $name } read your account any more, so nobody is asked for a review.
reconnect-kept = Your settings and the requests that wait are kept.
reconnect-anew = The connection was ended, and with it everything that waited. Your settings are kept; customers are asked about work that is finished from now on.

when-question = When should customers be asked?
job-completed = When a job is closed
    .why = All work on the job is done.
visit-completed = After every completed visit
    .why = For recurring jobs that stay open for a long time.
invoice-created = When an invoice is created
    .why = The invoice is on its way to the customer.
invoice-paid = When an invoice is paid
    .why = Only customers who have paid are asked.
recommended = recommended

read-title = What will be read
read-work = jobs, visits and invoices: number, title, address, total, and whether they are finished
read-customer = the customer’s name, phones, e-mails and tags, and whether they want review requests
read-crew = the first names of the people who did the work
read-given = For each request, { $name } gets the customer’s name, phone and e-mail, the number, title, address and total of the work, who did it, and a link to it in Jobber.
read-also = { $name } is also told of { $what }.
watched-clients = changed names and contacts of clients
watched-jobs = changes of jobs
watched-visits = completed visits
watched-invoices = changes of invoices
told-events = what happens to { $records }
told-records = what happens to { $records }, with the records
writes-nothing = Nothing is changed in Jobber.
writes-anything = { $name } may also write in Jobber for you: anything that its permissions there allow.
writes-on = { $name } may also write in Jobber for you, on { $records }.

record-the-connection = the connection
record-clients = clients
record-expenses = expenses
record-invoices = invoices
record-jobs = jobs
record-marketing = marketing
record-payments = payments
record-payouts = payouts
record-products-and-services = products and services
record-properties = properties
record-quotes = quotes
record-requests = requests
record-timesheets = timesheets
record-users = users
record-visits = visits
record-tasks = tasks
record-asks = review requests

happens-title = What will happen
happens-once = The customer gets one request, { $when }.
happens-opted-out = Customers who opted out in Jobber are never asked.
happens-before = Work that was finished before you connect is never asked about.
happens-meanwhile = Work that was finished meanwhile is asked about unless it is older than { $age }, or you choose another moment above.
trouble-question = Nothing happened in Jobber?
trouble-answer = Only an account admin can connect an app. If you are one, ask { $whom }: their app may be full, or your Jobber plan may not allow apps.
button-leads = The button takes you to Jobber, where you sign in and allow access. You can end the connection in Jobber at any time, under Apps.
privacy = Privacy

when-at-once = right after the work is done
when-after = about { $delay } after the work is done
hours-between = between { $from } and { $to }
hours-not-on-weekdays = not on weekdays
hours-saturday = Saturdays { $hours }
hours-sunday = Sundays { $hours }
hours-never = never
minutes = { $count ->
    [one] 1 minute
   *[other] { $count } minutes
}
hours = { $count ->
    [one] 1 hour
   *[other] { $count } hours
}
days = { $count ->
    [one] 1 day
   *[other] { $count } days
}
list-last = { $all } and { $last }

connected-title = { $account } is connected
connected-right = Is this the right account?
connected-other = The link was made for “{ $label }”. If you signed in to another account than you meant to, end the connection in Jobber under Apps, and ask { $name } for a new link.
next-title = What happens next
next-asked = { $trigger }, the customer is asked for a review, { $when }.
next-nothing = Nothing has to be done. You can close this page.
end-title = How to end it
end-how = In Jobber, under Apps, at any time.
questions = Questions? Ask { $name }: { $contact }

front-text = Contractors connect Jobber here through a personal link. If you have one, open it from the message you got it in.
open-again = Open the link again

nothing-connected = This page shows what this browser has connected last, as long as the connection stands.
    .title = Nothing is connected
    .remedy = If you connected in another browser, look there. If the connection has ended, ask for a new link.
no-such-page = The address is incomplete or wrong.
    .title = Page not found
    .remedy = Open the link again from the message you got it in.
too-many = There were too many requests from your address.
    .title = One moment, please
    .remedy = Wait a few seconds, then open the page again.
no-cookie = This page needs a cookie to recognise you when you come back from Jobber.
    .title = Your browser did not send its cookie
    .remedy = Allow cookies for this site, open the link again, and stay in the same browser.
bad-form = Your browser sent a form that does not match this page.
    .title = That did not come from this page
    .remedy = Open the link again and press the button.
denied = You did not allow access in Jobber, so nothing was stored.
    .title = Nothing was connected
    .remedy = If that was a mistake, open the link again in this browser and allow access.
marketplace = You started in Jobber, but this app is connected through a personal link.
    .title = One step is missing
    .remedy = Ask { $name } for your link, and open it. Nothing was stored.
no-tokens = You allowed access, but Jobber did not confirm it to us. Nothing was stored.
    .title = Jobber did not complete the connection
    .remedy = Open the link again in this browser in a minute. If it happens again, tell { $name }.
code-refused = The permission that Jobber gave was used already or is too old. Nothing was stored.
    .title = Jobber did not accept this attempt
    .remedy = Open the link again in this browser and press its button once more.
broken = It is not your fault, and nothing was stored.
    .title = Something is wrong here
    .remedy = Try again in a minute. If it happens again, tell { $name }.
link-unknown = The address is incomplete, or the link was not created here.
    .title = This link is not known
    .remedy = Open it again from the message you got it in, or ask for a new one.
link-expired = Links work for a limited time.
    .title = This link has expired
    .remedy = Ask { $name } for a new one.
link-used = It has connected an account, and a link works only once.
    .title = This link was already used
    .remedy = If that was you, everything is fine. If not, tell { $name }.
link-revoked = { $name } has taken it back.
    .title = This link was withdrawn
    .remedy = Ask for a new one.
link-elsewhere = Somebody pressed its button in another browser or on another device.
    .title = This link is being used in another browser
    .remedy = Continue there. If you cannot, open the link here again a quarter of an hour after that.
unknown-state = Jobber sent you back, but this attempt was already completed or has expired. Nothing was changed.
    .title = This was completed already, or took too long
    .remedy = If your account is not connected yet, open the link again.
other-browser = You started in one browser and came back from Jobber in another. Nothing was stored.
    .title = Please use one browser
    .remedy = Open the link again and stay in the same browser.
other-account = You signed in to another account than the one this link is for. Nothing was stored. The link is for:
    .title = This is another Jobber account
    .remedy = Sign out of Jobber, sign in to that account, and open the link again.
