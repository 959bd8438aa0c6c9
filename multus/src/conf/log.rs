//! The keys of a configuration that say what is logged: `logFile`, `logLevel`, `logOptions`, `logToStderr`.

use std::path::{Path, PathBuf};

use cni::json::fold_keys;
use node::files::{LogFile, Rotation};
use serde_json::{Map, Value};

const KEYS: &[&str] = &["logFile", "logLevel", "logOptions", "logToStderr"];
const OPTIONS: &[&str] = &["compress", "maxAge", "maxBackups", "maxSize"];

/// How much is logged. The order is that of the amount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `panic` and `error`, and without `logLevel`: what does not work.
    #[default]
    Error,
    /// `verbose`: also each attachment and its deletion.
    Verbose,
    /// `debug`: also each call, and how long it took.
    Debug,
}

/// Whether lines of a log file go to standard error too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stderr {
    /// Those of the level `error` do.
    #[default]
    Also,
    /// They go to the file alone, if it can be written.
    Instead,
}

/// What is logged, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// `logFile`.
    pub file: Option<LogFile>,
    /// `logLevel`.
    pub level: LogLevel,
    /// `logToStderr`.
    pub stderr: Stderr,
}

/// Reads the keys. A wrong value is no error, because no pod depends on it: it has its default, and a warning names the key.
pub(super) fn read(conf: &Map<String, Value>) -> (LogSettings, Vec<String>) {
    let mut conf = conf.clone();
    fold_keys(&mut conf, KEYS);
    let mut warnings = Vec::new();
    let file = path(conf.get("logFile"), &mut warnings);
    let level = level(conf.get("logLevel"), &mut warnings);
    let stderr = stderr(conf.get("logToStderr"), file.as_deref(), &mut warnings);
    let rotation = rotation(conf.get("logOptions"), &mut warnings);
    (LogSettings { file: file.map(|path| LogFile { path, rotation }), level, stderr }, warnings)
}

fn path(value: Option<&Value>, warnings: &mut Vec<String>) -> Option<PathBuf> {
    match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) if text.starts_with('/') => Some(text.into()),
        Some(other) => {
            warnings.push(format!("key \"logFile\" must be a path that begins with \"/\", not {other}"));
            None
        }
    }
}

fn level(value: Option<&Value>, warnings: &mut Vec<String>) -> LogLevel {
    let text = value.and_then(Value::as_str).map(str::to_ascii_lowercase);
    match (value, text.as_deref()) {
        (None | Some(Value::Null), _) | (_, Some("" | "panic" | "error")) => LogLevel::Error,
        (_, Some("verbose")) => LogLevel::Verbose,
        (_, Some("debug")) => LogLevel::Debug,
        (Some(wrong), _) => {
            warnings
                .push(format!("key \"logLevel\" must be one of debug, verbose, error, panic, not {wrong}"));
            LogLevel::Error
        }
    }
}

fn stderr(value: Option<&Value>, file: Option<&Path>, warnings: &mut Vec<String>) -> Stderr {
    match value {
        None | Some(Value::Null | Value::Bool(true)) => Stderr::Also,
        Some(Value::Bool(false)) if file.is_some() => Stderr::Instead,
        Some(Value::Bool(false)) => {
            warnings.push(
                "key \"logToStderr\" has no effect without \"logFile\": warnings must have a place"
                    .to_owned(),
            );
            Stderr::Also
        }
        Some(other) => {
            warnings.push(format!("key \"logToStderr\" must be true or false, not {other}"));
            Stderr::Also
        }
    }
}

fn rotation(value: Option<&Value>, warnings: &mut Vec<String>) -> Rotation {
    let mut options = match value {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(options)) => options.clone(),
        Some(other) => {
            warnings.push(format!("key \"logOptions\" must be an object, not {other}"));
            Map::new()
        }
    };
    fold_keys(&mut options, OPTIONS);
    let mut number = |key: &str| {
        let value = options.get(key).filter(|value| !value.is_null())?;
        if value.as_u64().is_none() {
            warnings.push(format!("key \"logOptions.{key}\" must be a number from 0 on, not {value}"));
        }
        value.as_u64()
    };
    let (size, backups, age) = (number("maxSize"), number("maxBackups"), number("maxAge"));
    let compress = match options.get("compress") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(compress)) => Some(*compress),
        Some(other) => {
            warnings.push(format!("key \"logOptions.compress\" must be true or false, not {other}"));
            None
        }
    };
    Rotation::of_options(size, backups, age, compress)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use node::files::Compression;
    use serde_json::json;

    use super::*;

    fn settings(conf: Value) -> (LogSettings, Vec<String>) {
        read(conf.as_object().unwrap())
    }

    #[test]
    fn without_a_key_nothing_goes_to_a_file() {
        assert_eq!(settings(json!({})), (LogSettings::default(), Vec::new()));
        assert_eq!(settings(json!({"logFile": "", "logToStderr": true, "logOptions": null})).1, [""; 0]);
    }

    #[test]
    fn the_keys_have_upstreams_meaning_and_defaults_and_match_in_any_case() {
        let (read, warnings) = settings(json!({"LogFile": "/var/log/multus.log", "loglevel": "Verbose"}));
        let rotation = Rotation {
            max_bytes: 100 << 20,
            backups: Some(5),
            age: Some(Duration::from_secs(5 * 86_400)),
            compression: Compression::Gzip,
        };
        let file = Some(LogFile { path: "/var/log/multus.log".into(), rotation });
        assert_eq!(read, LogSettings { file, level: LogLevel::Verbose, stderr: Stderr::Also });
        assert_eq!(warnings, [""; 0]);
        let options = json!({"maxSize": 0, "MAXAGE": 1, "maxBackups": 0, "compress": false});
        let (read, warnings) =
            settings(json!({"logFile": "/l", "logToStderr": false, "logOptions": options}));
        let rotation = Rotation {
            max_bytes: 100 << 20,
            backups: None,
            age: Some(Duration::from_secs(86_400)),
            compression: Compression::Off,
        };
        assert_eq!(
            (read.file.unwrap().rotation, read.stderr, warnings),
            (rotation, Stderr::Instead, Vec::new())
        );
        for (text, want) in
            [("debug", LogLevel::Debug), ("ERROR", LogLevel::Error), ("panic", LogLevel::Error)]
        {
            assert_eq!(settings(json!({ "logLevel": text })).0.level, want);
        }
    }

    #[test]
    fn a_value_that_is_wrong_or_has_no_effect_causes_a_warning_that_names_its_key() {
        for (conf, key) in [
            (json!({"logFile": "multus.log"}), "\"logFile\""),
            (json!({"logFile": 7}), "\"logFile\""),
            (json!({"logLevel": "loud"}), "\"logLevel\""),
            (json!({"logLevel": 3}), "\"logLevel\""),
            (json!({"logToStderr": false}), "\"logToStderr\""),
            (json!({"logToStderr": "no"}), "\"logToStderr\""),
            (json!({"logOptions": []}), "\"logOptions\""),
            (json!({"logOptions": {"maxAge": -1}}), "\"logOptions.maxAge\""),
            (json!({"logOptions": {"maxSize": "1"}}), "\"logOptions.maxSize\""),
            (json!({"logOptions": {"compress": "yes"}}), "\"logOptions.compress\""),
        ] {
            let (read, warnings) = settings(conf.clone());
            assert!(warnings.len() == 1 && warnings[0].contains(key), "{conf}: {warnings:?}");
            assert_eq!(read, LogSettings::default(), "{conf}");
        }
    }
}
