//! The `kubectl-multus` binary; see the library.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use kubectl::{Environment, Failure};
use multus::explain::Page;

fn main() -> ExitCode {
    let environment = Environment {
        kubeconfig: std::env::var_os("KUBECONFIG"),
        home: std::env::var_os("HOME").map(Into::into),
    };
    node::rng::seed_from_kernel();
    let args = std::env::args_os().skip(1);
    let (stdin, stdout, stderr) = (&mut std::io::stdin(), &mut std::io::stdout(), &mut std::io::stderr());
    match kubectl::main(args, &environment, stdin, stdout, stderr) {
        Ok(outcome) => outcome.exit_code(),
        // `kubectl multus pools | head` has read enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let mut page = Page::default();
            page.paragraph("error: ", &failure.to_string());
            // If standard error is closed, there is nowhere to report it.
            let _ = std::io::stderr().write_all(page.into_text().as_bytes());
            ExitCode::FAILURE
        }
    }
}
