//! The web page in a real browser against the real binary: Debian's Chromium, steered by Playwright.
//!
//! Each test is a flow of a program in `node/`, named as the flow. The programs say what people do and see; what only the
//! machine around can do, such as stopping the broker, is asked for by a line of their output. A browser that is not
//! there fails the tests with the command that installs it: a page that nobody has looked at is a page that may not work.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed step is a failed test, and its panic is the report"
)]

use support::{Broker, foreign_broker};

mod browser;
mod images;

#[path = "../interop/clients.rs"]
#[allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "only the running of programs is used"
)]
mod clients;

#[path = "../support/mod.rs"]
mod support;

/// Those have tests written out, as they need more than a broker.
const APART: [&str; 2] = [
    "goes_on_after_a_broker_restart",
    "tells_of_an_alarm_and_whom_it_blocks",
];

/// Makes a test of each flow of a program, against a broker of its own.
macro_rules! flows {
    ($module:ident, $program:literal, [$($flow:ident),* $(,)?]) => {
        mod $module {
            $(
                #[test]
                fn $flow() {
                    $crate::run($program, stringify!($flow));
                }
            )*

            #[test]
            fn every_flow_of_the_program_is_a_test() {
                let mut found = $crate::browser::flows_in($program);
                found.retain(|name| !$crate::APART.contains(&name.as_str()));
                assert_eq!(found, [$(stringify!($flow)),*]);
            }
        }
    };
}

flows!(
    frame,
    "frame.mjs",
    [
        logs_in_and_out_and_comes_back_to_the_same_address,
        refuses_a_wrong_password_in_words,
        shows_what_the_users_tags_allow,
        follows_a_changed_password_to_the_log_in,
        asks_no_other_host_and_breaks_no_rule_of_its_own,
        switches_between_local_time_and_utc,
        asks_nothing_while_the_tab_is_hidden,
    ]
);

flows!(
    queues,
    "queues.mjs",
    [
        declares_sorts_searches_and_pages_with_everything_in_the_address,
        shows_text_as_text_whatever_it_says,
        keeps_rows_and_focus_while_figures_change,
        goes_by_keyboard_alone,
        lists_50000_queues_without_a_stall,
    ]
);

flows!(
    queue,
    "queue.mjs",
    [
        publishes_peeks_and_gets,
        binds_unbinds_and_shows_consumers_with_their_credit,
        purges_and_deletes_only_who_types_the_name,
        pauses_and_resumes,
        redrives_dead_letters_after_a_dry_run,
        shows_charts_with_values_and_gaps,
    ]
);

flows!(
    overview,
    "overview.mjs",
    [
        shows_rates_and_the_state_of_the_node,
        says_what_needs_attention_first,
    ]
);

flows!(
    access,
    "access.mjs",
    [finds_no_violation_in_any_view_in_light_dark_and_on_a_phone]
);

flows!(
    exchanges,
    "exchanges.mjs",
    [
        declares_an_exchange_and_says_why_not,
        draws_bindings_and_adds_and_removes_them,
        explains_where_a_message_would_go_and_publishes_it,
        deletes_an_exchange_and_says_what_goes_with_it,
    ]
);

flows!(
    clients_of_the_broker,
    "clients.mjs",
    [
        closes_a_connection_with_a_reason,
        says_that_a_connection_has_ended_meanwhile,
        lists_channels_and_consumers,
        shows_only_ones_own_connections_without_the_tag_monitoring,
    ]
);

flows!(
    administration,
    "administration.mjs",
    [
        makes_a_vhost_and_deletes_it_by_its_name,
        gives_users_tags_permissions_and_limits,
        previews_what_a_policy_matches_while_it_is_typed,
        keeps_operator_policies_apart,
        sets_and_clears_limits_in_one_place,
        takes_definitions_down_and_up_again,
        follows_events_as_they_happen,
    ]
);

/// Runs a flow against a broker that is its own.
fn run(program: &str, flow: &str) {
    if foreign_broker() {
        eprintln!("not run against another broker: it has another page");
        return;
    }
    let broker = Broker::start();
    browser::start(program, flow, &broker).finish();
}

#[test]
fn tells_of_an_alarm_and_whom_it_blocks() {
    if foreign_broker() {
        return;
    }
    let limit = ("LEVERET_ALARMS_DISK_FREE_LIMIT", "9000000000000000000");
    let broker = Broker::start_with_options(&[limit]);
    let flow = "tells_of_an_alarm_and_whom_it_blocks";
    browser::start("overview.mjs", flow, &broker).finish();
}

#[test]
fn goes_on_after_a_broker_restart() {
    if foreign_broker() {
        return;
    }
    let mut broker = Broker::start();
    let mut flow = browser::start("frame.mjs", "goes_on_after_a_broker_restart", &broker);
    flow.wait_for("stop the broker");
    broker.stop();
    flow.say("stopped");
    flow.wait_for("start the broker");
    broker.start_again();
    flow.say("started");
    flow.finish();
}
