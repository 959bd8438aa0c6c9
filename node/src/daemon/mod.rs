//! What every daemon of a node needs to start, to serve and to stop.
//!
//! | module | answers |
//! |---|---|
//! | `program` | command line, log, runtime, signals: from `main` to the daemon's own code |
//! | `serve` | plugin requests and background tasks until the shutdown, and the order in which they end |
//! | `lead` | work that runs only while this process leads |
//! | `http` | metrics and health pages |
//! | `text_format` | metrics for clients that do not read OpenMetrics |
//!
//! ```no_run
//! # use node::daemon::{self, Background, Command, Program, Shutdown};
//! # #[derive(serde::Deserialize)]
//! # struct Greeting(String);
//! # impl node::rpc::ClientRequest for Greeting {}
//! # async fn serve(_: (), shutdown: Shutdown) -> Result<(), std::io::Error> {
//! #     let socket = node::rpc::bind("/run/x.sock".as_ref()).map_err(std::io::Error::other)?;
//! let mut background = Background::default();
//! background.spawn(async { /* loop until it is dropped */ });
//! daemon::serve(socket, |greeting: Greeting| async move { greeting.0 }, background, shutdown).await;
//! #     Ok(())
//! # }
//! const PROGRAM: Program = Program { name: "x-daemon", version: "1.0", usage: "x-daemon: ...\n" };
//! daemon::run(&PROGRAM, Command::Run(()), serve)?;
//! # Ok::<(), daemon::RunError<std::io::Error>>(())
//! ```

mod http;
mod lead;
mod program;
mod serve;
mod text_format;

pub use http::{HttpBindError, Pages, Readiness, bind_http, metrics_text, serve_http, serve_http_at};
pub use lead::{Role, while_leading};
pub use program::{Command, Log, LogTarget, Program, RunError, Shutdown, run, run_with_log};
pub use serve::{Background, serve};
