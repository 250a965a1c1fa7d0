//! What live accounts do that nobody expected, and the test that plays each.

use crate::guards::{files, read};

/// A behaviour of live accounts, and `module::test` that plays it.
const FINDINGS: &[(&str, &str)] = &[
    (
        "an unknown version is served as the oldest one, silently",
        "local_jobber::an_unknown_version_is_served_as_the_oldest_without_a_word",
    ),
    (
        "an unknown version is a 404 with its name",
        "trouble::trouble_that_does_not_heal_itself_asks_for_the_operator",
    ),
    (
        "a missing token hides the data with HTTP 200 and UNAUTHENTICATED",
        "tokens::a_token_that_hides_everything_is_refreshed",
    ),
    (
        "the token endpoint's 401 means the grant",
        "tokens::a_refused_refresh_token_pauses_its_account_and_nobody_else",
    ),
    (
        "the token endpoint's 401 means the app",
        "tokens::a_wrong_client_secret_costs_no_grant_and_names_the_key",
    ),
    (
        "a bad code is a 400 with a text",
        "connecting::a_code_that_jobber_does_not_honour_is_told_and_stores_nothing",
    ),
    (
        "hidden data voids the answer or only a node",
        "local_jobber::a_hidden_field_takes_the_whole_answer_and_a_hidden_object_what_holds_it",
    ),
    (
        "webhook endpoints belong to the app, or to each account",
        "hooks::three_accounts_share_the_apps_endpoints_and_none_silences_the_others",
    ),
    (
        "an endpoint that is there already reads \"one hook\"",
        "hooks::an_endpoint_that_somebody_else_made_is_held_by_the_app_and_judged_by_what_comes",
    ),
    (
        "instants are whole seconds, many rows in one",
        "seconds::a_second_that_fills_pages_is_read_whole_whatever_bounds_and_ties_do",
    ),
    (
        "`after` excludes or includes its instant, or compares hidden fractions",
        "asking::work_on_the_very_instant_of_the_watermark_is_found_by_both_readings_of_after",
    ),
    (
        "a list repeats rows from page to page",
        "seconds::a_second_that_fills_pages_is_read_whole_whatever_bounds_and_ties_do",
    ),
    (
        "updatedAt may not move, and the look-back finds it",
        "asking::a_completion_that_was_dated_back_is_found_within_the_hour",
    ),
    ("two edits share a second", "seconds::two_edits_within_one_second_are_two_changes"),
    (
        "recurring jobs are closed when they are cancelled",
        "cleaning_up::a_cancelled_job_is_not_asked_about_and_one_without_visits_counts_by_its_close",
    ),
    (
        "contractors with recurring jobs",
        "onboarding::a_contractor_with_recurring_jobs_is_advised_to_ask_after_visits",
    ),
    ("a newer version can be asked for", "probing::a_newer_version_can_be_tried"),
    (
        "429 without Retry-After, for one app and account",
        "trouble::an_account_that_asks_for_rest_is_left_alone",
    ),
    (
        "an exchange answers without expires_in",
        "local_jobber::an_exchange_answers_two_fields_and_a_refresh_three",
    ),
    (
        "allowReviewRequest is off everywhere",
        "policy::a_switch_that_is_off_on_nearly_every_job_does_not_count",
    ),
    (
        "receivesReviewRequests is a hard no",
        "policy::a_client_who_receives_no_review_requests_is_never_asked",
    ),
    (
        "hundreds of jobs are closed in one sitting",
        "cleaning_up::a_burst_is_held_and_told_once_and_released_however_long_it_took",
    ),
    (
        "completedAt is now for work done long ago",
        "cleaning_up::a_job_whose_last_visit_was_long_before_its_close_is_not_asked_about",
    ),
    (
        "automatic payments make bursts of paid invoices",
        "cleaning_up::invoices_that_a_nightly_run_marks_as_paid_are_a_burst_in_shadow_mode_too",
    ),
    ("titles are mostly blank", "naming::line_items_name_the_work_when_its_title_is_blank"),
    ("invoice numbers are not unique", "naming::every_invoice_of_a_number_is_explained"),
    (
        "numbers are as typed, and read in the account's country",
        "naming::numbers_that_jobber_did_not_normalise_are_read_in_the_accounts_country",
    ),
    (
        "no phone is marked as taking texts",
        "naming::an_account_without_a_phone_that_takes_texts_is_told_and_can_use_any",
    ),
    (
        "names have titles and blanks, a company's first name is its contact's",
        "naming::a_company_is_greeted_by_its_contact_or_by_its_name",
    ),
    ("the same person gets another card", "policy::one_person_is_asked_once_through_whichever_card"),
    (
        "invoices that total zero",
        "naming::invoices_that_total_zero_are_not_asked_about_unless_the_operator_says_so",
    ),
    ("null once is not gone", "trouble::a_record_that_is_away_once_is_looked_at_again_a_minute_later"),
    (
        "scopes are labels in the developer centre",
        "onboarding::a_missing_scope_is_named_as_the_developer_centre_names_it",
    ),
    (
        "a refused consent page just closes",
        "onboarding::a_link_whose_consent_page_just_closed_shows_as_waiting",
    ),
    ("only an admin can connect", "onboarding::the_connect_page_says_who_can_connect"),
];

#[test]
fn each_has_a_test() {
    for (finding, test) in FINDINGS {
        let (module, name) = test.split_once("::").unwrap();
        let text = read(format!("tests/it/{module}.rs"));
        assert!(text.contains(&format!("async fn {name}(")), "{finding}: there is no {test}");
    }
}

/// `nextDateToSendReviewSms` says when Jobber could send a text of its own, not that one waits.
#[test]
fn nothing_relies_on_jobbers_own_review_texts() {
    for file in files("graphql", "graphql") {
        assert!(
            !std::fs::read_to_string(&file).unwrap().contains("nextDateToSendReviewSms"),
            "{}",
            file.display()
        );
    }
}
