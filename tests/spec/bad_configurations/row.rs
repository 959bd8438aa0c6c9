//! One row of the table, and how a table is run.

use serde_json::{Value, json};
use tests::driver::Answer;

use super::world::{Node, Plugins, Sandbox};
use super::{host_local, on_bridge};

/// A configuration that is refused.
pub struct Row {
    what: &'static str,
    config: String,
    request: Value,
    code: u32,
    words: &'static [&'static str],
    in_sandbox: InSandbox,
}

/// What may be left in the sandbox, which the runtime destroys after DEL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InSandbox {
    Nothing,
    /// The interface of a plugin of others that leaves it when its ADD fails.
    Net1,
}

/// The code of an error of Go that is no CNI error.
const PLAIN: u32 = 999;

/// A definition that a plugin of Debian refuses with these words.
pub fn row(what: &'static str, config: Value, words: &'static [&'static str]) -> Row {
    text_row(what, &config.to_string(), words)
}

/// The same, with a definition that need not be JSON.
pub fn text_row(what: &'static str, config: &str, words: &'static [&'static str]) -> Row {
    let config = config.to_owned();
    Row { what, config, request: json!({}), code: PLAIN, words, in_sandbox: InSandbox::Nothing }
}

impl Row {
    /// The error has this code.
    pub fn code(self, code: u32) -> Row {
        Row { code, ..self }
    }

    /// The pod requests these keys in its annotation.
    pub fn requested(self, request: Value) -> Row {
        Row { request, ..self }
    }

    /// The plugin may leave its interface in the sandbox.
    pub fn may_leave_net1(self) -> Row {
        Row { in_sandbox: InSandbox::Net1, ..self }
    }

    /// Runs the row; the error says what is wrong.
    fn run(&self, node: &Node) -> Result<(), String> {
        let before = node.left();
        let as_before = |what: &str| match node.left() {
            left if left == before => Ok(()),
            left => Err(format!("{what}: the node has {left:?}, before it had {before:?}")),
        };
        let refused = |sandbox: &Sandbox<'_>| {
            node.define(&self.config, &self.request);
            self.is_refused(&sandbox.call("ADD"))
        };

        let first = node.sandbox();
        refused(&first)?;
        succeeds("DEL with the bad definition", &first.call("DEL"))?;
        as_before("after DEL with the bad definition")?;
        self.check_links(&first)?;

        let second = node.sandbox();
        refused(&second)?;
        define_correctly(node);
        succeeds("DEL with the corrected definition", &second.call("DEL"))?;
        as_before("after DEL with the corrected definition")?;
        self.check_links(&second)?;
        succeeds("another DEL", &first.call("DEL"))
    }

    fn check_links(&self, sandbox: &Sandbox<'_>) -> Result<(), String> {
        match sandbox.links() {
            links if links.is_empty() => Ok(()),
            links if links == ["net1"] && self.in_sandbox == InSandbox::Net1 => Ok(()),
            links => Err(format!("the sandbox has {links:?} after its DEL")),
        }
    }

    fn is_refused(&self, answer: &Answer) -> Result<(), String> {
        let stdout = String::from_utf8_lossy(&answer.output.stdout);
        let error: Value =
            serde_json::from_str(&stdout).map_err(|e| format!("ADD answers {stdout:?}: {e}"))?;
        let text = format!("{} {}", error["msg"].as_str().unwrap_or_default(), error["details"]);
        let is_refusal = !answer.output.status.success() && error["code"] == self.code;
        match self.words.iter().all(|word| text.contains(word)) && is_refusal {
            true => Ok(()),
            false => Err(format!("ADD answers {stdout}, not code {} with {:?}", self.code, self.words)),
        }
    }
}

/// Corrects the definition.
fn define_correctly(node: &Node) {
    let correct = on_bridge(json!({"ipam": host_local(json!({}))}));
    node.define(&correct.to_string(), &json!({}));
}

/// The next sandbox of the pod, with the corrected definition, is made and deleted.
fn successor(node: &Node) -> Result<(), String> {
    define_correctly(node);
    let (before, next) = (node.left(), node.sandbox());
    succeeds("ADD with the corrected definition", &next.call("ADD"))?;
    succeeds("its DEL", &next.call("DEL"))?;
    if node.left() == before { Ok(()) } else { Err(format!("after its DEL the node has {:?}", node.left())) }
}

fn succeeds(what: &str, answer: &Answer) -> Result<(), String> {
    if answer.output.status.success() {
        return Ok(());
    }
    Err(format!("{what} fails: {}", String::from_utf8_lossy(&answer.output.stdout)))
}

/// Runs every row on one node, and reports all that fail.
pub fn run(plugins: Plugins, rows: Vec<Row>) {
    run_on(plugins, |_| {}, rows);
}

/// The same, on a node that `prepare` changes first.
pub fn run_on(plugins: Plugins, prepare: impl FnOnce(&Node) + Send, rows: Vec<Row>) {
    // The node is that of the thread and its children.
    let work = || {
        let node = Node::enter(plugins);
        prepare(&node);
        let failed = |row: &Row| Some(format!("{}: {}", row.what, row.run(&node).err()?));
        let mut failures: Vec<String> = rows.iter().filter_map(failed).collect();
        failures.extend(successor(&node).err());
        failures
    };
    let failed = std::thread::scope(|scope| scope.spawn(work).join().unwrap());
    assert!(failed.is_empty(), "{} rows, and these fail:\n{}", rows.len(), failed.join("\n"));
}
