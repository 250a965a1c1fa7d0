"""Closes a job of the account in argv by Jobber's own mutations."""
import json
import sys
import urllib.request

account = int(sys.argv[1])


def graphql(query, variables):
    body = json.dumps({"account": account, "query": query, "variables": variables}).encode()
    request = urllib.request.Request("http://127.0.0.1:9100/control/graphql", body, {"content-type": "application/json"})
    answer = json.load(urllib.request.urlopen(request))
    assert "errors" not in answer, answer
    return answer["data"]


client = {
    "firstName": "John",
    "lastName": "Smith",
    "phones": [{"number": "5551234567", "smsAllowed": True}],
    "emails": [{"address": "john@example.com"}],
    "properties": [{"address": {"street1": "1 Main St"}}],
}
made = graphql(
    "mutation ($c: ClientCreateInput!) { clientCreate(input: $c) { client { clientProperties(first: 1) { nodes { id } } } } }",
    {"c": client},
)
made = graphql(
    "mutation ($p: EncodedId!) { jobCreate(input: {propertyId: $p, title: \"Drain Cleaning\","
    " invoicing: {invoicingType: FIXED_PRICE, invoicingSchedule: ON_COMPLETION}}) { job { id } } }",
    {"p": made["clientCreate"]["client"]["clientProperties"]["nodes"][0]["id"]},
)
graphql(
    "mutation ($id: EncodedId!) { jobClose(jobId: $id, input: {modifyIncompleteVisitsBy: DESTROY_ALL}) { job { id } } }",
    {"id": made["jobCreate"]["job"]["id"]},
)
