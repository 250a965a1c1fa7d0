//! Asks a contractor's customers for a review when a job in Jobber is done: once, at a good moment.

use std::process::ExitCode;

fn main() -> ExitCode {
    jobber_reviewd::main()
}
