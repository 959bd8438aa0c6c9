//! Files of definitions.

use std::io::Read;
use std::path::{Path, PathBuf};

use node::files::read_bounded;

use crate::check::{Documents, parse};
use crate::failure::Failure;

/// The largest file, in bytes. An object has at most 1.5 MiB.
const MAX_FILE: u64 = 32 << 20;

/// Reads the definitions in these files, "-" being standard input. `namespace` is that of definitions without one.
pub(super) fn read(paths: &[PathBuf], namespace: &str, stdin: &mut dyn Read) -> Result<Documents, Failure> {
    let mut all = Documents::default();
    for path in paths {
        let failed = |reason: String| Failure::File { path: path.clone(), reason };
        let bytes = bytes(path, stdin).map_err(failed)?;
        let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
        let Documents { inputs, findings, others } = parse(&text, namespace).map_err(failed)?;
        for input in inputs {
            // A later file replaces what an earlier one says, as kubectl apply does.
            all.inputs.retain(|earlier| earlier.nad_ref != input.nad_ref);
            all.inputs.push(input);
        }
        all.findings.extend(findings);
        all.others += others;
    }
    Ok(all)
}

fn bytes(path: &Path, stdin: &mut dyn Read) -> Result<Vec<u8>, String> {
    if path != Path::new("-") {
        return read_bounded(path, MAX_FILE).map_err(|error| error.to_string());
    }
    let mut bytes = Vec::new();
    stdin.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("it has more than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}
